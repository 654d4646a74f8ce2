"""What a measurement ran on: enough to judge the numbers by, nothing that names the machine."""

from __future__ import annotations

import platform
import re
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from stillmotion import __version__
from stillmotion.benchmarks.timing import UNQUIET_SHARE, Quiet
from stillmotion.runtime.system import system_facts

_LIBRARIES = ("torch", "diffusers", "transformers")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Processor, device and versions."""

    processor: str
    cores: int
    """That this process may use."""
    threads: int
    """Of torch, within an operation."""
    device: str
    """`cpu`, or what a GPU calls itself."""
    versions: dict[str, str]

    def as_words(self) -> str:
        """One sentence."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        place = "" if self.device == "cpu" else f"{self.device}; host "
        return f"{place}{self.processor}, {self.cores} cores, {self.threads} threads; {versions}"

    def as_facts(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def machine(device: torch.device) -> Machine:
    """The one that this runs on."""
    is_cuda = device.type == "cuda"
    versions = {name: metadata.version(name).partition("+")[0] for name in _LIBRARIES}
    return Machine(
        processor=_processor(),
        cores=system_facts().cpu_threads,
        threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name(device) if is_cuda else device.type,
        versions={"stillmotion": __version__, **versions},
    )


def quiet_in_words(quiet: Quiet) -> str:
    """How busy the machine was, and whether that spoils the times."""
    if quiet.others_share is None:
        return "How busy the machine was otherwise, the system does not tell."
    share = f"other programs used {quiet.others_share:.0%} of the CPU time"
    load = "" if quiet.load_before is None else f", the load before was {quiet.load_before:.1f}"
    if quiet.is_quiet:
        return f"The machine was quiet: {share}{load}."
    return (
        f"**The machine was not quiet**: {share}{load}. More than {UNQUIET_SHARE:.0%} of it makes "
        "times longer than they need be, and ratios between contenders uncertain."
    )


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()
