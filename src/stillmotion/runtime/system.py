"""What this machine offers: packages, devices, memory and disk."""

from __future__ import annotations

import platform
import re
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

from stillmotion import __version__
from stillmotion.errors import InputError
from stillmotion.runtime.threads import usable_cores

PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "safetensors",
    "numpy",
    "pillow",
    "av",
    "pydantic",
)


@dataclass(frozen=True)
class DeviceFacts:
    """A device that `choose_device` accepts by `name`; memory in bytes where it is known."""

    name: str
    description: str
    memory_bytes: int | None = None


@dataclass(frozen=True)
class SystemFacts:
    """Facts for bug reports and `doctor`; sizes in bytes, None where the system does not tell."""

    python: str
    platform: str
    packages: dict[str, str | None]
    cpu_threads: int
    devices: tuple[DeviceFacts, ...]
    memory_total_bytes: int | None
    memory_free_bytes: int | None
    disk_free_bytes: int


def system_facts(folder: Path = Path()) -> SystemFacts:
    """Gather the facts; the disk is the one that holds `folder` (an existing folder)."""
    total, free = host_memory()
    return SystemFacts(
        python=platform.python_version(),
        platform=platform.platform(),
        packages={"stillmotion": __version__, **{name: _version(name) for name in PACKAGES}},
        cpu_threads=usable_cores(),
        devices=_devices(),
        memory_total_bytes=total,
        memory_free_bytes=free,
        disk_free_bytes=shutil.disk_usage(folder).free,
    )


def peak_memory_bytes() -> int:
    """The most resident memory this process has used so far; 0 on Windows, which does not tell."""
    if sys.platform == "win32":
        return 0
    if sys.platform == "linux":
        # Linux lets a program inherit ru_maxrss from the one that started it; VmHWM is its own.
        status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
        if (found := re.search(r"VmHWM:\s+(\d+) kB", status)) is not None:
            return int(found[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, others KiB


def host_memory() -> tuple[int | None, int | None]:
    """Total and free memory in bytes, within the limit of the container if there is one.

    None and None where the system does not tell.
    """
    if sys.platform != "linux":
        return None, None
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    fields = {key: int(size) * 1024 for key, size in re.findall(r"(\w+):\s+(\d+) kB", text)}
    total, free = fields["MemTotal"], fields["MemAvailable"]
    limit = _number(Path("/sys/fs/cgroup/memory.max"))
    used = _number(Path("/sys/fs/cgroup/memory.current"))
    if limit is not None and used is not None and limit < total:
        return limit, min(free, max(0, limit - used))
    return total, free


def choose_device(name: str = "auto") -> torch.device:
    """The device called `name`: "cpu", "cuda", "cuda:N", "mps", or "auto" for the best present.

    Raises InputError if there is no such device here.
    """
    present = [device.name for device in _devices()]
    if name == "auto":  # the first accelerator, else the CPU
        return torch.device((present[1:] or present)[0])
    wanted = "cuda:0" if name == "cuda" else name
    known = re.fullmatch(r"cpu|mps|cuda:\d+", wanted) is not None
    if wanted in present:
        return torch.device(wanted)
    raise InputError(
        f"The device '{name}' is {'not present on this machine' if known else 'unknown'}; "
        f"choose auto or one of: {', '.join(present)}."
    )


def _devices() -> tuple[DeviceFacts, ...]:
    """The CPU first, then every accelerator."""
    devices = [DeviceFacts("cpu", platform.processor() or platform.machine())]
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(index)
        devices.append(DeviceFacts(f"cuda:{index}", properties.name, properties.total_memory))
    if torch.backends.mps.is_available():
        devices.append(DeviceFacts("mps", "Apple GPU"))
    return tuple(devices)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no such file, or the word "max"
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
