"""One clear sentence for failures of the machine and of libraries that the user can mend."""

from __future__ import annotations

import errno

from stillmotion.errors import StillmotionError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

_FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# safetensors tells the system's error in words only.
_FULL_DISK_WORDS = ("No space left on device", "Disk quota exceeded", "File too large")


def sentence_for(error: Exception) -> str | None:
    """What to tell the user about `error`, or None if it is a defect of ours."""
    # Only here: a library that is not imported cannot have failed, and `--help` must not wait.
    from concurrent.futures.process import BrokenProcessPool

    from safetensors import SafetensorError

    from stillmotion.runtime.memory import is_out_of_memory

    if isinstance(error, StillmotionError):
        return str(error)
    text = " ".join(str(error).split())
    if isinstance(error, BrokenProcessPool):
        return (
            "a worker process was ended from outside, most likely because memory ran out; use "
            "fewer --processes (what is finished is kept)"
        )
    if is_out_of_memory(error):
        return (
            "there is not enough memory for this; use fewer frames, a smaller size, or another "
            "--device"
        )
    if isinstance(error, SafetensorError):
        if any(words in text for words in _FULL_DISK_WORDS):
            return "there is no space left on the disk; free some or choose another folder"
        return f"a .safetensors file is damaged: {text}"
    if isinstance(error, OSError) and error.errno is not None:
        return _about_files(error)
    return None


def _about_files(error: OSError) -> str:
    if error.errno in _FULL_DISK:
        return "there is no space left on the disk; free some or choose another folder"
    what = f"'{error.filename}'" if error.filename else "a file"
    return f"{what} cannot be used: {(error.strerror or str(error)).lower()}"
