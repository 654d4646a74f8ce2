"""A batch follows from the loop's generator alone, whoever reads it and whenever."""

from __future__ import annotations

import os
import signal
from itertools import count
from pathlib import Path

import pytest
import torch
from tests.training.coded_clips import generator, numbers_of, write_clip, write_manifest
from tests.training.regression import Regression, settings

from stillmotion.errors import InputError
from stillmotion.training.clips.drawing import DrawnClips
from stillmotion.training.clips.files import open_clips
from stillmotion.training.clips.samples import ClipBatch, ClipSample, ClipSettings
from stillmotion.training.loop import train

SMALL = ClipSettings(height=32, width=64, num_frames=4)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five clips of 24 frames, which show 0..23, 50..73, ..."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(5):
        write_clip(folder / f"{number}.mp4", 24, first=50 * number)
    rows = [{"path": f"{number}.mp4", "caption": str(number)} for number in range(5)]
    return write_manifest(folder / "m.jsonl", rows)


def drawn(manifest: Path, workers: int = 0, *, skip_damaged: bool = False) -> DrawnClips:
    return DrawnClips(open_clips(manifest, SMALL, skip_damaged=skip_damaged), 2, workers=workers)


def equal(one: ClipBatch, other: ClipBatch) -> bool:
    return torch.equal(one.frames, other.frames) and one.captions == other.captions


def test_equal_generators_give_equal_batches(manifest: Path) -> None:
    before = torch.get_rng_state()
    batches = [drawn(manifest).batch(generator(seed)) for seed in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), before)
    assert equal(batches[0], batches[1])
    assert not equal(batches[0], batches[2])
    for frames, caption, stride in zip(
        batches[0].frames, batches[0].captions, batches[0].frame_strides, strict=True
    ):
        numbers = numbers_of(frames)
        assert numbers == [numbers[0] + int(stride) * step for step in range(4)]
        assert numbers[0] // 50 == int(caption)


def test_what_is_drawn_afterwards_does_not_depend_on_the_clips(manifest: Path) -> None:
    rng = generator(3)
    drawn(manifest).batch(rng)
    other = generator(3)
    torch.randint(2**62, (), generator=other)
    assert torch.equal(torch.randn(3, generator=rng), torch.randn(3, generator=other))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(manifest: Path, workers: int) -> None:
    alone, ahead = drawn(manifest), drawn(manifest, workers)
    ahead.foresee(iter(count(10)))
    for seed in range(10, 16):
        assert equal(ahead.batch(generator(seed)), alone.batch(generator(seed)))
    assert ahead.reads_ahead
    # Another generator than was foreseen.
    for seed in (40, 17):
        assert equal(ahead.batch(generator(seed)), alone.batch(generator(seed)))
    assert not ahead.reads_ahead


def test_all_clips_come(manifest: Path) -> None:
    source = drawn(manifest)
    seen = {name for seed in range(20) for name in source.batch(generator(seed)).names}
    assert len(seen) == 5


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unusable_clip_is_told_or_counted(manifest: Path, tmp_path: Path, workers: int) -> None:
    write_clip(tmp_path / "short.mp4", 3)
    write_clip(tmp_path / "good.mp4", 24)
    rows = [{"path": f"{name}.mp4", "caption": name} for name in ("short", "good")]
    listed = write_manifest(tmp_path / "m.jsonl", rows)
    strict, lenient = drawn(listed, workers), drawn(listed, workers, skip_damaged=True)
    for source in (strict, lenient):
        source.foresee(iter(range(8)))
    with pytest.raises(InputError, match="line 1: the clip has 3 frames and a sample takes 4"):
        list(map(strict.batch, map(generator, range(8))))
    names = {name for seed in range(6) for name in lenient.batch(generator(seed)).names}
    assert names == {"good.mp4"}
    assert sum(lenient.skipped.values()) >= 2


class Deadly:
    """Clips at which a worker is killed."""

    def __len__(self) -> int:
        return 1

    def sample(self, index: int, generator: torch.Generator) -> ClipSample:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_a_killed_worker_is_told_in_a_sentence() -> None:
    source = DrawnClips(Deadly(), 1, workers=1)
    source.foresee(iter(count()))
    with pytest.raises(InputError, match="was ended from outside"):
        source.batch(generator(0))


class Foreseeing(Regression):
    """A stage that notes what it was told would come, and what came."""

    def foresee(self, seeds: object) -> None:
        self.foreseen = seeds
        self.pairs: list[tuple[int, int]] = []

    def loss(self, generator: torch.Generator, progress: float) -> dict[str, torch.Tensor]:
        self.pairs.append((next(self.foreseen), generator.initial_seed()))  # type: ignore[call-overload]
        return super().loss(generator, progress)


def test_the_loop_tells_the_seeds_that_come(tmp_path: Path) -> None:
    for steps in (3, 7):  # from the beginning, and gone on
        stage = Foreseeing()
        limits = settings(max_steps=steps, gradient_accumulation_steps=2)
        train(stage, limits, tmp_path)  # type: ignore[arg-type]
        assert len(stage.pairs) == {3: 6, 7: 8}[steps]
        assert all(told == came for told, came in stage.pairs)
        assert len(set(stage.pairs)) == len(stage.pairs)
