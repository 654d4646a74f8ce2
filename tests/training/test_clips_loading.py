"""Batches depend on seed, step and rank, and on nothing else; the world is a source like others."""

from __future__ import annotations

import random
import shutil
from itertools import islice
from pathlib import Path

import pytest
import torch
from tests.training.coded_clips import (
    SETTINGS,
    generator,
    numbers_of,
    write_clip,
    write_manifest,
)

from stillmotion.errors import InputError
from stillmotion.runtime.seeds import derive_seed
from stillmotion.training.clips.files import open_clips
from stillmotion.training.clips.loading import ClipLoader, LoaderSettings, NumberedSamples
from stillmotion.training.clips.samples import ClipBatch, ClipSample, ClipSettings
from stillmotion.training.clips.world import WorldClips, WorldSettings
from stillmotion.world.render import render_clip
from stillmotion.world.scene import Fixed, sample_scene

SMALL = ClipSettings(height=32, width=64, num_frames=4)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five clips of 24 frames, which show 0..23, 50..73, ..., and their manifest."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(5):
        write_clip(folder / f"{number}.mp4", 24, first=50 * number)
    rows = [{"path": f"{number}.mp4", "caption": str(number)} for number in range(5)]
    write_manifest(folder / "m.jsonl", rows)
    return folder


@pytest.fixture
def manifest(clips: Path, tmp_path: Path) -> Path:
    """The manifest of a copy that a test may spoil."""
    return shutil.copytree(clips, tmp_path / "clips") / "m.jsonl"


def first_batches(
    manifest: Path, count: int, first_step: int = 0, **settings: int
) -> list[ClipBatch]:
    loader = ClipLoader(
        open_clips(manifest, SMALL), LoaderSettings(**{"seed": 3, "batch": 2, **settings})
    )
    return list(islice(loader.batches(first_step), count))


def assert_equal(one: ClipBatch, other: ClipBatch) -> None:
    assert torch.equal(one.frames, other.frames)
    assert torch.equal(one.frame_strides, other.frame_strides)
    assert torch.equal(one.conditioning_fps, other.conditioning_fps)
    assert (one.captions, one.names) == (other.captions, other.names)


def test_workers_change_nothing(manifest: Path) -> None:
    alone = first_batches(manifest, 6)
    before = torch.get_rng_state()
    for workers in (1, 2):
        for one, other in zip(alone, first_batches(manifest, 6, workers=workers), strict=True):
            assert_equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert alone[0].frames.shape == (2, 4, 3, 32, 64)
    assert alone[0].frame_strides.dtype == alone[0].conditioning_fps.dtype == torch.int64
    for batch in alone:
        for frames, caption, stride, fps in zip(
            batch.frames, batch.captions, batch.frame_strides, batch.conditioning_fps, strict=True
        ):
            numbers = numbers_of(frames)
            assert numbers == [numbers[0] + int(stride) * k for k in range(4)]
            assert numbers[0] // 50 == int(caption)
            assert fps == 24 // stride


def test_a_run_resumes_at_a_step(manifest: Path) -> None:
    whole = first_batches(manifest, 8)
    for one, other in zip(whole[5:], first_batches(manifest, 3, first_step=5), strict=True):
        assert_equal(one, other)


def test_ranks_share_out_the_samples_of_one_larger_batch(manifest: Path) -> None:
    large = first_batches(manifest, 3, batch=4)
    parts = [first_batches(manifest, 3, rank=rank, num_ranks=2) for rank in range(2)]
    for batch, first, second in zip(large, *parts, strict=True):
        assert torch.equal(batch.frames, torch.cat([first.frames, second.frames]))
        assert batch.captions == first.captions + second.captions


