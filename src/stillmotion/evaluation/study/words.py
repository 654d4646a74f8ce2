"""Every word that raters read.  A translation replaces any of them, by a JSON file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from stillmotion.errors import InputError

WORDS: Mapping[str, str] = {
    "language": "en",
    "title": "Which clip is best?",
    "instructions": (
        "You will see a picture and several short clips made from it. Compare the clips and answer "
        "a few questions about them. There are no right or wrong answers: your own impression "
        "counts.\n\n"
        "All clips play in step, again and again. Look at each of them at least once before you "
        "answer. Some clips may come again; please judge them afresh.\n\n"
        "Your answers stay on this device until you save them to a file at the end and send that "
        "file to the person who asked you. It holds your answers, the time each took, and the name "
        "that you type here, which need not be your own."
    ),
    "name": "Your name or a pseudonym",
    "name_missing": "Please type a name or a pseudonym.",
    "consent": "I have read this and take part of my own free will. I may stop at any time.",
    "start": "Start",
    "question_of": "Question {number} of {total}",
    "given": "Given picture",
    "described": "Described as: {prompt}",
    "clip": "Clip {letter}",
    "choose": "Clip {letter}: {action}",
    "loading": "The clips are being unpacked …",
    "broken": "These clips cannot be shown in this browser; please try another one.",
    "play": "Play",
    "pause": "Pause",
    "slow": "Half speed",
    "again": "From the start",
    "larger": "Larger",
    "back": "Back",
    "next": "Next",
    "keys": (
        "Keyboard: a letter chooses its clip; a number gives the clip last chosen that place; "
        "→ and ← go on and back; P plays and pauses."
    ),
    "keys_select": (
        "Keyboard: a letter chooses its clip; 0 chooses none; → and ← go on and back; P plays and "
        "pauses."
    ),
    "rank.action": "next place",
    "rank.place": "Place {place}",
    "rank.ends": "1 is best, {last} is worst.",
    "rank.todo": "Tap the clips from best to worst, or give each a number.",
    "rank.done": "Your order, best first: {order}",
    "best.action": "Best",
    "best.todo": "Tap the clip that is best.",
    "best.done": "Your choice: {order}",
    "select.action": "Matches",
    "select.none": "None of them",
    "select.todo": "Tap every clip that matches, or choose “None of them”.",
    "select.done": "Your choice: {order}",
    "none": "none",
    "motion.title": "Motion",
    "motion.question": "Which clip moves best? Think of how natural and how rich the motion is.",
    "appearance.title": "Appearance",
    "appearance.question": "Which clip looks most like the given picture, from start to end?",
    "subjective.title": "Overall",
    "subjective.question": "Which clip do you like best, all in all?",
    "motion_quality.title": "Motion quality",
    "motion_quality.question": "Which clip has the best motion?",
    "temporal_coherence.title": "Coherence",
    "temporal_coherence.question": "Which clip holds together best over time, without flicker, "
    "jumps or things that change shape?",
    "input_conformity.title": "Conformity",
    "input_conformity.question": "Which clips show what the given picture shows? Choose all that "
    "do.",
    "finished": "Thank you!",
    "answered": "You have answered {done} of {total} questions.",
    "unfinished": "Some are still open; you can go back and answer them, or save what there is.",
    "save_hint": "Save your answers and send the file to the person who asked you.",
    "save": "Save my answers",
    "save_now": "Save what there is so far",
    "saved": "Saved as {file}. Please send this file to the person who asked you.",
    "by_hand": "If saving does not work, copy this text instead",
    "go_back": "Back to the questions",
    "another": "Another person answers",
    "another_sure": "These answers are not saved yet. Begin anew all the same?",
    "no_memory": (
        "This browser does not keep answers when the page is closed or reloaded: please answer in "
        "one go and save at the end."
    ),
    "no_script": "This page needs JavaScript, which is switched off here.",
}
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def translated(path: Path | None) -> dict[str, str]:
    """The words, those in a JSON file (an object of texts) in place of ours.

    Raises:
        InputError: the file is missing or no such object, has a key that is not in `WORDS`, or a
            text lacks a {placeholder} of ours or has another.
    """
    if path is None:
        return dict(WORDS)
    given = _read(path)
    unknown = sorted(given.keys() - WORDS.keys())
    if unknown:
        raise InputError(
            f"'{path}' has words for {', '.join(unknown)}, which the page does not use; it uses "
            f"{', '.join(WORDS)}."
        )
    for key, text in given.items():
        wanted, found = (set(_PLACEHOLDER.findall(words)) for words in (WORDS[key], text))
        if wanted != found:
            raise InputError(
                f"'{path}': the text of {key} must have the placeholders {_names(wanted)}, not "
                f"{_names(found)}."
            )
    return {**WORDS, **given}


def _read(path: Path) -> dict[str, str]:
    try:
        given = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"There is no file '{path}'; check the name.") from None
    except ValueError as error:
        raise InputError(f"'{path}' is not JSON: {error}.") from None
    if not isinstance(given, dict) or not all(isinstance(text, str) for text in given.values()):
        raise InputError(f"'{path}' must be one JSON object whose values are texts.")
    return given


def _names(placeholders: set[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(placeholders)) or "none"
