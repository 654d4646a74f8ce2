"""What is worth knowing about a prompt, though it stops nothing."""

from __future__ import annotations

import re
from collections.abc import Callable

from stillmotion.animatezero.loading import LoadedModel
from stillmotion.animatezero.prompt import truncated_prompt_part
from stillmotion.models.registry import MINIATURE
from stillmotion.world.captions import vocabulary

Say = Callable[[str], None]

_FUNCTION_WORDS = frozenset(
    {
        "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "has", "have", "his", "her",
        "in", "into", "is", "it", "its", "no", "not", "of", "off", "on", "one", "onto", "or", "out",
        "over", "some", "that", "the", "their", "there", "this", "to", "two", "under", "up", "very",
        "was", "were", "which", "while", "who", "with",
    }
)  # fmt: skip
_MAX_NAMED_WORDS = 8


def tell_about_prompt(model: LoadedModel, prompt: str, say: Say) -> None:
    """Say what the text encoder does not see, and what the miniature never learned."""
    if not prompt.strip():
        say("the prompt is empty, so nothing says what the picture shows or what moves")
    tokenizer = model.pipeline.tokenizer
    cut = truncated_prompt_part(tokenizer, prompt)
    if cut:
        limit = tokenizer.model_max_length - tokenizer.num_special_tokens_to_add()
        say(f"the prompt is longer than {limit} tokens; this part of it is not seen: '{cut}'")
    unknown = unknown_words(prompt) if model.folder.name == MINIATURE else []
    if unknown:
        named = ", ".join(unknown[:_MAX_NAMED_WORDS])
        more = len(unknown) - _MAX_NAMED_WORDS
        named += f" and {more} more" if more > 0 else ""
        say(
            f"the miniature never learned these words: {named}; 'stillmotion models miniature' "
            "lists what it knows"
        )


def unknown_words(prompt: str) -> list[str]:
    """Words of a prompt, in order and once each, that are in no caption of the world."""
    known = _FUNCTION_WORDS.union(vocabulary())
    words = re.findall(r"[^\W_]+", prompt.lower())
    return [word for word in dict.fromkeys(words) if word not in known]
