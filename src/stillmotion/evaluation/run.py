"""Many samples: in several processes, each finished one on disk at once, none made twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch

from stillmotion.evaluation.measure import Measurer, Row

TASKS = ("still", "animatediff", "animatezero", "ablation")
Tick = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which model is measured, where finished rows are kept, and by how many processes."""

    reference: str
    folder: Path
    device: str = "cpu"
    processes: int = 1


def measure(plan: Plan, task: str, count: int, tick: Tick | None = None) -> list[Row]:
    """Rows 0..count-1 of a task, those on disk first.

    The folder belongs to one model: its name should hold the model's fingerprint.
    """
    path = plan.folder / f"{task}.jsonl"
    rows = _read(path)
    missing = [index for index in range(count) if index not in rows]
    if tick is not None:
        for _ in range(count - len(missing)):
            tick()
    if missing:
        plan.folder.mkdir(parents=True, exist_ok=True)
        with path.open("a") as log, _pool(plan) as pool:
            futures = {pool.submit(_work, task, index): index for index in missing}
            for future in as_completed(futures):
                index = futures[future]
                rows[index] = future.result()
                log.write(json.dumps({"index": index, **rows[index]}) + "\n")
                log.flush()
                if tick is not None:
                    tick()
    return [rows[index] for index in range(count)]


def _read(path: Path) -> dict[int, Row]:
    if not path.exists():
        return {}
    rows = {}
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue  # the last line of a killed run
        rows[int(row.pop("index"))] = row
    return rows


_measurer: Measurer | None = None


def _pool(plan: Plan) -> ProcessPoolExecutor:
    # Spawned and not forked: a fork of a process that has used threads can hang.
    return ProcessPoolExecutor(
        plan.processes, get_context("spawn"), _prepare, (plan.reference, plan.device, plan.processes)
    )


def _prepare(reference: str, device: str, processes: int) -> None:
    global _measurer
    if processes > 1:
        torch.set_num_threads(1)
    _measurer = Measurer(reference, device)


def _work(task: str, index: int) -> Row:
    assert _measurer is not None
    row: Row = getattr(_measurer, task)(index)
    return row
