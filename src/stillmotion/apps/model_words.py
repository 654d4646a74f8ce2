"""Models in words, and as facts for machines."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stillmotion.models.registry import KnownModel

_INDENT = 13
_WIDTH = 100
_ORIGINS = {
    "package": "comes with the package",
    "catalogue": "described by the package",
    "user": "yours",
}
_BESIDES = """\
Besides, --model takes any folder in diffusers' layout that has a motion adapter, and any
hub id user/name of such a model (fetched only with --download).  Files of your own become
a model with `stillmotion models add NAME`."""


def facts_of(model: KnownModel) -> dict[str, Any]:
    """What is known of a model, for machines."""
    folder = model.folder
    files = {} if folder is None else {
        "path": str(folder.path),
        "checkpoint": _text(folder.checkpoint),
        "vae": _text(folder.vae),
        "motion": _text(folder.motion),
        "loras": [{"path": str(path), "weight": weight} for path, weight in folder.loras],
    }  # fmt: skip
    return {
        "name": model.name,
        "origin": model.origin,
        "here": folder is not None,
        "lacks": model.lacks,
        "path": None,
        **files,
        **model.description.model_dump(mode="json"),
    }


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def listed(known: list[KnownModel]) -> str:
    """All models: what comes with the package in full, the others in a line each."""
    facts = [facts_of(model) for model in known]
    shown = [described(row) for row in facts if row["origin"] == "package"]
    yours = [_row(row) for row in facts if row["origin"] == "user"]
    others = [_row(row) for row in facts if row["origin"] == "catalogue"]
    if yours:
        head = "Yours (forget one with `stillmotion models remove NAME`):"
        shown.append("\n".join([head, *yours]))
    head = "Described by the package (`stillmotion models NAME` tells how to get one):"
    shown += ["\n".join([head, *others]), _BESIDES]
    return "\n\n".join(shown)


def _row(row: dict[str, Any]) -> str:
    state = "" if row["here"] else " (not here)"
    return f"  {row['name']:<25} {row['title']}{state}"


def described(row: dict[str, Any]) -> str:
    """One model in full, from its facts."""
    lines = [
        f"{row['name']}: {row['title']}",
        line("origin", _ORIGINS[row["origin"]]),
        line("size", f"{row['width']} x {row['height']} pixels, {row['num_frames']} frames"),
        line("sampling", _sampling(row)),
        line("looks", ", ".join(["plain", *row["looks"]])),
        *_part_lines(row),
    ]
    for label, key in (("negative", "negative_prompt"), ("prefix", "prompt_prefix")):
        if row[key]:
            lines.append(line(label, row[key]))
    if row["still_trajectory"] == "diffused":
        lines.append(line("still", "finished, then diffused: frame 1 follows noise made of it"))
    if row["path"] is not None:
        lines.append(line("folder", row["path"]))
        if row["card"] and Path(row["path"], row["card"]).is_file():
            lines.append(line("card", f"{row['path']}/{row['card']}"))
    for label in ("licence", "notes", "lacks"):
        if row[label]:
            lines.append(line(label, row[label]))
    if row["name"] == "miniature":
        lines += _miniature_words()
    return "\n".join(lines)


def _sampling(row: dict[str, Any]) -> str:
    text = f"{row['num_inference_steps']} steps, guidance {row['guidance_scale']:g}"
    if row["scheduler"] is not None:
        text += f", {row['scheduler']['name']}"
    if row["clip_skip"]:
        text += f", clip skip {row['clip_skip']}"
    own = row["drawing"]
    if own is not None:
        text += (
            f"; stills {own['num_inference_steps']} steps, guidance {own['guidance_scale']:g}, "
            f"{own['scheduler']['name']}"
        )
    return text


def _part_lines(row: dict[str, Any]) -> list[str]:
    parts = row["parts"] or {}
    lines = [line(role, _source(parts[role])) for role in ("base", "checkpoint", "vae", "motion")
             if parts.get(role)]  # fmt: skip
    return lines + [
        line("lora", f"{_source(source)}, weight {source['weight']:g}")
        for source in parts.get("loras", ())
    ]


def _source(source: dict[str, Any]) -> str:
    if source["model"]:
        return f"of the model {source['model']}"
    if source["path"]:
        return str(source["path"])
    if source["page"]:
        named = f" ({', '.join(source['files'])})" if source["files"] else ""
        return f"to be fetched by hand from {source['page']}{named}"
    at = f" at {source['revision'][:12]}" if source["revision"] else ", newest revision"
    single = f", {next(iter(source['files']))}" if len(source["files"]) == 1 else ""
    return f"hub {source['hub']}{at}{single}"


def _miniature_words() -> list[str]:
    from stillmotion.world.vocabulary import BACKGROUNDS, COLOURS, SUBJECT_MOTIONS

    moves = "; ".join(f"{s}: {', '.join(m)}" for s, m in SUBJECT_MOTIONS.items())
    return [
        line("subjects", f"and their motions: {moves}"),
        line("colours", ", ".join(COLOURS)),
        line("backgrounds", ", ".join(BACKGROUNDS)),
    ]


def line(label: str, text: str) -> str:
    """A label and its text, wrapped; a single long word, such as a path, stays in one piece."""
    return fill(
        text,
        _WIDTH,
        initial_indent=f"  {label}".ljust(_INDENT + 2),
        subsequent_indent=" " * (_INDENT + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
