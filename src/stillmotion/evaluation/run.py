"""Many samples: in several processes, each finished one on disk at once, none made twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from stillmotion import __version__
from stillmotion.evaluation.feature_clips import FeatureMeasurer
from stillmotion.evaluation.measure import Row
from stillmotion.evaluation.video_measure import VideoMeasurer
from stillmotion.evaluation.workers import spread
from stillmotion.models.description import read_description
from stillmotion.models.dynamicrafter_index import DYNAMICRAFTER_PIPELINE
from stillmotion.models.registry import pipeline_class

TASKS = ("still", "animatediff", "animatezero", "ablation", "feature", "picture", "ends")
Tick = Callable[[], None]
# Written by measuring, so no part of what is measured.
_NOT_MEASURED = frozenset({"card.json"})


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which model is measured, where finished rows are kept, and by how many processes."""

    reference: str
    model_folder: Path
    folder: Path
    """Belongs to one set of weights: its name should come from `model_identity`."""
    device: str = "cpu"
    processes: int = 1


def model_identity(folder: Path) -> str:
    """sha256 (hex) over this package's version and every weight and configuration of a model.

    Those in its folder, and those that it shares with another model.
    Unlike a still's fingerprint it changes with the motion modules, the looks and the judge.
    """
    digest = hashlib.sha256(__version__.encode())
    shared = {name: folder / at for name, at in read_description(folder).shared_parts.items()}
    for name, place in (("", folder), *sorted(shared.items())):
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.suffix in (".json", ".safetensors") and path.name not in _NOT_MEASURED:
                digest.update((Path(name) / path.relative_to(place)).as_posix().encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def measure(plan: Plan, task: str, count: int, tick: Tick | None = None) -> list[Row]:
    """Rows 0..count-1 of a task, those on disk first; `tick` is called once for each.

    `task` is one of `TASKS`, with "/" and a name behind it where there are several of a kind.
    """
    path = plan.folder / f"{task}.jsonl"
    rows = read_rows(path)
    missing = [index for index in range(count) if index not in rows]
    for _ in range(count - len(missing)):
        _call(tick)
    if missing:
        path.parent.mkdir(parents=True, exist_ok=True)
        _end_last_line(path)
        _make(plan, task, missing, rows, path, tick)
    return [rows[index] for index in range(count)]


def _make(
    plan: Plan, task: str, missing: list[int], rows: dict[int, Row], path: Path, tick: Tick | None
) -> None:
    """Fill in the missing rows and append each to the file as soon as it is finished."""
    tasks = [(task, index) for index in missing]
    with path.open("a", encoding="utf-8") as log:
        for (_, index), row in spread(tasks, _work, plan.processes, _prepare, plan):
            rows[index] = row
            log.write(json.dumps({"index": index, **row}) + "\n")
            log.flush()
            _call(tick)


def read_rows(path: Path) -> dict[int, Row]:
    """The rows in a file by their index; what a killed run left of its last line is passed over."""
    if not path.exists():
        return {}
    rows = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        rows[int(row.pop("index"))] = row
    return rows


def _end_last_line(path: Path) -> None:
    """Close the line in which a killed run stopped, so that the next row gets its own."""
    if path.exists() and not path.read_bytes().endswith(b"\n"):
        with path.open("a", encoding="utf-8") as log:
            log.write("\n")


def _call(tick: Tick | None) -> None:
    if tick is not None:
        tick()


_measurer: FeatureMeasurer | VideoMeasurer | None = None


def _prepare(plan: Plan) -> None:
    global _measurer
    if plan.processes > 1:
        torch.set_num_threads(1)
    if pipeline_class(plan.model_folder) == DYNAMICRAFTER_PIPELINE:
        _measurer = VideoMeasurer(plan.reference, plan.device)
    else:
        _measurer = FeatureMeasurer(plan.reference, plan.device, plan.folder)


def _work(task: tuple[str, int]) -> Row:
    assert _measurer is not None
    kind, *name = task[0].split("/")
    row: Row = getattr(_measurer, kind)(*name, task[1])
    return row
