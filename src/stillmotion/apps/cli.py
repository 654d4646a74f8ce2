"""The `stillmotion` command."""

from __future__ import annotations

import sys
from typing import Annotated

import click
import typer

from stillmotion import __version__
from stillmotion.apps.animate import animate
from stillmotion.apps.console import fail
from stillmotion.apps.draw import draw
from stillmotion.apps.evaluate import app as evaluate_app
from stillmotion.apps.inspect import doctor, models
from stillmotion.apps.train import app as train_app
from stillmotion.errors import StillmotionError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="stillmotion",
    help="Draw a still, choose one, and animate exactly that still.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


app.command()(draw)
app.command()(animate)
app.command()(models)
app.command()(doctor)
app.add_typer(train_app, name="train")
app.add_typer(evaluate_app, name="evaluate")


def main(arguments: list[str] | None = None) -> None:
    """Run a command line; exits with 0, with 2 for what the user can mend, 130 if interrupted."""
    given = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in given
    try:
        code = app(given, standalone_mode=False)
    except StillmotionError as error:
        fail(str(error), as_json=as_json)
        sys.exit(EXIT_USER_ERROR)
    except click.ClickException as error:
        fail(error.format_message(), as_json=as_json)
        sys.exit(EXIT_USER_ERROR)
    except (KeyboardInterrupt, click.Abort):
        fail("interrupted; nothing half-written was left", as_json=as_json)
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)
