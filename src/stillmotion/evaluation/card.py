"""The miniature's model card: what was measured, against what is wanted, and how it was made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stillmotion.evaluation.intervals import wilson
from stillmotion.evaluation.measure import Row
from stillmotion.evaluation.parts import clip_retrieval, judge_accuracy, vae_psnr
from stillmotion.evaluation.run import Plan, measure
from stillmotion.models.registry import part_path
from stillmotion.runtime.files import atomic_path, write_json

Tick = Callable[[], None]


@dataclass(frozen=True)
class Line:
    """One row of the card: a share of `total` samples (or a mean in `unit`), and its bar."""

    what: str
    value: float
    bar: float
    low: float | None = None
    high: float | None = None
    total: int | None = None
    unit: str = "%"
    """Empty for numbers without one, shown to three digits."""

    @property
    def reached(self) -> bool:
        return self.value >= self.bar


def num_measurements(samples: int) -> int:
    """How often `measure_card` ticks: once for each sample and once for each kind of part."""
    return 3 * samples + len(_PARTS)


def measure_card(plan: Plan, samples: int, tick: Tick) -> list[Line]:
    """All lines of the card, with `samples` stills and clips of each kind."""
    lines = _part_lines(_measure_parts(plan, tick))
    stills = measure(plan, "still", samples, tick)
    for name in ("subject", "colour", "background"):
        lines.append(counted(f"drawn stills, all looks: {name}", (r[name] for r in stills), 85))
    lines.append(counted("drawn stills: look (with its LoRA)", (r["domain"] for r in stills), 95))
    plain = measure(plan, "animatediff", samples, tick)
    lines.append(counted("AnimateDiff clips: motion", (r["motion"] for r in plain), 70))
    return lines + _animatezero_lines(measure(plan, "animatezero", samples, tick))


_PARTS: dict[str, Callable[[Path], Any]] = {
    "judge": judge_accuracy,
    "vae": vae_psnr,
    "clip": clip_retrieval,
}


def _measure_parts(plan: Plan, tick: Tick) -> dict[str, Any]:
    """What was measured of each part, kept in the plan's folder like the samples."""
    path = plan.folder / "parts.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    plan.folder.mkdir(parents=True, exist_ok=True)
    for name, measure_part in _PARTS.items():
        if name not in found:
            found[name] = measure_part(plan.model_folder)
            write_json(path, found)
        tick()
    return found


def _part_lines(parts: dict[str, Any]) -> list[Line]:
    lines = [
        _share(f"judge: {name}, rendered data", hits, total, 95 if name == "motion" else 97)
        for name, (hits, total) in parts["judge"].items()
    ]
    psnr = parts["vae"]
    lines += [Line(f"VAE, {name}", value, 30, unit="dB PSNR") for name, value in psnr.items()]
    mean = sum(psnr.values()) / len(psnr)
    lines.append(Line("VAE, mean over looks", mean, 30, unit="dB PSNR"))
    hits, total = parts["clip"]
    lines.append(_share("CLIP: own caption found among 64", hits, total, 80))
    return lines


def _animatezero_lines(rows: list[Row]) -> list[Line]:
    lines = [counted("AnimateZero clips: motion", (r["motion"] for r in rows), 60)]
    for name in ("subject", "colour", "background"):
        right = (r[f"last_{name}"] for r in rows)
        lines.append(counted(f"AnimateZero clips: {name} of the last frame", right, 85))
    exact = (r["exact"] for r in rows)
    lines.append(counted("AnimateZero clips: first frame is the still", exact, 100))
    return lines


def counted(what: str, hits: Iterable[bool], bar: float) -> Line:
    """The share of samples for which something holds, in %."""
    found = list(hits)
    return _share(what, sum(found), len(found), bar)


def _share(what: str, hits: int, total: int, bar: float) -> Line:
    low, high = wilson(hits, total)
    return Line(what, 100 * hits / total, bar, 100 * low, 100 * high, total)


def table(lines: list[Line]) -> str:
    """The lines as a Markdown table."""
    rows = ["| measured | value | 95 % interval | samples | wanted | reached |",
            "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for line in lines:
        digits = 1 if line.unit else 3
        span = "" if line.low is None else f"{line.low:.{digits}f} to {line.high:.{digits}f}"
        value = f"{line.value:.{digits}f} {line.unit}".rstrip()
        rows.append(
            f"| {line.what} | {value} | {span} | {line.total or ''} "
            f"| {line.bar:.4g} | {'yes' if line.reached else 'no'} |"
        )
    return "\n".join(rows)


def write_card(lines: list[Line], folder: Path, command: str, about: str | None = None) -> None:
    """Write `README.md` and `card.json` into the model's folder.

    `about` is the card's beginning, title included; None is the whole miniature's.
    """
    training = _training(folder)
    with atomic_path(folder / "README.md", overwrite=True) as temporary:
        text = (about or _ABOUT) + _CARD.format(
            table=table(lines),
            command=command,
            stages=_stages(training),
            hardware=training.get("hardware", "unknown"),
            recipe=json.dumps(training.get("recipe", {}), indent=2),
        )
        temporary.write_text(text, encoding="utf-8")
    write_json(folder / "card.json", as_facts(lines))


def as_facts(lines: list[Line]) -> list[dict[str, Any]]:
    """The lines for JSON."""
    return [asdict(line) | {"reached": line.reached} for line in lines]


def _training(folder: Path) -> dict[str, Any]:
    path = part_path(folder, "training.json")
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _stages(training: dict[str, Any]) -> str:
    rows = ["| stage | optimiser steps | seconds |", "| --- | --- | --- |"]
    for stage in training.get("stages", []):
        rows.append(f"| {stage['name']} | {stage['steps']} | {stage['seconds']:.0f} |")
    return "\n".join(rows)


_ABOUT = """# The miniature

Small but complete models of Stable Diffusion's and AnimateDiff's structure, trained from nothing on
stillmotion's own procedural world: an AutoencoderKL, a CLIP with its tokenizer, a
UNet2DConditionModel, one LoRA for each look but the plain one, a MotionAdapter of AnimateDiff v2's
structure, and a judge that reads subject, colour, background, look and motion.  They know that
world and nothing else; they exist so that every method runs, and is tested, on any machine.

CLIP retrieval, below, counts captions of equal subject, colour and background as right.
"""
_CARD = """
## Measured

By `{command}`,
on scenes and seeds that training never saw.  "Wanted" is the bar that a miniature trained on a GPU
must reach.

{table}

The judge was trained on rendered pictures only, never on generated ones.

## How it was trained

On rendered stills and clips of the procedural world (`stillmotion.world`), by
`stillmotion train miniature`.  Hardware: {hardware}.

{stages}

The recipe:

```json
{recipe}
```

## Licence

Apache-2.0, like the package.  No data but the procedural world's went in.
"""
