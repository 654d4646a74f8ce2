"""RAFT: against torchvision's numbers, and its parts against slow loops."""

from __future__ import annotations

import math
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.evaluation.extractors.networks import noise
from tests.evaluation.extractors.raft_golden import FIXTURES, NUM_UPDATES, SALT, frames
from tests.formula import fill_by_formula, shapes_in, shapes_of
from torch import Tensor

from stillmotion.errors import InputError, ModelError
from stillmotion.evaluation.extractors.raft import RaftFlow
from stillmotion.evaluation.extractors.raft_network import (
    Raft,
    correlation_pyramid,
    look_up,
    upsampled,
)


@pytest.fixture(scope="module")
def network() -> Raft:
    network = Raft().eval()
    fill_by_formula(network, SALT)
    return network


@pytest.fixture(scope="module")
def file(network: Raft, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("raft") / "raft.safetensors"
    save_file(network.state_dict(), path)
    return path


def test_the_names_are_torchvisions() -> None:
    with torch.device("meta"):
        state = Raft().state_dict()
    keys = shapes_of((FIXTURES / "raft_large.keys.txt").read_text(encoding="utf-8"))
    assert list(shapes_in(state).items()) == list(keys.items())
    assert sum(t.numel() for n, t in state.items() if "running" not in n and "num_" not in n) == (
        5_257_536  # what torchvision says of its raft_large
    )


def test_the_flow_is_torchvisions(file: Path) -> None:
    known = load_file(FIXTURES / "raft_large.safetensors")["flow"]
    estimator = RaftFlow.load(file, num_updates=NUM_UPDATES)
    flow = estimator.flow(*frames())
    assert flow.shape == (128, 144, 2)
    assert torch.allclose(flow[3::8, 3::8].permute(2, 0, 1), known, rtol=1e-4, atol=1e-4)
    assert estimator.identity == sha256(file.read_bytes()).hexdigest()


def lookup_by_loop(f1: Tensor, f2: Tensor, c: Tensor, levels: int, radius: int) -> Tensor:
    """The definition: correlation with ever coarser features, bilinear, zero outside."""
    _, d, h, w = f1.shape
    out = torch.zeros(1, levels * (2 * radius + 1) ** 2, h, w, dtype=f1.dtype)

    def at(level: int, row: int, column: int, y: int, x: int) -> float:
        """Correlation of a place of the first with one of the second's at a level."""
        side = 2**level
        if not (0 <= y < h // side and 0 <= x < w // side):
            return 0.0
        patch = f2[0, :, y * side : (y + 1) * side, x * side : (x + 1) * side]
        return float(f1[0, :, row, column] @ patch.mean((1, 2))) / math.sqrt(d)

    for row in range(h):
        for column in range(w):
            channel = 0
            for level in range(levels):
                for i in range(-radius, radius + 1):
                    for j in range(-radius, radius + 1):
                        x = float(c[0, 0, row, column]) / 2**level + i
                        y = float(c[0, 1, row, column]) / 2**level + j
                        left, top = math.floor(x), math.floor(y)
                        a, b = x - left, y - top
                        out[0, channel, row, column] = (
                            (1 - b) * (1 - a) * at(level, row, column, top, left)
                            + (1 - b) * a * at(level, row, column, top, left + 1)
                            + b * (1 - a) * at(level, row, column, top + 1, left)
                            + b * a * at(level, row, column, top + 1, left + 1)
                        )
                        channel += 1
    return out


def test_the_look_up_is_its_definition() -> None:
    """On 8 x 9 places, where the coarsest level is a single one."""
    generator = torch.Generator().manual_seed(2)
    f1, f2 = torch.randn(2, 1, 5, 8, 9, generator=generator, dtype=torch.float64)
    c = torch.rand(1, 2, 8, 9, generator=generator, dtype=torch.float64) * 12 - 2
    found = look_up(correlation_pyramid(f1, f2), c, radius=1)
    assert found.shape == (1, 4 * 9, 8, 9)
    assert torch.allclose(found, lookup_by_loop(f1, f2, c, 4, 1), atol=1e-9)


def test_each_clip_of_a_batch_is_looked_up_in_its_own() -> None:
    f1, f2 = torch.randn(2, 2, 5, 8, 8, generator=torch.Generator().manual_seed(3))
    c = torch.rand(2, 2, 8, 8, generator=torch.Generator().manual_seed(4)) * 8
    together = look_up(correlation_pyramid(f1, f2), c)
    for k in range(2):
        alone = look_up(correlation_pyramid(f1[k : k + 1], f2[k : k + 1]), c[k : k + 1])
        assert torch.allclose(together[k], alone[0], atol=1e-5)


def test_upsampling_is_convex_by_the_definition() -> None:
    generator = torch.Generator().manual_seed(5)
    flow = torch.randn(1, 2, 3, 4, generator=generator)
    mask = torch.randn(1, 9 * 64, 3, 4, generator=generator)
    fine = upsampled(flow, mask)
    padded = torch.nn.functional.pad(8 * flow, (1, 1, 1, 1))
    expected = torch.zeros(1, 2, 24, 32)
    for y in range(24):
        for x in range(32):
            row, column = y // 8, x // 8
            place = (y % 8) * 8 + x % 8
            weights = mask[0, place::64, row, column].softmax(0)
            around = padded[0, :, row : row + 3, column : column + 3].reshape(2, 9)
            expected[0, :, y, x] = around @ weights
    assert torch.allclose(fine, expected, atol=1e-5)


def test_a_constant_flow_stays_constant_inside() -> None:
    flow = torch.tensor([1.5, -2.0])[None, :, None, None].expand(1, 2, 4, 4)
    mask = torch.randn(1, 9 * 64, 4, 4, generator=torch.Generator().manual_seed(6))
    inner = upsampled(flow, mask)[0, :, 8:-8, 8:-8]
    assert torch.allclose(inner[0], torch.tensor(12.0), atol=1e-4)
    assert torch.allclose(inner[1], torch.tensor(-16.0), atol=1e-4)


def test_the_network_takes_frames_in_minus_1_to_1(
    network: Raft, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not 0 to 1 scaled once more, as EvalCrafter does."""
    given: list[Tensor] = []

    def forward(first: Tensor, second: Tensor, num_updates: int) -> Tensor:
        given.extend((first, second))
        return torch.zeros(1, 2, *first.shape[2:])

    monkeypatch.setattr(network, "forward", forward)
    black = torch.zeros(3, 64, 64, dtype=torch.uint8)
    RaftFlow(network, "").flow(black, black + 255)
    assert given[0].unique().tolist() == [-1.0]
    assert given[1].unique().tolist() == [1.0]


def test_sides_are_padded_to_multiples_of_8_and_cut_again(
    network: Raft, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(first: Tensor, second: Tensor, num_updates: int) -> Tensor:
        assert first.shape == (1, 3, 72, 72)
        # The picture lies in the middle, its border repeated.
        assert torch.equal(first[0, :, 3:69, 0], first[0, :, 3:69, 2])
        return first[:, :2]

    monkeypatch.setattr(network, "forward", forward)
    frame = noise(3, 66, 67)
    flow = RaftFlow(network, "").flow(frame, frame)
    assert torch.allclose(flow, (frame[:2].float() / 127.5 - 1).permute(1, 2, 0))


def test_64_pixels_are_the_fewest(network: Raft) -> None:
    frame = noise(3, 64, 64)
    assert RaftFlow(network, "", num_updates=1).flow(frame, frame).isfinite().all()
    with pytest.raises(InputError, match="at least 64 x 64"):
        RaftFlow(network, "").flow(noise(3, 63, 64), noise(3, 63, 64))


def test_the_name_tells_an_unusual_number_of_updates(network: Raft) -> None:
    assert RaftFlow(network, "").name == "RAFT"
    assert RaftFlow(network, "", num_updates=12).name == "RAFT (12 updates)"


@pytest.mark.parametrize("updates", [0, 65])
def test_numbers_of_updates_that_make_no_sense(network: Raft, updates: int) -> None:
    with pytest.raises(InputError, match=f"asked for {updates} updates .* give 1 to 64"):
        RaftFlow(network, "", num_updates=updates)


def test_another_networks_file_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match=r"'x.safetensors' lacks \d+ tensors"):
        RaftFlow.load(tmp_path / "x.safetensors")
    torch.save({"a": torch.zeros(1)}, tmp_path / "raft_large.pth")
    with pytest.raises(ModelError, match=r"--allow-pickle .*raft_large.pth raft_large.safetensors"):
        RaftFlow.load(tmp_path / "raft_large.pth")
