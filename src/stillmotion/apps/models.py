"""`stillmotion models`: what there is, one of them in full, and the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from stillmotion.apps.model_words import described, facts_of, listed
from stillmotion.apps.options import SAMPLING, Download, Json

PARTS_PANEL = "What it is made of"


class _NameOrCommand(TyperGroup):
    """`models NAME` describes the model NAME; `models add ...` is a command."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None:
            args = ["show", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=_NameOrCommand, subcommand_metavar="[NAME | COMMAND [ARGS]...]")


@app.callback(invoke_without_command=True)
def models(context: typer.Context, download: Download = False, as_json: Json = False) -> None:
    """List the models that can be named, or describe one: `stillmotion models NAME`.

    A name is also a folder in diffusers' layout, or a hub id user/name.  Your own models are
    added from files with `stillmotion models add`.
    """
    if context.invoked_subcommand is not None:
        context.obj = {"download": download, "as_json": as_json}
        return
    from stillmotion.apps.console import show
    from stillmotion.models import registry

    known = registry.known_models()
    show(listed(known), {"models": [facts_of(model) for model in known]}, as_json=as_json)


@app.command("show", hidden=True)
def describe(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A listed name, a folder, or a hub id."),
    ],
    download: Download = False,
    as_json: Json = False,
) -> None:
    """Describe one model: its parts, size, defaults, looks."""
    from stillmotion.apps.console import show
    from stillmotion.models.registry import known_model

    asked = context.obj or {}
    facts = facts_of(known_model(name, download=download or asked.get("download", False)))
    as_json = as_json or asked.get("as_json", False)
    show(described(facts), {"models": [facts]}, as_json=as_json)


@app.command()
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it will be called.")],
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A model folder in diffusers' layout.",
            show_default=False,
            rich_help_panel=PARTS_PANEL,
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A single-file image model (.safetensors) of the Stable Diffusion 1.5 family.",
            show_default=False,
            rich_help_panel=PARTS_PANEL,
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The model that has all other parts; sd15 if no folder is given.",
            show_default=False,
            rich_help_panel=PARTS_PANEL,
        ),
    ] = None,
    motion: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A motion module: file, or folder in diffusers' layout.",
            show_default=False,
            rich_help_panel=PARTS_PANEL,
        ),
    ] = None,
    vae: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A VAE.", show_default=False, rich_help_panel=PARTS_PANEL
        ),
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE[:WEIGHT]",
            help="A LoRA that is always merged in; can be given several times.",
            show_default=False,
            rich_help_panel=PARTS_PANEL,
        ),
    ] = None,
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A line about it.", show_default=False)
    ] = None,
    licence: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Its licence.", show_default=False)
    ] = None,
    prompt_prefix: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Words put before every prompt.",
            show_default=False,
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    negative: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="What must not appear.",
            show_default=False,
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Denoising steps.",
            show_default=False,
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            min=0,
            help="How strictly the text is followed.",
            show_default=False,
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    height: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS", min=1, help="Height.", show_default=False, rich_help_panel=SAMPLING
        ),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS", min=1, help="Width.", show_default=False, rich_help_panel=SAMPLING
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Frames of a clip.",
            show_default=False,
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    clip_skip: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Last layers of the text encoder left out.",
            show_default=False,
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Give a name to a model of your own: a folder, or files that replace parts of a base.

    The files stay where they are.  What is not said about sampling is as with the base.
    """
    from stillmotion.animatezero.ingredients import parse_weighted
    from stillmotion.apps.console import show
    from stillmotion.models.adding import NewModel, add_model

    new = NewModel(
        folder=folder,
        base=base,
        checkpoint=checkpoint,
        vae=vae,
        motion=motion,
        loras=tuple(parse_weighted(text) for text in lora or ()),
        changes={
            "title": title,
            "licence": licence,
            "prompt_prefix": prompt_prefix,
            "negative_prompt": negative,
            "num_inference_steps": steps,
            "guidance_scale": guidance,
            "height": height,
            "width": width,
            "num_frames": frames,
            "clip_skip": clip_skip,
        },
    )
    facts = facts_of(add_model(name, new))
    as_json = as_json or (context.obj or {}).get("as_json", False)
    show(described(facts), {"models": [facts]}, as_json=as_json)


@app.command()
def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of your own models.")],
    as_json: Json = False,
) -> None:
    """Forget a model of your own; its files stay where they are."""
    from stillmotion.apps.console import show
    from stillmotion.models.user_models import remove_user_model

    path = remove_user_model(name)
    as_json = as_json or (context.obj or {}).get("as_json", False)
    show(f"{name} is forgotten ({path})", {"removed": name, "path": str(path)}, as_json=as_json)
