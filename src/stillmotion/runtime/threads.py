"""How many threads of a CPU a computation uses, chosen once, at the start of a process.

Threads of one operation wait for each other.  On a machine with other work they wait for longer
than they compute; and since those of OpenMP wait by spinning, they also take the processor from
whom they wait for.  So `use_threads` chooses by what is free, and lets them sleep while they wait.

Results must not depend on what else the machine does.  Kernels divide their work by the number of
threads, and some round differently then.  Between one and two threads these are only convolutions
of 1 x 1, and of single pictures of few positions (`adapters/steady_convolutions.py` keeps them to
one); beyond two also activation functions.  So one or two are what is chosen; more are for those
who say so, with the same number each time if they want the same bytes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from stillmotion.errors import InputError

#: As many as give the same bytes as one, see above.
MOST_ALIKE = 2
#: Read by the runtime of OpenMP when torch is first imported.
THREADS_VARIABLE, WAITING_VARIABLE = "OMP_NUM_THREADS", "OMP_WAIT_POLICY"
_CGROUPS = Path("/sys/fs/cgroup")
_in_use: ContextVar[Threads | None] = ContextVar("threads in use", default=None)


@dataclass(frozen=True)
class Threads:
    """What was chosen, and in a few words why."""

    count: int
    reason: str
    is_asked: bool = False
    """By an option or the environment, so that nothing else is to be chosen."""


def choose_threads(
    asked: int | None = None, *, environment: Mapping[str, str] | None = None
) -> Threads:
    """What was asked, else what the environment says, else what is free now.

    Raises InputError if fewer than 1 are asked.
    """
    if asked is not None:
        if asked < 1:
            raise InputError(f"--threads is {asked}; give a whole number from 1 up.")
        return Threads(asked, "as asked", is_asked=True)
    said = (os.environ if environment is None else environment).get(THREADS_VARIABLE, "")
    first = said.split(",")[0].strip()  # OpenMP allows one number for each level of nesting
    if first.isdecimal() and int(first) > 0:
        return Threads(int(first), f"{THREADS_VARIABLE} says so", is_asked=True)
    cores, load = usable_cores(), current_load()
    return Threads(free_threads(cores, load), f"{load:.1f} of {cores} cores are busy")


def training_threads() -> int | None:
    """All cores, since training has work for them; None if the environment says how many."""
    return None if os.environ.get(THREADS_VARIABLE) else usable_cores()


def free_threads(cores: int, load: float) -> int:
    """Threads for which there is a free core, one at least and `MOST_ALIKE` at most.

    A core that is busy for less than half of the time counts as free.
    """
    return max(1, min(MOST_ALIKE, round(cores - load)))


def usable_cores() -> int:
    """Cores that this process may use, by its affinity and by the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    quota = _quota(_CGROUPS)
    return max(1, min(cores or 1, ceil(quota) if quota is not None else cores or 1))


def current_load() -> float:
    """Cores that others keep busy, as far as the system tells; 0 where it does not.

    The mean of the last minute, unless fewer want to run at this moment: that mean remembers what
    has ended, such as the command before this one.
    """
    if not hasattr(os, "getloadavg"):
        return 0.0
    mean = os.getloadavg()[0]
    if sys.platform != "linux":
        return mean
    running = Path("/proc/loadavg").read_text(encoding="ascii").split()[3].partition("/")[0]
    return min(mean, max(0, int(running) - 1))  # this process is one of them


@contextmanager
def use_threads(asked: int | None = None) -> Iterator[Threads]:
    """For the length of the block, compute with as many threads as `choose_threads` says.

    Before torch is imported this is a matter of the environment, which also reaches processes
    that are started; then threads also sleep while they wait, unless OMP_WAIT_POLICY says
    otherwise.  Raises InputError as `choose_threads`.
    """
    threads = choose_threads(asked)
    token = _in_use.set(threads)
    try:
        with _computing_with(threads):
            yield threads
    finally:
        _in_use.reset(token)


def threads_in_use() -> Threads:
    """What `use_threads` chose for the block that this is called in, or would choose now."""
    return _in_use.get() or choose_threads()


@contextmanager
def _computing_with(threads: Threads) -> Iterator[None]:
    with _environment({THREADS_VARIABLE: str(threads.count), WAITING_VARIABLE: "PASSIVE"}):
        torch = sys.modules.get("torch")
        if torch is None:
            yield
            return
        before = torch.get_num_threads()
        torch.set_num_threads(threads.count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextmanager
def single_thread() -> Iterator[None]:
    """For the length of the block, compute with one thread."""
    import torch  # heavy: this module is read by commands that compute nothing

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the length of the block; the way of waiting only if nobody else has."""
    before = {name: os.environ.get(name) for name in values}
    for name, value in values.items():
        if name != WAITING_VARIABLE or before[name] is None:
            os.environ[name] = value
    try:
        yield
    finally:
        for name, former in before.items():
            if former is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = former


def _quota(cgroups: Path) -> float | None:
    """Cores that the control group grants, or None if it does not limit them."""
    try:
        limit, period = (cgroups / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        try:
            folder = cgroups / "cpu"
            limit = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        except OSError:
            return None
    if not (limit.isdecimal() and period.isdecimal()) or int(period) == 0:
        return None  # "max", or -1
    return int(limit) / int(period)
