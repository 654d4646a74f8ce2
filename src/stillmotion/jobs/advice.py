"""What is worth knowing about a prompt, files and shortcuts, though it stops nothing."""

from __future__ import annotations

import re
from pathlib import PurePath

from stillmotion.animatezero.loading import LoadedModel
from stillmotion.animatezero.prompt import truncated_prompt_part
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.diffusion.speed import SpeedSettings
from stillmotion.jobs.context import Say
from stillmotion.models.registry import MINIATURE
from stillmotion.world.captions import vocabulary

_FUNCTION_WORDS = frozenset(
    {
        "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "has", "have", "his", "her",
        "in", "into", "is", "it", "its", "no", "not", "of", "off", "on", "one", "onto", "or", "out",
        "over", "some", "that", "the", "their", "there", "this", "to", "two", "under", "up", "very",
        "was", "were", "which", "while", "who", "with",
    }
)  # fmt: skip
_MAX_NAMED_WORDS = 8
_FEW_STEPS = {"lightning": ("euler-trailing", 1.0), "lcm": ("lcm", 2.0)}
"""Motion modules for few steps, by a word in the names of their files: the scheduler that they were
trained for, and the most guidance that they bear."""
_STEPS = re.compile(r"(\d+)[ _-]?step")


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


def tell_about_speed(speed: SpeedSettings, say: Say) -> None:
    """Say that what is made is an approximation."""
    if not speed.is_exact:
        say(
            f"--speed {speed.name} approximates, to save time; --speed exact is what the model does"
        )


def tell_about_few_steps(model: LoadedModel, sampling: SamplingSettings, say: Say) -> None:
    """Say how a motion module of the user's is meant, if its file is named like one for few steps.

    The weights do not tell: such modules are built as any other.
    """
    given = model.ingredients
    name = PurePath(given.motion).name if given.motion is not None else ""
    found = next((means for word, means in _FEW_STEPS.items() if word in name.lower()), None)
    if found is None:
        return
    scheduler, guidance = found
    steps = _STEPS.search(name.lower())
    is_meant = (
        given.scheduler == scheduler
        and sampling.guidance_scale <= guidance
        and (steps is None or sampling.num_inference_steps == int(steps[1]))
    )
    if not is_meant:
        few = int(steps[1]) if steps is not None else "4"
        say(
            f"'{name}' is named like a module for few steps, which are made with --scheduler "
            f"{scheduler} --steps {few} --guidance {guidance:g}"
        )


def unknown_words(prompt: str) -> list[str]:
    """Words of a prompt, in order and once each, that are in no caption of the world."""
    known = _FUNCTION_WORDS.union(vocabulary())
    words = re.findall(r"[^\W_]+", prompt.lower())
    return [word for word in dict.fromkeys(words) if word not in known]
