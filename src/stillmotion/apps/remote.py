"""`stillmotion submit`, `watch` and `jobs`: work with a server from the shell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillmotion.apps.options import Force, Json, Quiet
from stillmotion.apps.remote_options import Address, TokenFrom, connected

if TYPE_CHECKING:
    from stillmotion.client.connection import Answer, Client

app = typer.Typer()
jobs_app = typer.Typer(help="Look at the jobs of a server, and change them.")
Fetch = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        help="Wait for the job, and fetch what it made into this folder.",
        show_default=False,
    ),
]
JobId = Annotated[str, typer.Argument(metavar="ID", help="The job, as `submit` printed it.")]


@app.command()
def submit(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KIND [PICTURES] [PROMPT]",
            help="draw PROMPT; animate or loop STILL [PROMPT]; interpolate STILL LAST [PROMPT]; "
            "edit CLIP PROMPT.  Files are sent to the server; ids of artifacts can stand there, "
            "too.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="A job as JSON or YAML, for every kind there is.",
            show_default=False,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="A field of the job, such as seed=7 or frames=24; give it once for each.",
            show_default=False,
        ),
    ] = None,
    priority: Annotated[
        int, typer.Option(metavar="N", min=-100, max=100, help="Higher is sooner.")
    ] = 0,
    output: Fetch = None,
    server: Address = None,
    token_from: TokenFrom = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Queue a job on a server, and print its id.

    The fields of a job are the options of the local commands, with _ for -; `GET /v1/schema` of
    the server has them all.
    """
    from stillmotion.apps.console import show
    from stillmotion.apps.job_words import job_from_words, with_uploads

    job = job_from_words(words or [], file, settings or [])
    with connected(server, token_from) as client:
        answer = client.submit(with_uploads(job, client.upload), priority=priority)
        if output is None:
            show(answer["id"], answer, as_json=as_json)
        else:
            _follow(client, answer["id"], output, force=force, as_json=as_json, quiet=quiet)


