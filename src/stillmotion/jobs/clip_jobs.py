"""From an `animate`, `interpolate` or `loop` job to what its method makes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stillmotion.animatezero.loading import load_model
from stillmotion.jobs import animating, recall, wishes
from stillmotion.jobs.context import Context, Facts, Output, Progress, Run
from stillmotion.jobs.methods import DYNAMICRAFTER, chosen_method, refuse_fields
from stillmotion.jobs.model import Clips
from stillmotion.jobs.outputs import check_clip_outputs
from stillmotion.jobs.previews import check_preview_path
from stillmotion.models.fingerprint import fingerprint

_SAMPLED_ELEMENTS = 64


def prepare(job: Clips, output: Output, context: Context) -> Run:
    """Check it and load the model.  Raises as `prepare_job`."""
    check_clip_outputs(output.path, job.count, overwrite=output.overwrite)
    check_preview_path(output.preview, overwrite=output.overwrite)
    source = context.find(job.from_clip).path if job.from_clip is not None else None
    method = chosen_method(job.method, job.model, source)
    refuse_fields(method, job)
    if method == DYNAMICRAFTER:
        return _by_dynamicrafter(job, output, context)
    return _by_animatezero(job, output, context)


def _by_animatezero(job: Clips, output: Output, context: Context) -> Run:
    model, request = recall.prepare(
        wishes.wish_of(job, output, context), context.say, context.models.sharing(load_model)
    )
    animating.check_animation(model, request, context.say)

    def run(progress: Progress) -> Facts:
        with _forgotten_if_changed(model, context):
            return animating.animate(model, request, progress)

    return run


def _by_dynamicrafter(job: Clips, output: Output, context: Context) -> Run:
    # Heavy, and not for those who animate by the other method.
    from stillmotion.dynamicrafter.loading import load_dynamicrafter
    from stillmotion.jobs import dynamicrafter, dynamicrafter_wishes

    wish = dynamicrafter_wishes.wish_of(job, output, context)
    return dynamicrafter.prepare(wish, context.say, context.models.sharing(load_dynamicrafter)).run


@contextmanager
def _forgotten_if_changed(model: Any, context: Context) -> Iterator[None]:
    """A memory plan can round a model's weights for good; then the next job loads it anew."""
    networks = {"unet": model.pipeline.unet}
    before = fingerprint(networks, max_elements=_SAMPLED_ELEMENTS)
    try:
        yield
    finally:
        if fingerprint(networks, max_elements=_SAMPLED_ELEMENTS) != before:
            context.models.forget(model)
