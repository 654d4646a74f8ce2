"""A claimed job made as the command line makes it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from stillmotion.jobs.context import Context, Output
from stillmotion.jobs.formats import file_name
from stillmotion.jobs.shared_models import SharedModels
from stillmotion.queueing.library import Library
from stillmotion.queueing.tasks import Runner, Task, WorkerSettings
from stillmotion.queueing.views import NewArtifact

_LOG = logging.getLogger(__name__)


class JobRunner:
    """Keeps the models of the last jobs in memory."""

    def __init__(self, folder: Path, device: str, settings: WorkerSettings) -> None:
        self._library = Library(folder)
        self._device, self._download = device, settings.download
        self._models = SharedModels(compiling=settings.compiling)

    def warm_up(self, model: str) -> None:
        """Load a model that draws and animates, as the first job would.

        One that cannot be loaded stops nothing: the jobs that need it say why.
        """
        from stillmotion.jobs import drawing_jobs
        from stillmotion.jobs.model import DrawJob

        context = Context(
            models=self._models, device=self._device, download=self._download,
            find=self._library.find,
        )  # fmt: skip
        try:
            drawing_jobs.load(DrawJob(prompt="", model=model), context)
            import_module("stillmotion.jobs.clip_jobs")  # what animates it
        except Exception as error:
            _LOG.warning("the model '%s' is not loaded beforehand: %s", model, error)

    def __call__(self, task: Task) -> Sequence[NewArtifact]:
        """Make the job.  Raises what `run_job` raises."""
        # Only in a worker: they bring every model library, which a server has no use for.
        from stillmotion.jobs.run import run_job
        from stillmotion.queueing.publishing import made_in

        context = Context(
            models=self._models,
            device=self._device,
            download=self._download,
            find=self._library.find,
            say=task.say,
            on_preview=task.preview,
            cancelled=task.cancelled,
        )
        output = Output(path=task.claim.folder / file_name(task.job), keep=task.claim.keep)
        run_job(task.job, output, context, task.progress)
        return made_in(task.claim.folder)


def job_runner(folder: Path, device: str, settings: WorkerSettings) -> Runner:
    """The RunnerFactory that workers use."""
    runner = JobRunner(folder, device, settings)
    if settings.warm_up is not None:
        runner.warm_up(settings.warm_up)
    return runner
