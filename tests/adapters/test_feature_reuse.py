"""Deep features used again: exact where nothing changed, of the same branch, gone afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.contracts.test_feature_reuse_sites import FRAMES, UNETS, motion_unet
from torch import Tensor

from stillmotion.adapters.adapter import adapted
from stillmotion.adapters.feature_reuse import Cut, FeatureReuse
from stillmotion.errors import InputError

TOTAL = 9
"""Skip connections of the networks here: conv_in, 2 + 1, 2 + 1, 2."""


def inputs(unet: Any, batch: int = 2, seed: int = 0, size: int = 8) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    common = {"sample": random(batch, unet.config.in_channels, FRAMES, size, size),
              "timestep": torch.tensor(5), "return_dict": False}  # fmt: skip
    if unet.config.get("motion_max_seq_length"):
        return {**common, "encoder_hidden_states": random(batch * FRAMES, 3, 8)}
    return {
        **common,
        "encoder_hidden_states": random(batch, 3, 8),
        "image_tokens": random(batch, FRAMES, 2, 8),
        "motion": torch.tensor([3]),
    }


def part(given: dict[str, Any], number: int, batch: int = 2) -> dict[str, Any]:
    """The inputs of one part of the batch."""
    return {
        name: value.chunk(batch)[number] if isinstance(value, Tensor) and value.ndim > 1 else value
        for name, value in given.items()
    }


@pytest.fixture(params=list(UNETS), scope="module")
def unet(request: pytest.FixtureRequest) -> Any:
    return UNETS[request.param]()


@torch.no_grad()
@pytest.mark.parametrize("size", [8, 6])
@pytest.mark.parametrize("kept", range(1, TOTAL))
def test_reuse_of_what_is_still_true_changes_nothing(unet: Any, kept: int, size: int) -> None:
    """At any cut, and where sizes do not halve evenly: shallow layers alone give the same bits."""
    given = inputs(unet, size=size)
    plain = unet(**given)[0]
    reuse = FeatureReuse(kept)
    with adapted(unet, [reuse]):
        with reuse.call([0, 1], reuses=False):
            assert torch.equal(unet(**given)[0], plain)
        with reuse.call([0, 1], reuses=True):
            assert torch.equal(unet(**given)[0], plain)


@torch.no_grad()
@pytest.mark.parametrize("kept", [1, 2, 3, 4, 6, TOTAL - 1])
def test_only_shallow_layers_run(unet: Any, kept: int) -> None:
    """Other latents: the prediction follows them, with the deep features of the former ones."""
    former, later = inputs(unet), inputs(unet, seed=1)
    later = former | {"sample": later["sample"]}
    ran: set[str] = set()
    handles = [
        module.register_forward_hook(lambda *_, name=name: ran.add(name))
        for name, module in unet.named_modules()
        if name.split(".")[-2:-1] == ["resnets"]
    ]
    reuse = FeatureReuse(kept)
    with adapted(unet, [reuse]):
        with reuse.call([0, 1], reuses=False):
            before = unet(**former)[0]
        everything = set(ran)
        ran.clear()
        with reuse.call([0, 1], reuses=True):
            shallow = unet(**later)[0]
    for handle in handles:
        handle.remove()
    assert len(everything) == 2 + 6 + TOTAL  # mid, down, up
    decoder = {name for name in ran if name.startswith("up_blocks")}
    # The decoder's layers from the end, as many as skip connections are kept; of the encoder those
    # that the kept ones come from: conv_in is none, a downsampler no layer.
    order = [f"up_blocks.{b}.resnets.{n}" for b in range(3) for n in range(3)]
    assert decoder == set(order[-kept:])
    encoder = [f"down_blocks.{b}.{n}" for b in range(3) for n in ("resnets.0", "resnets.1", "down")]
    assert ran - decoder == {n for n in encoder[: kept - 1] if "resnets" in n}
    full = unet(**later)[0]
    assert not torch.allclose(shallow, before, atol=1e-3)
    assert not torch.allclose(shallow, full, atol=1e-3)


@torch.no_grad()
def test_features_are_those_of_the_same_branch(unet: Any) -> None:
    """From both in one batch to one alone, and from one after the other to both in one batch."""
    given = inputs(unet)
    plain = unet(**given)[0]
    reuse = FeatureReuse(1)
    with adapted(unet, [reuse]):
        with reuse.call(["u", "c"], reuses=False):
            unet(**given)
        for number, key in enumerate("uc"):
            with reuse.call([key], reuses=True):
                alone = unet(**part(given, number))[0]
            assert (alone - plain[number]).abs().max() < 1e-5
        for number, key in reversed(list(enumerate("uc"))):
            with reuse.call([key], reuses=False):
                unet(**part(given, number))
        with reuse.call(["u", "c"], reuses=True):
            both = unet(**given)[0]
        assert (both - plain).abs().max() < 1e-5
        with reuse.call(["c", "u"], reuses=True):
            swapped = unet(**given)[0]
        assert not torch.allclose(swapped, plain, atol=1e-3)
        with pytest.raises(KeyError, match="x"), reuse.call(["x"], reuses=True):
            unet(**part(given, 0))


@torch.no_grad()
def test_nothing_is_left_behind(unet: Any) -> None:
    own = {name: dict(vars(module)) for name, module in unet.named_modules()}
    state, plain = list(unet.state_dict()), unet(**inputs(unet))[0]
    reuse = FeatureReuse(2)
    with adapted(unet, [reuse]):
        with reuse.call([0, 1], reuses=False):
            unet(**inputs(unet))
        with reuse.call([0, 1], reuses=True):
            unet(**inputs(unet))
        broken = inputs(unet) | {"encoder_hidden_states": torch.zeros(2 * FRAMES, 3, 5)}
        with pytest.raises((RuntimeError, InputError)), reuse.call([0, 1], reuses=True):
            unet(**broken)
    assert {name: dict(vars(module)) for name, module in unet.named_modules()} == own
    assert list(unet.state_dict()) == state
    assert torch.equal(unet(**inputs(unet))[0], plain)
    # Features do not outlive the block: the next one starts from nothing.
    with adapted(unet, [reuse]), pytest.raises(KeyError), reuse.call([0, 1], reuses=True):
        unet(**inputs(unet))


@torch.no_grad()
def test_calls_that_are_not_announced_are_plain(unet: Any) -> None:
    given = inputs(unet)
    plain = unet(**given)[0]
    with adapted(unet, [FeatureReuse(1)]):
        assert torch.equal(unet(**given)[0], plain)


@torch.no_grad()
@pytest.mark.parametrize("kept", [1, 3, 4, TOTAL - 1])
def test_controlnet_residuals_go_to_their_skip_connections(kept: int) -> None:
    """What a ControlNet adds at shallow layers is added again; the rest is in the features."""
    unet: Any = motion_unet()
    given = inputs(unet)
    shapes = [(8, 8), (8, 8), (8, 8), (8, 4), (16, 4), (16, 4), (16, 2), (16, 2), (16, 2)]
    generator = torch.Generator().manual_seed(3)
    skips = [torch.randn(2 * FRAMES, c, s, s, generator=generator) for c, s in shapes]
    middle = torch.randn(2 * FRAMES, 16, 2, 2, generator=generator)
    residuals = {
        "down_block_additional_residuals": tuple(skips),
        "mid_block_additional_residual": middle,
    }
    plain = unet(**given, **residuals)[0]
    assert not torch.allclose(plain, unet(**given)[0], atol=1e-3)
    reuse = FeatureReuse(kept)
    with adapted(unet, [reuse]):
        with reuse.call([0, 1], reuses=False):
            unet(**given, **reuse.residuals(lambda: residuals))
        with reuse.call([0, 1], reuses=True):
            again = reuse.residuals(lambda: pytest.fail("the ControlNet is not asked again"))
            assert len(again["down_block_additional_residuals"]) == kept
            assert torch.equal(unet(**given, **again)[0], plain)
        # A middle residual that somebody hands over all the same has no layer to go to.
        with reuse.call([0, 1], reuses=True):
            assert torch.equal(unet(**given, **residuals)[0], plain)
        with reuse.call([0, 1], reuses=False):
            assert reuse.residuals(dict) == {}
        with reuse.call([0, 1], reuses=True):
            assert reuse.residuals(dict) == {}


def test_cuts_leave_something_deep(unet: Any) -> None:
    with pytest.raises(InputError, match=r"kept_skips is 9; this network has 9 .* give 1 to 8"):
        Cut.of(unet, TOTAL)
    with pytest.raises(InputError, match="kept_skips is 99"), adapted(unet, [FeatureReuse(99)]):
        pytest.fail("the block must not run")


def test_sites_are_named(unet: Any) -> None:
    for kept in range(1, TOTAL):
        for name in FeatureReuse(kept).sites(unet):
            unet.get_submodule(name)
    assert FeatureReuse(3).sites(unet) == ("", "up_blocks.2")
