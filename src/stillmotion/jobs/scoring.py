"""What an `evaluate` job does: clips scored against the picture that they were to begin with."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from stillmotion.errors import InputError
from stillmotion.evaluation.benchmark.folder import Case
from stillmotion.evaluation.benchmark.scoring import Scored, Scorer
from stillmotion.evaluation.extractors.choice import MINIATURE
from stillmotion.evaluation.metrics.catalogue import CATALOGUE
from stillmotion.jobs.context import Context, Output, Progress
from stillmotion.jobs.model import EvaluateJob
from stillmotion.jobs.outputs import check_file_output
from stillmotion.media.images import load_image
from stillmotion.media.reading import read_frames
from stillmotion.runtime.files import atomic_path
from stillmotion.runtime.system import choose_device

_LEAST_FRAMES = 2


def prepare(
    job: EvaluateJob, output: Output, context: Context
) -> Callable[[Progress], dict[str, Any]]:
    """Look at everything; the result scores the clips and writes the scores as JSON.

    Raises:
        InputError: a clip or picture that cannot be used.
        OutputError: the output cannot be written.
    """
    check_file_output(output.path, overwrite=output.overwrite)
    picture = load_image(context.find(job.still).path)
    end = load_image(context.find(job.last_frame).path) if job.last_frame is not None else None
    found = [context.find(clip) for clip in job.clips]
    scorer = Scorer(MINIATURE, str(choose_device(context.device)))

    def run(progress: Progress) -> dict[str, Any]:
        rows: list[dict[str, Any]] = []
        for number, clip in enumerate(found, 1):
            frames = read_frames(clip.path).frames
            if len(frames) < _LEAST_FRAMES:
                raise InputError(
                    f"'{clip.name}' has {len(frames)} frame; a clip that is scored has at least "
                    f"{_LEAST_FRAMES}."
                )
            case = Case(name=f"clip-{number}", prompt=job.prompt, seed=0)
            metrics, _ = scorer.score(Scored(frames=frames, case=case, picture=picture, end=end))
            rows.append({"name": clip.name, "num_frames": len(frames), "metrics": metrics})
            progress(number, len(found))
        looked = _looked(scorer, {key for row in rows for key in row["metrics"]})
        facts = {
            "path": str(output.path), "prompt": job.prompt, "extractors": looked, "clips": rows
        }  # fmt: skip
        told = {name: value for name, value in facts.items() if name != "path"}
        with atomic_path(output.path, overwrite=output.overwrite) as temporary:
            temporary.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        return facts

    return run


def _looked(scorer: Scorer, metrics: set[str]) -> dict[str, dict[str, str]]:
    """Which network served the metrics of each part: numbers of different ones are not alike."""
    parts = {CATALOGUE[key].part for key in metrics}
    found = scorer.parts.features().items()
    return {part: feature.model_dump(mode="json") for part, feature in found if part in parts}
