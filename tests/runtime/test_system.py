"""Facts about the machine, and the choice of a device."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import stillmotion
from stillmotion.errors import InputError
from stillmotion.runtime.system import choose_device, peak_memory_bytes, system_facts


def pretend(monkeypatch: pytest.MonkeyPatch, *, num_cuda: int, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: num_cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: num_cuda)
    properties = SimpleNamespace(name="Pretend GPU", total_memory=8 << 30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("num_cuda", "mps", "best"), [(0, False, "cpu"), (2, False, "cuda:0"), (0, True, "mps")]
)
def test_auto_takes_the_best(
    num_cuda: int, mps: bool, best: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, num_cuda=num_cuda, mps=mps)
    assert choose_device("auto") == torch.device(best)
    assert choose_device() == torch.device(best)


def test_present_devices_are_taken_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, num_cuda=2, mps=True)
    assert choose_device("cuda") == torch.device("cuda:0")
    for name in ("cpu", "cuda:0", "cuda:1", "mps"):
        assert choose_device(name) == torch.device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_absent_devices_are_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, num_cuda=0)
    with pytest.raises(InputError, match=f"'{name}' is not present on this machine.*one of: cpu"):
        choose_device(name)


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU", "meta"])
def test_unknown_devices_are_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, num_cuda=2)
    with pytest.raises(InputError, match=f"'{name}' is unknown.*one of: cpu, cuda:0, cuda:1"):
        choose_device(name)


def test_a_number_too_high_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, num_cuda=2)
    with pytest.raises(InputError, match="'cuda:2' is not present"):
        choose_device("cuda:2")


def test_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, num_cuda=1)
    facts = system_facts(tmp_path)
    assert facts.python == platform.python_version()
    assert facts.packages["stillmotion"] == stillmotion.__version__
    assert facts.packages["torch"] == torch.__version__
    assert facts.cpu_threads >= 1
    assert [device.name for device in facts.devices] == ["cpu", "cuda:0"]
    assert facts.devices[1].memory_bytes == 8 << 30
    assert facts.disk_free_bytes > 0


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_memory_is_told() -> None:
    facts = system_facts()
    assert facts.memory_total_bytes is not None
    assert facts.memory_free_bytes is not None
    assert 0 <= facts.memory_free_bytes <= facts.memory_total_bytes
    assert 1 << 28 < facts.memory_total_bytes < 1 << 50


@pytest.mark.skipif(sys.platform == "win32", reason="not told by Windows")
def test_peak_memory_is_in_bytes() -> None:
    program = (
        "from stillmotion.runtime.system import peak_memory_bytes as peak\n"
        "before = peak(); block = bytearray(300_000_000); del block; print(peak() - before)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert 250_000_000 < int(answer.stdout) < 350_000_000
    assert peak_memory_bytes() > 10_000_000
