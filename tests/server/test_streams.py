"""Server-sent events as the client reads them."""

from __future__ import annotations

import pytest

from stillmotion.client.streams import Event, read_events

STREAM = """\
: a comment

event: state
data: {"state":"queued"}

id: 7
event: progress
data: {"progress":
data: 0.5}

retry: 10
data: {}

id: x
event: half
data: {"a": 1}"""


def test_events_are_read_as_the_standard_has_them() -> None:
    assert list(read_events(STREAM.split("\n"))) == [
        Event(None, "state", {"state": "queued"}),
        Event(7, "progress", {"progress": 0.5}),
        Event(None, "message", {}),
    ]


@pytest.mark.parametrize("text", ["", ":", "event: x", "data: {}", "\n\n\n"])
def test_what_does_not_end_is_no_event(text: str) -> None:
    assert list(read_events(text.split("\n"))) == []
