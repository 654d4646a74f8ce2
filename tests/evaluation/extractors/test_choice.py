"""Which extractors measure: words, what they load, and what is said of those that cannot."""

from __future__ import annotations

import pickle
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.evaluation.extractors.networks import noise, tiny_clip_folder
from tests.evaluation.extractors.test_dreamsim import save_ensemble

from stillmotion.errors import InputError, ModelError
from stillmotion.evaluation.extractors import choice, dis
from stillmotion.evaluation.extractors.choice import (
    MINIATURE,
    ExtractorChoice,
    Extractors,
    Part,
    load_extractors,
)
from stillmotion.evaluation.extractors.dis import DisFlow
from stillmotion.evaluation.extractors.judge import JudgePerceptual, JudgeVideo, judge_file
from stillmotion.evaluation.extractors.raft_network import Raft
from stillmotion.models.registry import miniature_folder


def hash_of(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def test_the_default_is_the_miniatures() -> None:
    assert ExtractorChoice.parse([]) == MINIATURE
    assert MINIATURE.chosen() == {
        "clip": "miniature",
        "perceptual": "judge",
        "video": "judge",
        "flow": "dis",
        "judge": "judge",
    }


def test_words_change_parts() -> None:
    made = ExtractorChoice.parse(["clip=a/b", "flow = raft:x.safetensors,judge=none"])
    assert made == ExtractorChoice(clip="a/b", flow="raft:x.safetensors", judge=None)
    assert "judge" not in made.chosen()
    assert ExtractorChoice.parse(["video=none"], made) == ExtractorChoice(
        clip="a/b", flow="raft:x.safetensors", judge=None, video=None
    )


def test_a_path_may_have_commas_and_equal_signs() -> None:
    made = ExtractorChoice.parse(["clip=/a,b/c=1,flow=dis"])
    assert made == ExtractorChoice(clip="/a,b/c=1", flow="dis")


@pytest.mark.parametrize("word", ["clip", "clip=", "colour=x", "clip=a,colour=x", "=x", ""])
def test_what_chooses_no_extractor(word: str) -> None:
    with pytest.raises(InputError, match="one of the parts clip, perceptual, video, flow, judge"):
        ExtractorChoice.parse([word])


def test_a_part_given_twice() -> None:
    with pytest.raises(InputError, match="the extractor for clip is given twice"):
        ExtractorChoice.parse(["clip=a", "clip=b"])


def test_the_miniatures_extractors() -> None:
    extractors = load_extractors()
    judge = hash_of(judge_file())
    features = extractors.features()
    assert {part: feature.name for part, feature in features.items()} == {
        "clip": "CLIP-miniature",
        "perceptual": "judge",
        "video": "judge",
        "flow": "DIS",
        "judge": "judge",
    }
    assert features["clip"].identity == hash_of(miniature_folder() / "clip" / "model.safetensors")
    assert features["flow"].identity == DisFlow().identity
    assert {features[part].identity for part in ("perceptual", "video", "judge")} == {judge}
    assert isinstance(extractors.perceptual, JudgePerceptual)
    assert isinstance(extractors.video, JudgeVideo)


def test_one_judge_serves_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[Path] = []
    real = choice.load_judge

    def counted(path: Path, device: str) -> choice.LoadedJudge:
        loads.append(path)
        return real(path, device)

    monkeypatch.setattr(choice, "load_judge", counted)
    load_extractors().features()
    assert loads == [judge_file()]


def test_nothing_is_loaded_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(device: str) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(choice, "miniature_clip", refuse)
    extractors = load_extractors()
    assert extractors.flow is extractors.flow
    with pytest.raises(AssertionError, match="loaded"):
        _ = extractors.clip


def test_parts_that_are_left_out() -> None:
    none = ExtractorChoice(clip=None, perceptual=None, video=None, flow=None, judge=None)
    extractors = load_extractors(none)
    assert extractors.features() == {}
    for part in MINIATURE.chosen():
        assert getattr(extractors, part) is None


def test_extractors_from_paths(tmp_path: Path) -> None:
    save_file(Raft().state_dict(), tmp_path / "raft.safetensors")
    other = tmp_path / "other.safetensors"
    other.write_bytes(judge_file().read_bytes())
    made = ExtractorChoice.parse(
        [
            f"clip={tiny_clip_folder(tmp_path / 'clip')}",
            f"perceptual={save_ensemble(tmp_path / 'dreamsim')}",
            f"video=judge:{other}",
            f"flow=raft:{tmp_path / 'raft.safetensors'}",
            f"judge={other}",
        ]
    )
    features = load_extractors(made).features()
    assert [feature.name for feature in features.values()] == [
        "CLIP ViT-16/8@32",
        "DreamSim",
        "judge",
        "RAFT",
        "judge",
    ]
    assert features["flow"].identity == hash_of(tmp_path / "raft.safetensors")
    assert features["video"].identity == hash_of(other)


def test_a_bare_path_is_of_the_published_kind(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    extractors = load_extractors(
        ExtractorChoice(video=str(path), flow=str(path), perceptual=str(path))
    )
    with pytest.raises(ModelError, match=r"lacks .*'logits.conv3d.weight'"):
        _ = extractors.video
    with pytest.raises(ModelError, match=r"lacks .*'feature_encoder"):
        _ = extractors.flow
    with pytest.raises(ModelError, match="DreamSim needs the folders"):
        _ = extractors.perceptual


@pytest.mark.parametrize("part", ["clip", "perceptual", "video", "flow", "judge"])
def test_what_is_not_there_is_told_before_anything_is_made(part: Part, tmp_path: Path) -> None:
    absent = str(tmp_path / "absent")
    with pytest.raises(ModelError, match=f"no '{absent}' to take for {part}; give .*, or none to"):
        load_extractors(ExtractorChoice(**{part: absent}))


def test_names_of_other_parts_are_not_known() -> None:
    with pytest.raises(ModelError, match="no 'miniature' to take for video; give judge, judge:"):
        load_extractors(ExtractorChoice(video="miniature"))
    with pytest.raises(ModelError, match="no 'raft:x' to take for clip"):
        load_extractors(ExtractorChoice(clip="raft:x"))


def test_published_names_say_how_to_get_them() -> None:
    for part, name in {"perceptual": "dreamsim", "video": "i3d", "flow": "raft"}.items():
        with pytest.raises(ModelError, match="is never fetched by itself"):
            load_extractors(ExtractorChoice.parse([f"{part}={name}"]))


def test_without_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str) -> None:
        return None

    monkeypatch.setattr(dis, "find_spec", find_spec)
    with pytest.raises(InputError, match="pip install"):
        load_extractors()
    load_extractors(ExtractorChoice(flow=None))


def test_a_copy_for_another_process_loads_its_own() -> None:
    extractors = load_extractors()
    assert extractors.perceptual is not None
    copy: Extractors = pickle.loads(pickle.dumps(extractors))
    assert copy == extractors
    assert "perceptual" not in vars(copy)
    frames = noise(2, 3, 64, 64)
    assert copy.perceptual is not None
    assert torch.equal(copy.perceptual.frames(frames), extractors.perceptual.frames(frames))
