"""What is worth knowing about a prompt or a picture, though it stops nothing."""

from __future__ import annotations

import re
from collections.abc import Callable

from stillmotion.adapters.diffusers_sites import latent_multiple
from stillmotion.animatezero.loading import LoadedModel
from stillmotion.animatezero.prompt import truncated_prompt_part
from stillmotion.animatezero.still import Still
from stillmotion.errors import InputError
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
_FAR_FROM_OWN_SIZE = 4


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


def check_picture_size(model: LoadedModel, still: Still, name: str, say: Say) -> None:
    """Raises InputError for a picture whose size the model cannot take; warns if it is far off."""
    height, width = still.height, still.width
    own = (model.sampling.height or height, model.sampling.width or width)
    multiple = model.pipeline.vae_scale_factor * latent_multiple(model.pipeline.unet)
    if height % multiple or width % multiple:
        near = [max(multiple, round(side / multiple) * multiple) for side in (width, height)]
        raise InputError(
            f"'{name}' has {width} x {height} pixels; the model '{model.reference}' takes widths "
            f"and heights that are multiples of {multiple}, best {own[1]} x {own[0]}: crop or "
            f"scale the picture, for instance to {near[0]} x {near[1]}."
        )
    ratio = height * width / (own[0] * own[1])
    if not 1 / _FAR_FROM_OWN_SIZE <= ratio <= _FAR_FROM_OWN_SIZE:
        say(
            f"'{name}' has {width} x {height} pixels, far from the {own[1]} x {own[0]} that the "
            "model was trained on: the clip can look poor"
            + (", and takes long" if ratio > 1 else "")
        )
