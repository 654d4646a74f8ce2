"""The contract of adapters: nothing is left behind, however the block ends."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch
from torch import nn

from stillmotion.adapters.adapter import Adapter, FrameContext, adapted, shadow
from stillmotion.errors import InputError


class Doubling(Adapter):
    """Doubles what the network computes; may fail after its change."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return ("",)

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        before = model.forward
        shadow(model, "forward", lambda x: 2 * before(x), undo)
        if self.fails:
            raise RuntimeError("half-way")


@pytest.fixture
def model() -> nn.Module:
    return nn.Identity()


def test_adapters_apply_in_order_and_go_again(model: nn.Module) -> None:
    x = torch.ones(1)
    own = dict(vars(model))
    with adapted(model, [Doubling(), Doubling()]):
        assert model(x) == 4
    assert model(x) == 1
    assert vars(model) == own


def test_exceptions_leave_nothing_behind(model: nn.Module) -> None:
    own = dict(vars(model))
    with pytest.raises(KeyError), adapted(model, [Doubling()]):
        raise KeyError
    assert vars(model) == own


def test_a_failing_adapter_leaves_nothing_behind(model: nn.Module) -> None:
    own = dict(vars(model))
    with pytest.raises(RuntimeError), adapted(model, [Doubling(), Doubling(fails=True)]):
        pytest.fail("the block must not run")
    assert vars(model) == own


def test_shadow_puts_back_an_own_attribute(model: nn.Module) -> None:
    earlier = vars(model)["forward"] = lambda x: x + 10
    with adapted(model, [Doubling()]):
        assert model(torch.ones(1)) == 22
    assert vars(model)["forward"] is earlier


def test_shadow_hides_a_submodule_without_touching_it() -> None:
    model = nn.Sequential()
    model.first, model.second = nn.Linear(1, 1), nn.Linear(1, 1)
    names = list(model.state_dict())
    with ExitStack() as undo:
        shadow(model, "first", "hidden", undo)
        assert model.first == "hidden"
        assert list(model.state_dict()) == names
    assert isinstance(model.first, nn.Linear)


def test_frame_context_unfolds_rows_with_the_frames_fastest() -> None:
    context = FrameContext(num_frames=3, num_reference_rows=1)
    rows = torch.arange(8)[:, None]
    assert context.unfold(rows).squeeze(-1).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_frame_context_refuses_a_batch_that_does_not_divide() -> None:
    with pytest.raises(InputError, match="8 rows does not divide into videos of 3"):
        FrameContext(num_frames=3).unfold(torch.zeros(8, 1))
