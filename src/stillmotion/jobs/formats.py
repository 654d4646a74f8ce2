"""How the files of a job end."""

from __future__ import annotations

from pathlib import Path

from stillmotion.errors import InputError
from stillmotion.jobs.fields import ClipFormat
from stillmotion.jobs.model import AnyJob, DrawJob, EvaluateJob

_SUFFIXES: dict[str, str] = {
    "mp4": ".mp4", "webm": ".webm", "gif": ".gif", "webp": ".webp",
    "safetensors": ".safetensors", "frames": "", "png": ".png",
}  # fmt: skip
_FORMATS: dict[str, ClipFormat] = {
    ".mp4": "mp4", ".webm": "webm", ".gif": "gif", ".webp": "webp",
    ".safetensors": "safetensors", "": "frames",
}  # fmt: skip
_STEMS = {"draw": "still", "story": "film", "evaluate": "scores"}


def suffix_of(job: AnyJob) -> str:
    """The ending of the job's files, with its dot; empty for a folder of frames."""
    if isinstance(job, DrawJob):
        return ".png"
    return ".json" if isinstance(job, EvaluateJob) else _SUFFIXES[job.format]


def file_name(job: AnyJob) -> str:
    """What the result is called where nobody has said it: `still.png`, `clip.mp4`."""
    suffix = suffix_of(job)
    stem = "still" if suffix == ".png" else _STEMS.get(job.kind, "clip")
    return f"{stem}{suffix}"


def clip_format(output: Path) -> ClipFormat:
    """The format of a clip by its ending.  Raises InputError for one that clips do not have."""
    suffix = output.suffix.lower()
    if suffix not in _FORMATS:
        known = ", ".join(ending for ending in _FORMATS if ending)
        raise InputError(
            f"'{output}' has no format that a clip can be written in; use one of {known}, or no "
            "ending for a folder of frames."
        )
    return _FORMATS[suffix]
