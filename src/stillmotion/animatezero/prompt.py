"""What the text encoder does not see."""

from __future__ import annotations

from typing import Any


def truncated_prompt_part(tokenizer: Any, prompt: str) -> str:
    """The end of `prompt` that is cut off because it is too long; empty if nothing is.

    CLIP reads 77 tokens, the marks of beginning and end included.
    """
    ids = tokenizer(prompt, add_special_tokens=False).input_ids
    kept = tokenizer.model_max_length - tokenizer.num_special_tokens_to_add()
    return str(tokenizer.decode(ids[kept:])).strip() if len(ids) > kept else ""
