"""The cost of a job before it is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stillmotion.errors import InputError, ModelError
from stillmotion.jobs.cost import Cost, cost_of
from stillmotion.jobs.model import parse_job
from stillmotion.jobs.sources import FileSource, Found
from stillmotion.models.registry import MINIATURE, MINIATURE_DYNAMICRAFTER, resolve_model

OWN = resolve_model(MINIATURE).description
AREA, STEPS, FRAMES = OWN.height * OWN.width, OWN.num_inference_steps, OWN.num_frames
OTHER = resolve_model(MINIATURE_DYNAMICRAFTER).description


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    Image.new("RGB", (700, 500)).save(tmp_path / "cat.png")
    return tmp_path / "cat.png"


def parts(fields: dict[str, Any]) -> tuple[Cost, ...]:
    return cost_of(parse_job(fields)).parts


def test_of_stills() -> None:
    drawing = OWN.drawing.num_inference_steps if OWN.drawing else STEPS
    assert parts({"kind": "draw", "prompt": "a"}) == (Cost(1, AREA, drawing),)
    asked = {"kind": "draw", "prompt": "a", "steps": 3, "count": 5, "height": 8, "width": 16}
    assert parts(asked) == (Cost(1, 128, 3, 5),)
    assert cost_of(parse_job(asked)).total == 128 * 3 * 5


def test_of_clips(photograph: Path) -> None:
    still = {"path": str(photograph)}
    assert parts({"kind": "animate", "still": still}) == (Cost(FRAMES, AREA, STEPS),)
    asked = {"kind": "loop", "still": still, "frames": 5, "steps": 10, "count": 2}
    assert parts(asked) == (Cost(5, AREA, 10, 2),)
    assert parts(asked | {"time_travel": 5, "time_travel_window": [2, 4]})[0].steps == 18
    ends = asked | {"kind": "interpolate", "last_frame": still}
    assert parts(ends)[0].frames == 9
    assert parts(ends | {"even_pace": False})[0].frames == 5
    by_other = {"kind": "animate", "still": still, "method": "dynamicrafter"}
    size = OTHER.height * OTHER.width
    assert parts(by_other) == (Cost(OTHER.num_frames, size, OTHER.num_inference_steps),)


def test_a_large_model_costs_more(photograph: Path) -> None:
    job = {"kind": "animate", "still": {"path": str(photograph)}, "model": "sd15"}
    assert parts(job)[0].pixels == 512 * 512


def test_of_edits_and_stories() -> None:
    edit = {"kind": "edit", "clip": {"artifact": "a" * 32}, "prompt": "b", "steps": 4}
    assert parts(edit | {"frames": 8}) == (Cost(1, AREA, 4), Cost(8, AREA, 4))
    assert parts(edit | {"format": "png", "count": 3}) == (Cost(1, AREA, 4, 3),)
    script = {
        "defaults": {"frames": 6, "steps": 4},
        "shots": [{"draw": "a"}, {"continue": True, "prompt": "b", "frames": 3}],
    }
    found = cost_of(parse_job({"kind": "story", "script": script}))
    assert found.parts == (Cost(1, AREA, 4), Cost(6, AREA, 4), Cost(3, AREA, 4))
    assert (found.frames, found.total) == (10, 10 * AREA * 4)


def test_what_is_unknown_is_said(photograph: Path) -> None:
    with pytest.raises(ModelError, match="unknown model 'nothing'"):
        parts({"kind": "draw", "prompt": "a", "model": "nothing"})
    with pytest.raises(InputError, match="check the name"):
        parts({"kind": "animate", "still": {"path": str(photograph) + "x"}})


def test_pictures_are_found_by_whoever_knows(photograph: Path) -> None:
    job = parse_job({"kind": "animate", "still": {"artifact": "a" * 32}})
    asked: list[FileSource] = []

    def find(source: FileSource) -> Found:
        asked.append(source)
        return Found(photograph, "cat.png")

    assert cost_of(job, find).total == FRAMES * AREA * STEPS
    assert {source.artifact for source in asked} == {"a" * 32}
