"""I3D: against the published code's numbers, with weights by formula."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.evaluation.extractors.networks import noise
from tests.formula import fill_by_formula, shapes_in, shapes_of
from torch import Tensor

from stillmotion.errors import InputError, ModelError
from stillmotion.evaluation.extractors.i3d import I3dFeatures, InceptionI3d, prepared

SALT = 20261122


@pytest.fixture(scope="module")
def network() -> InceptionI3d:
    """Built and filled once; the file of weights is 50 MB."""
    network = InceptionI3d()
    fill_by_formula(network, SALT)
    return network


@pytest.fixture(scope="module")
def file(network: InceptionI3d, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("i3d") / "i3d.safetensors"
    save_file(network.state_dict(), path)
    return path


def test_the_names_are_the_published_ones(golden: Path) -> None:
    with torch.device("meta"):
        state = InceptionI3d().state_dict()
    keys = shapes_of((golden / "metrics" / "i3d.keys.txt").read_text(encoding="utf-8"))
    assert list(shapes_in(state).items()) == list(keys.items())


def test_logits_are_those_of_the_published_code(golden: Path, file: Path) -> None:
    known = load_file(golden / "metrics" / "i3d.safetensors")
    clips = known["video_uint8_BTHWC"].permute(0, 1, 4, 2, 3)
    features = I3dFeatures.load(file)
    found = features.clips(clips)
    assert found.shape == (2, 400)
    # Two clips that differ little: the difference must hold as well.
    assert torch.allclose(found, known["logits"], rtol=1e-4, atol=1e-4)
    change, known_change = found[1] - found[0], known["logits"][1] - known["logits"][0]
    assert (change - known_change).norm() < 1e-3 * known_change.norm()
    assert features.name == "I3D"
    assert features.identity == sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("case", ["down", "up"])
def test_frames_are_prepared_as_the_published_code_does(golden: Path, case: str) -> None:
    known = load_file(golden / "metrics" / "frechet_kvd.safetensors")
    clips = known[f"preprocess_{case}.video_uint8_BTHWC"].permute(0, 1, 4, 2, 3)
    small = prepared(clips, 32)
    assert torch.allclose(small, known[f"preprocess_{case}.output_32x32_BCTHW"], atol=1e-5)
    large = prepared(clips)[..., ::14, ::14]
    assert torch.allclose(large, known[f"preprocess_{case}.output_224x224_every_14th"], atol=1e-5)


class _FewPixels(torch.nn.Module):
    """In place of the network: what it is given, of one pixel."""

    def forward(self, clips: Tensor) -> Tensor:
        return clips[:, :, :, 0, 0].flatten(1)


def test_clips_of_too_few_frames_are_refused(network: InceptionI3d) -> None:
    with pytest.raises(InputError, match="given clips of 8 frames; it needs at least 9"):
        I3dFeatures(network, "", "cpu").clips(noise(1, 8, 3, 16, 16))


def test_nine_frames_are_the_fewest_that_the_network_takes(network: InceptionI3d) -> None:
    """Where the limit comes from: with 8 there is one step left, and two are averaged."""
    with torch.no_grad():
        with pytest.raises(RuntimeError):
            network(torch.zeros(1, 3, 8, 224, 224))
        assert network(torch.zeros(1, 3, 9, 224, 224)).shape == (1, 400)


def test_clips_in_batches_keep_their_order() -> None:
    features = I3dFeatures(_FewPixels(), "", "cpu")  # type: ignore[arg-type]
    clips = noise(5, 9, 3, 4, 4)
    expected = prepared(clips)[:, :, :, 0, 0].flatten(1)
    assert torch.equal(features.clips(clips), expected)


def test_a_file_that_holds_another_network_is_refused(tmp_path: Path) -> None:
    save_file({"logits.conv3d.bias": torch.zeros(400)}, tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match=r"'x.safetensors' lacks 286 tensors"):
        I3dFeatures.load(tmp_path / "x.safetensors")


def test_another_number_of_classes_is_refused(network: InceptionI3d, tmp_path: Path) -> None:
    state = network.state_dict()
    state["logits.conv3d.bias"] = torch.zeros(600)
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match=r"'logits.conv3d.bias' has the shape \(600,\)"):
        I3dFeatures.load(tmp_path / "x.safetensors")


def test_a_pickle_is_refused_with_what_to_do(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "i3d_torchscript.pt")
    with pytest.raises(ModelError, match=r"stillmotion convert --allow-pickle i3d_pretrained_400"):
        I3dFeatures.load(tmp_path / "i3d_torchscript.pt")
