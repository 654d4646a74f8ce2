"""What the browser keeps of the forms, and what of it is believed."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from stillmotion.studio.drafts import filled, kept_values
from stillmotion.studio.forms import Form


@pytest.fixture
def form() -> Form:
    with gr.Blocks(analytics_enabled=False):
        form = Form("move")
        form.add("prompt", gr.Textbox)
        form.add("frames", gr.Slider, minimum=2, maximum=64, step=1, value=16)
        form.add("end", gr.Radio, choices=[("open", "open"), ("loop", "loop")], value="open")
        form.add("exact", gr.Checkbox, value=True)
        form.add("still_id", gr.File)
    return form


def test_what_was_typed_and_chosen_comes_back(form: Form) -> None:
    kept = {"prompt": "it rises", "frames": 8, "end": "loop", "exact": False}
    assert kept_values(form, kept) == kept
    fields = form.fields
    assert filled(form, kept) == {
        fields["prompt"]: "it rises", fields["frames"]: 8, fields["end"]: "loop",
        fields["exact"]: False,
    }  # fmt: skip


def test_places_for_files_are_not_kept(form: Form) -> None:
    assert "still_id" not in form.typed
    assert kept_values(form, {"still_id": "/etc/passwd"}) == {}


@pytest.mark.parametrize(
    "kept",
    [
        None, 3, "x", [], {"prompt": 3}, {"prompt": "x" * 20_001}, {"frames": 65}, {"frames": "8"},
        {"frames": True}, {"frames": float("nan")}, {"end": "up"}, {"end": ["loop"]}, {"end": None},
        {"exact": 1}, {"exact": "yes"}, {"other": "x"},
    ],
)  # fmt: skip
def test_what_a_field_cannot_show_is_left_out(form: Form, kept: Any) -> None:
    assert kept_values(form, kept) == {}
