"""The fingerprint changes with the weights and with nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from stillmotion.models.fingerprint import fingerprint


def network(value: float = 0.5) -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    for parameter in model.parameters():
        parameter.data.fill_(value)
    return model


def test_same_weights_same_fingerprint_in_another_process() -> None:
    program = (
        "import torch; from torch import nn; from stillmotion.models.fingerprint import *\n"
        "m = nn.Linear(3, 2); m.weight.data.fill_(0.25); m.bias.data.fill_(1)\n"
        "print(fingerprint({'net': m}))"
    )
    model = nn.Linear(3, 2)
    model.weight.data.fill_(0.25)
    model.bias.data.fill_(1)
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == fingerprint({"net": model})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_precision_is_another_model(dtype: torch.dtype) -> None:
    assert fingerprint({"net": network().to(dtype)}) != fingerprint({"net": network()})


def test_every_element_counts() -> None:
    changed = network()
    changed[0].weight.data[1, 2] += 1e-6
    assert fingerprint({"net": changed}) != fingerprint({"net": network()})


def test_names_count() -> None:
    assert fingerprint({"a": network()}) != fingerprint({"b": network()})


def test_layout_in_memory_does_not_count() -> None:
    model = network()
    model[0].weight.data = model[0].weight.data.t().contiguous().t()
    assert fingerprint({"net": model}) == fingerprint({"net": network()})


def test_only_included_names_count() -> None:
    changed = network()
    changed[1].weight.data += 1

    def include(name: str) -> bool:
        return not name.startswith("net.1.")

    assert fingerprint({"net": changed}, include=include) == fingerprint(
        {"net": network()}, include=include
    )


def test_a_sample_notices_other_weights() -> None:
    assert fingerprint({"net": network(0.1)}, max_elements=1) != fingerprint(
        {"net": network(0.2)}, max_elements=1
    )


def test_lora_scale_counts() -> None:
    from peft import LoraConfig, get_peft_model

    def scaled(scale: float) -> nn.Module:
        model = get_peft_model(network(), LoraConfig(r=1, target_modules=["0"]))
        for parameter in model.parameters():
            parameter.data.fill_(0.5)
        model.base_model.model[0].scaling["default"] = scale
        return model

    assert fingerprint({"net": scaled(1.0)}) == fingerprint({"net": scaled(1.0)})
    assert fingerprint({"net": scaled(1.0)}) != fingerprint({"net": scaled(0.5)})
