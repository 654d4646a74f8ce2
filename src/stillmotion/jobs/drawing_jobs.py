"""From a `draw` job to what `drawing.py` makes."""

from __future__ import annotations

from stillmotion.animatezero.loading import LoadedModel, load_model
from stillmotion.jobs import drawing
from stillmotion.jobs.common import chosen_seed, chosen_speed, with_changes
from stillmotion.jobs.context import Context, Output, Run
from stillmotion.jobs.model import DrawJob
from stillmotion.jobs.outputs import check_still_output
from stillmotion.jobs.wishes import ingredients_of
from stillmotion.models.registry import MINIATURE


def load(job: DrawJob, context: Context) -> LoadedModel:
    """The model that draws, which stays in memory for the jobs after it.  Raises ModelError."""
    return context.models.sharing(load_model)(
        job.model or MINIATURE, ingredients=ingredients_of(job, context.find),
        look=job.look, device=context.device, download=context.download,
    )  # fmt: skip


def prepare(job: DrawJob, output: Output, context: Context) -> Run:
    """Check it and load the model.  Raises as `prepare_job`."""
    check_still_output(output.path, job.count, overwrite=output.overwrite)
    model = load(job, context)
    sampling = with_changes(
        model.drawing,
        num_inference_steps=job.steps,
        guidance_scale=job.guidance,
        negative_prompt=job.negative,
        height=job.height,
        width=job.width,
    )
    request = drawing.DrawRequest(
        prompt=model.styled(job.prompt), output=output.path, count=job.count,
        seed=chosen_seed(job.seed), sampling=sampling, speed=chosen_speed(job.speed),
        on_preview=context.on_preview, overwrite=output.overwrite,
    )  # fmt: skip
    drawing.check_drawing(model, request, context.say)
    return lambda progress: drawing.draw(model, request, progress)
