"""What the user said of a clip, and the settings that come of it with what was recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stillmotion.animatezero.ingredients import Ingredients
from stillmotion.animatezero.photograph import PhotographSettings
from stillmotion.animatezero.prompt import PromptTrack
from stillmotion.animatezero.settings import FIG6_ROWS, AnimateZeroSettings, TimeTravel
from stillmotion.apps.jobs import with_changes
from stillmotion.apps.records import ClipRecipe
from stillmotion.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user said; `None` (also inside the dictionaries) is what was left open."""

    still: Path | None
    last_frame: Path | None
    loop: bool
    seamless: bool
    prompt: str | None
    towards: str | None
    prompt_at: tuple[str, ...]
    source: Path | None
    photograph: bool
    photographs: dict[str, Any]
    seed: int | None
    count: int
    model: str | None
    look: str | None
    ingredients: Ingredients
    num_frames: int | None
    sampling: dict[str, Any]
    row: str | None
    control: dict[str, Any]
    time_travel: dict[str, Any]
    fps: float | None
    scale: int | None
    output: Path
    overwrite: bool
    device: str
    download: bool
    memory: str
    preview: Path | None
    quiet: bool


def text_along(
    styled: Callable[[str], str],
    base: str,
    target: str | None,
    texts_at: Sequence[str],
    num_frames: int,
) -> str | PromptTrack:
    """The text of a clip: `base` throughout, or towards `target`, or with texts at some frames.

    `styled` puts a look's words before each.  Raises InputError if both kinds are asked for, or
    a text at a frame is not written as one.
    """
    if target is not None and texts_at:
        raise InputError("--towards and --prompt-at say different things; give one of them.")
    if texts_at:
        track = {0: styled(base)}
        given = [_prompt_at(text) for text in texts_at]
        for frame, text in given:
            if sum(frame == other for other, _ in given) > 1:
                raise InputError(f"--prompt-at gives frame {frame} several texts; give it one.")
            track[frame] = styled(text)
        return PromptTrack(track)
    if target is not None and target != base:
        return PromptTrack.towards(styled(base), styled(target), num_frames)
    return styled(base)


def _prompt_at(text: str) -> tuple[int, str]:
    """`15:a cat` -> 15 and "a cat"; InputError for anything else."""
    frame, colon, words = text.partition(":")
    if not colon or not frame.strip().isdecimal() or not words.strip():
        raise InputError(f"--prompt-at is '{text}'; give FRAME:TEXT, for instance 15:\"a cat\".")
    return int(frame), words.strip().strip('"')


def chosen_control(wish: Wish, kept: ClipRecipe | None) -> AnimateZeroSettings:
    """The row of Fig. 6 if one is named, else the recorded settings; then single changes."""
    if wish.row is None:
        base = kept.control if kept is not None else AnimateZeroSettings()
    elif wish.row in FIG6_ROWS:
        base = FIG6_ROWS[wish.row]
    else:
        raise InputError(f"the row '{wish.row}' is not in Fig. 6; it has: {', '.join(FIG6_ROWS)}")
    if any(value is not None for value in wish.time_travel.values()):
        base = replace(base, time_travel=_time_travel(wish.time_travel, base.time_travel))
    if wish.last_frame is not None and (kept is None or kept.end != "still"):
        base = replace(base, even_pace=True)
    return with_changes(base, **wish.control)


def _time_travel(said: dict[str, Any], recorded: TimeTravel | None) -> TimeTravel | None:
    """None if it was switched off by 0 repeats; InputError for a window of nothing."""
    if said["repeats"] == 0:
        return None
    if said["repeats"] is None and recorded is None:
        raise InputError(
            "--time-travel-window says where to denoise several times, but not how often; add "
            "--time-travel N (the paper: 5)."
        )
    changes = {"repeats": said["repeats"]}
    if said["window"] is not None:
        changes |= dict(zip(("start", "stop"), _steps(said["window"]), strict=True))
    return with_changes(recorded or TimeTravel(), **changes)


def _steps(window: str) -> tuple[int | float, int | float]:
    """`10:20` or `0.4:0.8` -> the two numbers; InputError for anything else."""
    try:
        start, stop = (float(part) if "." in part else int(part) for part in window.split(":"))
    except ValueError as error:
        raise InputError(
            f"--time-travel-window is '{window}'; give A:B, two steps such as 10:20 or two shares "
            "such as 0.4:0.8."
        ) from error
    return start, stop


def chosen_photographs(wish: Wish, kept: ClipRecipe | None) -> PhotographSettings:
    """The recorded settings for photographs, or the defaults, with what was said."""
    base = kept.photographs if kept is not None else PhotographSettings()
    return with_changes(base, **wish.photographs)