def test_an_epoch_shows_every_clip_once_in_its_own_order(manifest: Path) -> None:
    samples = NumberedSamples(open_clips(manifest, SMALL), seed=3)
    epochs = [[samples[5 * epoch + place].name for place in range(5)] for epoch in range(4)]
    assert all(sorted(epoch) == [f"{n}.mp4" for n in range(5)] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert samples[2].name == epochs[0][2]  # asked for again, after later epochs
    other = NumberedSamples(open_clips(manifest, SMALL), seed=4)
    assert any(other[n].name != samples[n].name for n in range(10))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unusable_clip_stops_with_its_own_sentence(manifest: Path, workers: int) -> None:
    (manifest.parent / "2.mp4").unlink()
    with pytest.raises(InputError) as caught:
        first_batches(manifest, 3, workers=workers)
    assert str(caught.value).startswith("m.jsonl, line 3: There is no clip")
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_replaced_clips_are_counted(manifest: Path, workers: int) -> None:
    (manifest.parent / "2.mp4").unlink()
    loader = ClipLoader(
        open_clips(manifest, SMALL, skip_damaged=True),
        LoaderSettings(seed=3, batch=5, workers=workers),
    )
    batches = list(islice(loader.batches(), 2))  # two epochs
    assert all("2.mp4" not in batch.names for batch in batches)
    (sentence, times), *rest = loader.skipped.items()
    assert not rest
    assert sentence.startswith("m.jsonl, line 3: There is no clip")
    assert times >= 2


@pytest.mark.parametrize(
    "wrong", [{"batch": 0}, {"workers": -1}, {"rank": 1}, {"rank": -1}, {"num_ranks": 0}]
)
def test_impossible_settings_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError):
        LoaderSettings(**{"seed": 0, "batch": 1, **wrong})


def world_sample(index: int = 3, seed: int = 0, **settings: int) -> ClipSample:
    world = WorldSettings(count=8, seed=5, length=settings.pop("length", 16))
    size = {"height": 32, "width": 32, **settings}
    return WorldClips(world, ClipSettings(**size)).sample(index, generator(seed))


def test_the_world_gives_its_scenes() -> None:
    scene = sample_scene(random.Random(derive_seed(5, "clip", 3)))
    expected = (render_clip(scene, 16, 32).frames.clamp(0, 1) * 255).round().to(torch.uint8)
    sample = world_sample()
    assert torch.equal(sample.frames, expected)
    assert (sample.frame_stride, sample.conditioning_fps) == (1, 8)
    assert scene.colour in sample.caption
    assert (sample.licence, sample.name) == (None, "scene 3")


def test_a_longer_scene_has_strides() -> None:
    scene = sample_scene(random.Random(derive_seed(5, "clip", 3)))
    whole = (render_clip(scene, 40, 32).frames.clamp(0, 1) * 255).round().to(torch.uint8)
    strides = set()
    for seed in range(8):
        sample = world_sample(seed=seed, length=40)
        strides.add(sample.frame_stride)
        assert sample.conditioning_fps == 8 // sample.frame_stride
        span = 15 * sample.frame_stride + 1
        parts = [whole[s : s + span : sample.frame_stride] for s in range(40 - span + 1)]
        assert any(torch.equal(sample.frames, part) for part in parts)
    assert strides == {1, 2}


def test_a_world_that_is_not_square_is_cut_to_size() -> None:
    wide, square = world_sample(height=24), world_sample()
    assert torch.equal(wide.frames, square.frames[:, :, 4:28])


def test_wording_is_drawn_and_scenes_are_not() -> None:
    samples = [world_sample(seed=seed) for seed in range(8)]
    assert len({sample.caption for sample in samples}) > 1
    assert all(torch.equal(sample.frames, samples[0].frames) for sample in samples)


def test_what_scenes_have_in_common_is_kept() -> None:
    world = WorldSettings(count=6, domain=0.0, fixed=Fixed(subject="star", colour="teal"))
    source = WorldClips(world, ClipSettings(height=16, width=16))
    captions = [source.sample(index, generator(index)).caption for index in range(len(source))]
    assert all("teal" in each and "star" in each for each in captions)


def test_the_world_loads_as_clips_do() -> None:
    source = WorldClips(WorldSettings(count=4), ClipSettings(height=16, width=16))
    loaders = [
        ClipLoader(source, LoaderSettings(seed=1, batch=2, workers=workers)) for workers in (0, 2)
    ]
    for one, other in zip(*(islice(loader.batches(), 3) for loader in loaders), strict=True):
        assert_equal(one, other)


def test_impossible_worlds_are_refused() -> None:
    for wrong in ({"count": 0}, {"length": 0}, {"fps": 0.0}):
        with pytest.raises(InputError):
            WorldSettings(**{"count": 1, **wrong})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="scenes have 8 frames and a sample takes 16"):
        WorldClips(WorldSettings(count=1, length=8), SETTINGS)
