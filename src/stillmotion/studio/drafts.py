"""What is typed and chosen in the forms, kept by the browser, so that a closed tab loses nothing.

The browser keeps it by itself; nothing is sent before something is asked for.  When the page is
opened again it comes back, as far as the fields can still show it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

from stillmotion.studio.forms import Form, Updates
from stillmotion.studio.screen import quiet

DRAFTS_KEY = "stillmotion-studio-draft"
_MOST_LETTERS = 20_000
_KEEP = "(...values) => Object.fromEntries({names}.map((name, index) => [name, values[index]]))"


def keep_fields(form: Form) -> gr.BrowserState:
    """Keep what a form holds whenever something in it is typed or chosen; where it is kept.

    A place for each form: what is kept of one never overtakes what is kept of another.
    """
    key = f"{DRAFTS_KEY}-{form.name}"
    draft = gr.BrowserState({}, storage_key=key, secret=key)
    fields = form.typed
    gr.on(
        [_when_written(field) for field in fields.values()], None, [*fields.values()], draft,
        js=_KEEP.format(names=json.dumps(list(fields))), trigger_mode="always_last", **quiet,
    )  # fmt: skip
    return draft


def _when_written(field: Any) -> Any:
    """The event of a field that somebody has written into.

    Gradio's own for text comes with keys alone, not with what is pasted or deleted.
    """
    return field.change if isinstance(field, gr.Textbox) else field.input


def kept_values(form: Form, draft: Any) -> dict[str, Any]:
    """What the browser has kept of a form, without what its fields cannot show."""
    given: Mapping[Any, Any] = draft if isinstance(draft, dict) else {}
    return {
        name: given[name]
        for name, field in form.typed.items()
        if name in given and _can_show(field, given[name])
    }


def filled(form: Form, values: Mapping[str, Any]) -> Updates:
    """The fields with these values."""
    return {form.fields[name]: value for name, value in values.items()}


def _can_show(field: Any, value: Any) -> bool:
    """Whether a value is one of the field's: a browser may have it from another version."""
    if isinstance(field, gr.Textbox):
        return isinstance(value, str) and len(value) <= _MOST_LETTERS
    if isinstance(field, gr.Checkbox):
        return isinstance(value, bool)
    if isinstance(field, gr.Slider):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and field.minimum <= value <= field.maximum
    choices: list[tuple[str, Any]] = getattr(field, "choices", [])
    return any(type(value) is type(known) and value == known for _, known in choices)
