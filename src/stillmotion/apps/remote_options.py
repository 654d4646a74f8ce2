"""Where the server is and who asks: what the commands that talk to one have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stillmotion.client.connection import Client

SERVER = "Server"

Address = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="ADDRESS",
        envvar="STILLMOTION_SERVER",
        help="Where the server is.",
        show_default="http://127.0.0.1:8420",
        rich_help_panel=SERVER,
    ),
]
TokenFrom = Annotated[
    Path | None,
    typer.Option(
        "--token-from",
        metavar="FILE",
        help="A file that holds the token; else it is taken from STILLMOTION_TOKEN.",
        show_default=False,
        rich_help_panel=SERVER,
    ),
]


@contextmanager
def connected(address: str | None, token_from: Path | None) -> Iterator[Client]:
    """A client for the length of a command."""
    from stillmotion.apps.serve import need_server_extra

    need_server_extra("this command")
    from stillmotion.client.connection import Client
    from stillmotion.errors import InputError

    token = None
    if token_from is not None:
        try:
            token = token_from.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"'{token_from}' cannot be read; check the name.") from error
    with Client(address, token) as client:
        yield client
