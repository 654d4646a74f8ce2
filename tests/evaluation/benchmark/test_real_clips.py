"""Folders of real clips in the layouts of UCF-101 and MSR-VTT, and any others; their cutting."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stillmotion.errors import InputError
from stillmotion.evaluation.benchmark.clip_layouts import class_words
from stillmotion.evaluation.benchmark.named_prompts import read_named_prompts
from stillmotion.evaluation.benchmark.real_clips import (
    FoundClips,
    case_name,
    choose_clips,
    find_real_clips,
    sample_clip,
)
from stillmotion.media.fit import fit_picture
from stillmotion.media.reading import read_frames


def shades(num_frames: int, height: int = 8, width: int = 12) -> NDArray[np.uint8]:
    """Frames whose grey tells their number: 3 levels from one to the next."""
    levels = 3 * np.arange(num_frames, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(levels, (num_frames, height, width, 3)).copy()


def write_lossless(path: Path, frames: NDArray[np.uint8]) -> None:
    first, *others = [Image.fromarray(frame) for frame in frames]
    path.parent.mkdir(parents=True, exist_ok=True)
    first.save(path, save_all=True, append_images=others, lossless=True, duration=40)


def write_avi(path: Path, frames: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("mpeg4", rate=25, options={"qmin": "1", "qmax": "1"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        output.mux(stream.encode(None))


@pytest.fixture(scope="module")
def one_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.webp"
    write_lossless(path, shades(20))
    return path


def copies(one_clip: Path, folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(one_clip, folder / name)


def ucf(one_clip: Path, folder: Path) -> Path:
    copies(
        one_clip, folder, "UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.webp",
        "UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g02_c01.webp",
        "UCF-101/HandstandPushups/v_HandStandPushups_g01_c01.webp",
        "UCF-101/YoYo/v_YoYo_g01_c03.webp",
    )  # fmt: skip
    return folder


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ApplyEyeMakeup", "apply eye makeup"),
        ("YoYo", "yo yo"),
        ("TaiChi", "tai chi"),
        ("Archery", "archery"),
        ("BoxingPunchingBag", "boxing punching bag"),
        ("PlayingTVGame2", "playing tv game 2"),
    ],
)
def test_classes_become_words(name: str, words: str) -> None:
    assert class_words(name) == words


def test_ucf101_is_recognised(one_clip: Path, tmp_path: Path) -> None:
    found = find_real_clips(ucf(one_clip, tmp_path))
    assert found.layout == "ucf101"
    told = {clip.key.rpartition("/")[2]: (clip.prompts, clip.group) for clip in found.clips}
    assert told == {
        "v_ApplyEyeMakeup_g01_c01": (("apply eye makeup",), "ApplyEyeMakeup"),
        "v_ApplyEyeMakeup_g02_c01": (("apply eye makeup",), "ApplyEyeMakeup"),
        "v_HandStandPushups_g01_c01": (("handstand pushups",), "HandstandPushups"),
        "v_YoYo_g01_c03": (("yo yo",), "YoYo"),
    }
    chosen = choose_clips(found, 2, num_frames=4)
    assert len(chosen.cases) == 2
    for case in chosen.cases:
        assert case.name == Path(str(case.facts["file"])).stem
        assert Path(str(case.facts["file"])).is_absolute()
        assert case.facts["frames"] == 20
        assert case.facts["class"] == case.group
        assert case.still == f"stills/{case.name}.png"


def test_the_choice_does_not_ask_where_the_clips_lie(one_clip: Path, tmp_path: Path) -> None:
    above, below = ucf(one_clip, tmp_path / "ucf"), tmp_path / "ucf" / "UCF-101"
    chosen = [choose_clips(find_real_clips(folder), 2, num_frames=4) for folder in (above, below)]
    assert chosen[0] == chosen[1]
    msrvtt(one_clip, tmp_path / "a")
    msrvtt(one_clip, tmp_path / "b/c")
    seeds = [
        [
            (case.name, case.seed)
            for case in choose_clips(find_real_clips(folder), num_frames=4).cases
        ]
        for folder in (tmp_path / "a", tmp_path / "b")
    ]
    assert seeds[0] == seeds[1]
    assert [name for name, _ in seeds[0]] == ["video7", "video8"]


def test_ucf101s_lists_choose(one_clip: Path, tmp_path: Path) -> None:
    ucf(one_clip, tmp_path)
    listed = tmp_path / "testlist01.txt"
    listed.write_text(
        "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi\r\n"
        "HandstandPushups/v_HandstandPushups_g01_c01.avi 37\n\n"
        "Archery/v_Archery_g01_c01.avi\n"
    )
    found = find_real_clips(tmp_path, "ucf101", test_list=listed)
    assert [clip.path.stem for clip in found.clips] == [
        "v_ApplyEyeMakeup_g01_c01", "v_HandStandPushups_g01_c01",
    ]  # fmt: skip
    listed.write_text("Archery/v_Archery_g01_c01.avi\n")
    with pytest.raises(InputError, match=r"no clip in .* is named one of .*testlist01"):
        find_real_clips(tmp_path, "ucf101", test_list=listed)
    with pytest.raises(InputError, match="cannot be read"):
        find_real_clips(tmp_path, "ucf101", test_list=tmp_path / "none.txt")
    with pytest.raises(InputError, match=r"is for UCF-101, but .* has the layout 'folder'"):
        find_real_clips(tmp_path, "folder", test_list=listed, prompts=named(tmp_path, tmp_path))


def named(folder: Path, place: Path) -> Path:
    """Prompts for every clip of a folder."""
    path = place / "prompts.json"
    path.write_text(json.dumps({clip.name: "words" for clip in folder.rglob("*.webp")}))
    return path


ANNOTATION = {
    "info": {},
    "videos": [
        {"video_id": "video1", "split": "train"},
        {"video_id": "video7", "split": "test"},
        {"video_id": "video8", "split": "test"},
    ],
    "sentences": [
        {"sen_id": 1, "video_id": "video7", "caption": "a man sings"},
        {"sen_id": 0, "video_id": "video7", "caption": "someone is singing "},
        {"sen_id": 2, "video_id": "video1", "caption": "a car"},
        {"sen_id": 3, "video_id": "video8", "caption": "a dog"},
        {"sen_id": 4, "video_id": "video9", "caption": "not there"},
    ],
}


def msrvtt(one_clip: Path, folder: Path, content: Any = ANNOTATION) -> Path:
    copies(one_clip, folder, *(f"TestVideo/video{number}.webp" for number in (1, 7, 8, 10)))
    (folder / "info.json").write_text(json.dumps(content))
    return folder


def test_msrvtt_is_recognised(one_clip: Path, tmp_path: Path) -> None:
    found = find_real_clips(msrvtt(one_clip, tmp_path))
    assert found.layout == "msrvtt"
    assert {clip.path.stem: clip.prompts for clip in found.clips} == {
        "video7": ("a man sings", "someone is singing"),
        "video8": ("a dog",),
    }
    everyone = find_real_clips(tmp_path, split="all")
    assert {clip.path.stem for clip in everyone.clips} == {"video1", "video7", "video8"}
    with pytest.raises(InputError, match="no videos of the split 'val'; it has: test, train"):
        find_real_clips(tmp_path, split="val")


def test_an_annotation_can_lie_elsewhere(one_clip: Path, tmp_path: Path) -> None:
    clips = msrvtt(one_clip, tmp_path / "clips", {"sentences": ANNOTATION["sentences"]})
    annotation = (clips / "info.json").rename(tmp_path / "elsewhere.json")
    found = find_real_clips(clips, prompts=annotation)
    assert found.layout == "msrvtt"
    # It tells of no splits, so that all clips are taken.
    assert {clip.path.stem for clip in found.clips} == {"video1", "video7", "video8"}


def test_captions_are_chosen_by_lot(one_clip: Path, tmp_path: Path) -> None:
    found = find_real_clips(msrvtt(one_clip, tmp_path))
    said: list[str] = []
    for seed in range(12):
        chosen = choose_clips(found, seed=seed, num_frames=4)
        assert chosen == choose_clips(found, seed=seed, num_frames=4)
        said += [case.prompt for case in chosen.cases if "video7" in case.name]
    assert set(said) == {"a man sings", "someone is singing"}


def test_wrong_annotations_are_told(one_clip: Path, tmp_path: Path) -> None:
    for content in ({"sentences": [{"caption": "a"}]}, {"sentences": ["a"]}):
        msrvtt(one_clip, tmp_path, content)
        with pytest.raises(InputError, match="is not of MSR-VTT's form"):
            find_real_clips(tmp_path)
    msrvtt(one_clip, tmp_path, {"sentences": [{"video_id": "other", "caption": "a"}]})
    with pytest.raises(InputError, match="holds none of the clips that"):
        find_real_clips(tmp_path)
    msrvtt(one_clip, tmp_path, {})
    with pytest.raises(InputError, match="no annotation of MSR-VTT's form"):
        find_real_clips(tmp_path, "msrvtt")


def test_prompts_beside_the_clips(one_clip: Path, tmp_path: Path) -> None:
    copies(one_clip, tmp_path, "a.webp", "deep/b.webp", ".hidden/c.webp")
    (tmp_path / "a.txt").write_text("a cat\n")
    with pytest.raises(InputError, match=r"1 of the 2 clips .* have no prompt, .* b.webp"):
        find_real_clips(tmp_path)
    (tmp_path / "deep" / "b.txt").write_text("  a dog \n runs")
    found = find_real_clips(tmp_path)
    assert found.layout == "folder"
    assert [(clip.key, clip.prompts) for clip in found.clips] == [
        ("a", ("a cat",)), ("deep/b", ("a dog runs",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.json", '{"a.webp": "a cat", "deep/b": "a dog, big"}'),
        ("p.csv", 'prompt,file\na cat,a\n"a dog, big",deep/b.webp\n'),
        ("p.csv", 'a.webp,a cat\nb.webp,"a dog, big"\n'),
        ("p.txt", "\ufeffa.webp\ta cat\n\ndeep\\b.webp\ta dog, big\n"),
    ],
)
def test_prompts_by_file_name(name: str, content: str, one_clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    copies(one_clip, folder, "a.webp", "deep/b.webp")
    (tmp_path / name).write_text(content, encoding="utf-8")
    found = find_real_clips(folder, prompts=tmp_path / name)
    assert [clip.prompts for clip in found.clips] == [("a cat",), ("a dog, big",)]
    assert choose_clips(found, num_frames=4).cases[0].group == ""


@pytest.mark.parametrize(
    ("name", "content"),
    [("p.json", "["), ("p.json", "[1]"), ("p.json", '{"a": 1}'), ("p.csv", "a\n"), ("p.txt", "a")],
)
def test_wrong_prompts_are_told(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match="cannot be read as prompts"):
        read_named_prompts(tmp_path / name)


def test_wrong_folders_are_told(one_clip: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder of clips"):
        find_real_clips(tmp_path / "none")
    with pytest.raises(InputError, match=r"holds no clips; known endings are .*avi"):
        find_real_clips(tmp_path)
    copies(one_clip, tmp_path, "a.webp")
    with pytest.raises(InputError, match="no layout 'ucf'; there are: auto, ucf101, msrvtt"):
        find_real_clips(tmp_path, "ucf")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"no clip in .* is named v_Class"):
        find_real_clips(tmp_path, "ucf101")
    write_avi(tmp_path / "a.avi", shades(2, 16, 16))
    words = tmp_path / "words.json"
    words.write_text('{"a": "words"}')
    with pytest.raises(InputError, match=r"a.avi and .*a.webp have one name"):
        find_real_clips(tmp_path, prompts=words)


def many(one_clip: Path, folder: Path, count: int) -> FoundClips:
    copies(one_clip, folder, *(f"{number}.webp" for number in range(count)))
    return find_real_clips(folder, prompts=named(folder, folder))


def test_the_choice_follows_from_names_alone(one_clip: Path, tmp_path: Path) -> None:
    found = many(one_clip, tmp_path / "here", 12)
    elsewhere = many(one_clip, tmp_path / "there", 12)
    shuffled = FoundClips(found.layout, tuple(reversed(found.clips)))
    first = choose_clips(found, 5, num_frames=4)
    assert choose_clips(shuffled, 5, num_frames=4) == first

    def told(chosen: Any) -> list[tuple[str, int]]:
        return [(case.name, case.seed) for case in chosen.cases]

    assert told(choose_clips(elsewhere, 5, num_frames=4)) == told(first)
    assert told(choose_clips(found, 5, seed=1, num_frames=4)) != told(first)
    names = {case.name for case in first.cases}
    assert names < {case.name for case in choose_clips(found, 7, num_frames=4).cases}
    gone = next(iter(sorted(names)))
    fewer = FoundClips(found.layout, tuple(c for c in found.clips if c.key != gone))
    assert len(names & {case.name for case in choose_clips(fewer, 5, num_frames=4).cases}) == 4
    assert len({case.seed for case in choose_clips(found, num_frames=4).cases}) == 12


def test_short_and_damaged_clips_are_passed_over(one_clip: Path, tmp_path: Path) -> None:
    copies(one_clip, tmp_path, "long.webp", "other.webp")
    write_lossless(tmp_path / "short.webp", shades(18))
    (tmp_path / "bad.webp").write_bytes(one_clip.read_bytes()[:60])
    found = find_real_clips(tmp_path, prompts=named(tmp_path, tmp_path))
    ticks: list[int] = []
    chosen = choose_clips(found, num_frames=7, stride=3, tick=lambda: ticks.append(1))
    assert [case.name for case in chosen.cases] == ["long", "other"]
    assert len(ticks) == 2
    assert len(chosen.skipped) == 2
    [short] = [one for one in chosen.skipped if "short.webp" in one]
    assert short.endswith("short.webp' has 18 frames; 7 in steps of 3 need 19.")
    with pytest.raises(InputError, match="none of the 4 clips can be used, the first because: "):
        choose_clips(found)
    with pytest.raises(InputError, match="at least 1, not 0"):
        choose_clips(found, 0)


def test_names_are_fit_for_files_and_differ() -> None:
    keys = ("a", "x/a", "y/a", "x y", "x-y", "_", "ü", "ö", "n" * 300, "a/v_A_g01_c01")
    names = [case_name(key) for key in keys]
    assert len(set(names)) == len(keys)
    assert case_name("a") == "a"
    assert case_name("a/v_A_g01_c01") == "v_A_g01_c01"
    for name in names:
        assert name[0].isalnum()
        assert len(name) < 120


def test_a_sample_is_every_third_frame_from_a_random_start(one_clip: Path) -> None:
    starts: Counter[int] = Counter()
    for seed in range(60):
        clip = sample_clip(one_clip, num_frames=6, stride=3, size=(8, 12), seed=seed)
        assert clip.shape == (6, 8, 12, 3)
        numbers = clip[:, 0, 0, 0] // 3
        assert np.array_equal(np.diff(numbers), [3] * 5)
        starts[int(numbers[0])] += 1
    # 20 frames leave the starts 0 to 4 for a part of 16.
    assert set(starts) == {0, 1, 2, 3, 4}
    again = sample_clip(one_clip, num_frames=6, stride=3, size=(8, 12), seed=59)
    assert np.array_equal(again, clip)
    told = sample_clip(one_clip, num_frames=6, stride=3, size=(8, 12), seed=59, total=20)
    assert np.array_equal(told, clip)


def test_the_only_possible_start_is_taken(one_clip: Path) -> None:
    clip = sample_clip(one_clip, num_frames=20, stride=1, size=(8, 12), seed=5)
    assert np.array_equal(clip, shades(20))
    with pytest.raises(InputError, match="has 20 frames; 21 in steps of 1 need 21"):
        sample_clip(one_clip, num_frames=21, stride=1)
    with pytest.raises(InputError, match="has 20 frames; 16 in steps of 3 need 46"):
        sample_clip(one_clip)
    with pytest.raises(InputError, match="both must be at least 1"):
        sample_clip(one_clip, num_frames=0)


def test_frames_cover_the_size_and_are_cut_in_the_middle(tmp_path: Path) -> None:
    frames = np.zeros((2, 40, 80, 3), np.uint8)
    frames[0, :, 20:60] = 200  # the middle square
    frames[1, :, 20:60] = 210
    write_lossless(tmp_path / "wide.webp", frames)
    clip = sample_clip(tmp_path / "wide.webp", num_frames=2, stride=1, size=(16, 16))
    assert clip.shape == (2, 16, 16, 3)
    assert clip.dtype == np.uint8
    assert (clip[0, :, 3:-3] == 200).all()
    assert (clip[1, :, 3:-3] == 210).all()


def test_avi_clips_are_sampled(tmp_path: Path) -> None:
    path = tmp_path / "Archery" / "v_Archery_g01_c01.avi"
    write_avi(path, shades(60, 24, 32))
    found = find_real_clips(tmp_path)
    [case] = choose_clips(found).cases
    assert (case.prompt, case.facts["frames"]) == ("archery", 60)
    clip = sample_clip(Path(str(case.facts["file"])), size=(24, 24), seed=case.seed)
    assert clip.shape == (16, 24, 24, 3)
    whole = read_frames(path).frames
    fitting = [
        start
        for start in range(15)
        if np.array_equal(clip[0], fit_picture(whole[start], (24, 24))[0])
    ]
    assert len(fitting) == 1
    assert np.array_equal(clip[-1], fit_picture(whole[fitting[0] + 45], (24, 24))[0])
