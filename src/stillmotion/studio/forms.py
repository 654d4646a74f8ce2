"""Fields with a place under each for the sentence about it.

The names of fields are those of jobs, so that a refusal finds its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from stillmotion.studio.desk import Refusal
from stillmotion.studio.markup import note

OWN = "the model's own"
"""What most fields mean that are left open."""
_SPEEDS = [
    ("exact", ""), ("fast: an approximation", "fast"), ("turbo: a coarser one", "turbo"),
]  # fmt: skip
Updates = dict[Any, Any]
"""Components and what they become."""


@dataclass
class Form:
    """The fields of one panel, by name, and the places for sentences; "" is that of the whole."""

    name: str
    fields: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, gr.HTML] = field(default_factory=dict)
    shown_end: gr.HTML | None = None
    """Where the picture that clips end with is shown."""

    @contextmanager
    def place(self, name: str, *, scale: int = 1, min_width: int = 150) -> Iterator[None]:
        """A column for what belongs to one field; its sentence comes below."""
        with gr.Column(scale=scale, min_width=min_width, elem_classes="sm-field"):
            yield
            self.note(name)

    def add(self, name: str, make: type, *, scale: int = 1, min_width: int = 150, **kw: Any) -> Any:
        """A field with its place."""
        with self.place(name, scale=scale, min_width=min_width):
            made = make(elem_id=self._id(name), **kw)
        self.fields[name] = made
        return made

    def note(self, name: str = "") -> None:
        """A place for sentences about a field, or about the whole."""
        self.notes[name] = gr.HTML(
            elem_id=f"{self._id(name)}-note", elem_classes="sm-note-place", js_on_load=None,
            apply_default_css=False,
        )  # fmt: skip

    @property
    def inputs(self) -> set[Any]:
        """For a handler that takes a dictionary."""
        return set(self.fields.values())

    @property
    def typed(self) -> dict[str, Any]:
        """Those that hold something typed or chosen: all but places for files."""
        return {n: field for n, field in self.fields.items() if not isinstance(field, gr.File)}

    @property
    def places(self) -> list[gr.HTML]:
        """What `said` changes."""
        return list(self.notes.values())

    def values(self, data: Mapping[Any, Any]) -> dict[str, Any]:
        """What the fields hold, by name."""
        return {name: data.get(component) for name, component in self.fields.items()}

    def said(self, refusal: Refusal | None = None) -> Updates:
        """All sentences away, but that of `refusal`, which goes to its field."""
        updates: Updates = dict.fromkeys(self.notes.values(), "")
        if refusal is not None:
            name = refusal.field if refusal.field in self.notes else ""
            updates[self.notes[name]] = note(refusal.sentence)
        return updates

    def _id(self, name: str) -> str:
        return f"sm-{self.name}-{name or 'all'}".replace("_", "-")


def number(label: str, empty: str, info: str | None = None) -> dict[str, Any]:
    """Arguments of a field for a number that can be left open; `empty` says what happens then.

    A field for text: Gradio's own for numbers has no empty state, and takes 0 for it.
    """
    return {"label": label, "placeholder": empty, "info": info, "lines": 1, "max_lines": 1}


def speed(form: Form) -> None:
    """Whether time is saved by an approximation, which is called one."""
    form.add("speed", gr.Dropdown, label="Speed", choices=_SPEEDS, value="")


def shown(component: Any, value: Any) -> Any:
    """A job's value as a field shows it."""
    if isinstance(component, gr.Textbox):
        return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return value