@app.command()
def watch(
    job_id: JobId,
    output: Fetch = None,
    server: Address = None,
    token_from: TokenFrom = None,
    force: Force = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Follow a job to its end, and fetch what it made.

    It also follows over broken connections and restarts of the server.
    """
    with connected(server, token_from) as client:
        _follow(client, job_id, output, force=force, as_json=as_json, quiet=quiet)


def _follow(
    client: Client, job_id: str, output: Path | None, *, force: bool, as_json: bool, quiet: bool
) -> None:
    """Show the progress of a job, then fetch its results.  Raises InputError if it failed."""
    from stillmotion.apps.console import show
    from stillmotion.errors import InputError
    from stillmotion.runtime.progress import Progress

    with Progress(f"job {job_id[:8]}", total=100, quiet=quiet) as progress:
        for event in client.events(job_id):
            if "progress" in event.data:
                progress.update(completed=round(100 * event.data["progress"]))
    job = client.job(job_id)
    if job["state"] != "done":
        raise InputError(job["error"] or f"The job '{job_id}' is {job['state']}.")
    found = list(client.artifacts(job=job_id, companions=True))
    found.sort(key=lambda artifact: artifact["number"])
    lines = [f"{artifact['id']}  {artifact['name']}" for artifact in found]
    if output is not None:
        lines = _fetch(client, found, output, force=force)
    facts = job | {"results": found, "files": lines if output is not None else []}
    show("\n".join(lines), facts, as_json=as_json)


def _fetch(client: Client, found: list[Answer], output: Path, *, force: bool) -> list[str]:
    """Fetch artifacts into a folder, under their names; raises InputError for a damaged one."""
    from stillmotion.errors import InputError

    paths = []
    for artifact in found:
        # The last part of a name only: a server is not trusted with where files go.
        path = output / Path(artifact["name"]).name
        if client.download(artifact["id"], path, overwrite=force) != artifact["sha256"]:
            raise InputError(f"'{path}' arrived damaged; fetch it again.")
        paths.append(str(path))
    return paths


@jobs_app.callback(invoke_without_command=True)
def jobs(context: typer.Context) -> None:
    """Look at the jobs of a server, and change them; alone it lists them."""
    if context.invoked_subcommand is None:
        listed()


@jobs_app.command("list")
def listed(
    state: Annotated[
        str | None,
        typer.Option(
            metavar="STATE",
            help="queued, paused, running, cancelling, done, failed or cancelled.",
            show_default=False,
        ),
    ] = None,
    count: Annotated[int, typer.Option(metavar="N", min=1, help="How many at most.")] = 20,
    server: Address = None,
    token_from: TokenFrom = None,
    as_json: Json = False,
) -> None:
    """List jobs, newest first."""
    from itertools import islice

    from stillmotion.apps.console import show

    with connected(server, token_from) as client:
        found = list(islice(client.jobs(state=state, limit=min(count, 200)), count))
    lines = [_line(job) for job in found]
    show("\n".join(lines) or "no jobs", {"jobs": found}, as_json=as_json)


def _line(job: Answer) -> str:
    progress = f"{100 * job['progress']:.0f} %" if job["state"] == "running" else ""
    note = job["error"] or job["message"] or ""
    return f"{job['id']}  {job['state']:<10} {job['kind']:<11} {progress} {note}".rstrip()


def _tell(answer: Answer, *, as_json: bool) -> None:
    from stillmotion.apps.console import show

    show(_line(answer), answer, as_json=as_json)


def _on_one_job(name: str, what: str, call: Callable[[Client, str], Answer]) -> None:
    """Add a command that takes a job and says how it stands then."""

    @jobs_app.command(name, help=what)
    def command(
        job_id: JobId, server: Address = None, token_from: TokenFrom = None, as_json: Json = False
    ) -> None:
        with connected(server, token_from) as client:
            _tell(call(client, job_id), as_json=as_json)


_on_one_job("show", "Say how a job stands.", lambda client, job_id: client.job(job_id))
_on_one_job("cancel", "Cancel a job that waits or runs.", lambda client, job: client.cancel(job))
_on_one_job(
    "retry",
    "Queue a job again that failed or was cancelled.",
    lambda client, job_id: client.retry(job_id),
)


@jobs_app.command()
def change(
    job_id: JobId,
    priority: Annotated[
        int | None,
        typer.Option(metavar="N", min=-100, max=100, help="Higher is sooner.", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Another value for a field; give it once for each.",
            show_default=False,
        ),
    ] = None,
    server: Address = None,
    token_from: TokenFrom = None,
    as_json: Json = False,
) -> None:
    """Change a job before it starts."""
    from stillmotion.apps.job_words import changed_job, with_uploads
    from stillmotion.errors import InputError

    if priority is None and not settings:
        raise InputError("There is nothing to change; give --priority or --set.")
    with connected(server, token_from) as client:
        changes: dict[str, Any] = {} if priority is None else {"priority": priority}
        if settings:
            job = changed_job(client.job(job_id)["job"], settings)
            changes["job"] = with_uploads(job, client.upload)
        _tell(client.change(job_id, **changes), as_json=as_json)


_JobOrQueue = Annotated[
    str | None,
    typer.Argument(metavar="[ID]", help="A job; without it the whole queue.", show_default=False),
]


def _on_job_or_queue(name: str, what: str, *, paused: bool) -> None:
    """Add a command that holds back, or lets go, a job or the whole queue."""

    @jobs_app.command(name, help=what)
    def command(
        job_id: _JobOrQueue = None,
        server: Address = None,
        token_from: TokenFrom = None,
        as_json: Json = False,
    ) -> None:
        from stillmotion.apps.console import show

        with connected(server, token_from) as client:
            if job_id is not None:
                _tell(client.change(job_id, paused=paused), as_json=as_json)
                return
            answer = client.pause() if paused else client.resume()
        said = "the queue is paused" if answer["paused"] else "the queue runs"
        show(said, answer, as_json=as_json)


_on_job_or_queue("pause", "Keep a job, or the whole queue, from starting.", paused=True)
_on_job_or_queue("resume", "Let a job, or the whole queue, start again.", paused=False)


@jobs_app.command()
def move(
    job_id: JobId,
    before: Annotated[
        str | None, typer.Option(metavar="ID", help="A job that waits.", show_default=False)
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="ID", help="A job that waits.", show_default=False)
    ] = None,
    server: Address = None,
    token_from: TokenFrom = None,
    as_json: Json = False,
) -> None:
    """Move a waiting job before or after another one."""
    with connected(server, token_from) as client:
        _tell(client.order(job_id, before=before, after=after), as_json=as_json)
