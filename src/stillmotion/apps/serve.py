"""`stillmotion serve` and `stillmotion token`: the HTTP server and who may use it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from stillmotion.apps.options import FLAG, MACHINE, Compile, Json, Quiet

app = typer.Typer()
LIMITS = "Limits"
_GIB = 1 << 30

Library = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder of the queue and of all results; made if it is missing.",
        show_default="library/ among the user's data",
        rich_help_panel=MACHINE,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        help="Processes that make jobs; 0: none, others work on the same library.",
        show_default="one for each GPU, or one",
        rich_help_panel=MACHINE,
    ),
]
Host = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS", help="Where to listen; any but this machine needs --token-file."
    ),
]
WorkersDevice = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="auto, cpu or cuda; with cuda each worker has a GPU of its own.",
        rich_help_panel=MACHINE,
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Ask for tokens; `stillmotion token` makes them.", show_default=False
    ),
]
HostName = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="A name that the server answers to, such as that of the proxy before it.",
        show_default=False,
    ),
]
Port = Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0 takes a free one.")]


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 8420,
    library: Library = None,
    workers: Workers = None,
    device: WorkersDevice = "auto",
    compiling: Compile = "off",
    allow_model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A model, or a file of weights just as jobs name it, that jobs may use; give it "
            "once for each.",
            show_default="the models that come with the package",
        ),
    ] = None,
    token_file: TokenFile = None,
    host_name: HostName = None,
    max_queue: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Jobs that may wait.", rich_help_panel=LIMITS),
    ] = 1000,
    max_cost: Annotated[
        float,
        typer.Option(
            metavar="X",
            min=1,
            help="Of one job: frames x pixels x steps x count.",
            rich_help_panel=LIMITS,
        ),
    ] = 2e10,
    max_library: Annotated[
        float | None,
        typer.Option(
            metavar="GIB",
            min=0.001,
            help="Size of all results; then the oldest go that are not pinned.",
            show_default="no limit",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    drain: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="How long running jobs may go on when the server is stopped.",
            rich_help_panel=LIMITS,
        ),
    ] = 30.0,
    quiet: Quiet = False,
) -> None:
    """Serve jobs over HTTP, and make them.

    The first line on stdout is the address. Logs go to stderr, one JSON object a line, without
    prompts and tokens. SIGTERM or Ctrl-C lets running jobs end; started again on the same library,
    the server goes on with what waits.
    """
    need_server_extra("stillmotion serve")
    from stillmotion.queueing.tasks import WorkerSettings
    from stillmotion.runtime.compiling import check_choice
    from stillmotion.server.limits import ServerLimits
    from stillmotion.server.service import DEFAULT_MODELS
    from stillmotion.server.serving import ServeSettings
    from stillmotion.server.serving import serve as serve_until_stopped

    check_choice(compiling)
    settings = ServeSettings(
        folder=library_folder(library),
        host=host,
        port=port,
        devices=devices(device, workers),
        allowed_models=frozenset(allow_model or DEFAULT_MODELS),
        token_file=token_file,
        host_names=frozenset(name.lower() for name in host_name or ()),
        limits=ServerLimits(max_queue=max_queue, max_cost=max_cost),
        max_bytes=None if max_library is None else int(max_library * _GIB),
        drain_seconds=drain,
        worker=WorkerSettings(compiling=compiling),
    )
    serve_until_stopped(settings, announce=say_address, quiet=quiet)


@app.command()
def token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose token it is.")],
    token_file: Annotated[
        Path, typer.Option(metavar="FILE", help="The server's file of tokens; made if missing.")
    ],
    admin: Annotated[
        bool,
        typer.Option(
            "--admin", metavar=FLAG, help="May see and change all jobs, and the queue itself."
        ),
    ] = False,
    max_waiting: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Jobs that wait or run at a time.", rich_help_panel=LIMITS
        ),
    ] = 50,
    max_cost: Annotated[
        float,
        typer.Option(metavar="X", min=1, help="Cost of these jobs.", rich_help_panel=LIMITS),
    ] = 2e11,
    max_priority: Annotated[
        int,
        typer.Option(metavar="N", min=-100, max=100, help="Of its jobs.", rich_help_panel=LIMITS),
    ] = 100,
    requests_per_minute: Annotated[
        int, typer.Option(metavar="N", min=1, help="Requests.", rich_help_panel=LIMITS)
    ] = 1200,
    as_json: Json = False,
) -> None:
    """Make a token for the server, and print it this once.

    The file keeps only its hash. To take a token back, delete its entry in the file; a running
    server sees that within a second or two.
    """
    need_server_extra("stillmotion token")
    from stillmotion.apps.console import show
    from stillmotion.server.limits import TokenLimits
    from stillmotion.server.tokens import add_token

    limits = TokenLimits(
        max_waiting=max_waiting,
        max_cost=max_cost,
        max_priority=max_priority,
        requests_per_minute=requests_per_minute,
    )
    made = add_token(token_file, name, admin=admin, limits=limits)
    show(made, {"name": name, "token": made}, as_json=as_json)


def say_address(address: str) -> None:
    """The one line on stdout, which scripts read."""
    print(address, flush=True)


def library_folder(given: Path | None) -> Path:
    """The folder of the queue and its results."""
    from stillmotion.models.user_models import data_home

    return given if given is not None else data_home() / "library"


def devices(device: str, workers: int | None) -> tuple[str, ...]:
    """One device for each worker.  Raises InputError for a device that is not here."""
    if workers == 0:
        return ()
    from stillmotion.errors import InputError
    from stillmotion.queueing.devices import count_gpus

    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device is '{device}'; it can be auto, cpu or cuda.")
    num_gpus = 0 if device == "cpu" else count_gpus()
    if not num_gpus:
        if device == "cuda":
            raise InputError("--device is 'cuda', but there is no GPU here; give cpu or auto.")
        return ("cpu",) * (workers or 1)
    return tuple(f"cuda:{index % num_gpus}" for index in range(workers or num_gpus))


def need_server_extra(command: str) -> None:
    """Raise ModelError if the packages of the extra `server` are missing."""
    from importlib.util import find_spec

    from stillmotion.errors import ModelError

    wanted: tuple[Any, ...] = ("fastapi", "uvicorn", "httpx", "prometheus_client")
    lacking = [name for name in wanted if find_spec(name) is None]
    if lacking:
        raise ModelError(
            f"{command} needs {', '.join(lacking)}; install them with `pip install "
            "'stillmotion[server]'`."
        )
