"""The manifest of a run: put together from what is asked for, and held against an older one."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar

from stillmotion import __version__
from stillmotion.errors import InputError
from stillmotion.evaluation.benchmark.folder import Case, Manifest, Method, RunFolder
from stillmotion.evaluation.benchmark.methods import MethodSpec
from stillmotion.evaluation.run import model_identity
from stillmotion.models.loading import shareable, split_reference
from stillmotion.models.registry import resolve_model

Named = TypeVar("Named", Method, Case)
_PACKAGES = (
    "torch", "diffusers", "transformers", "numpy", "Pillow", "av", "opencv-python-headless",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Of this package, Python and the libraries that results may depend on."""
    found = {"stillmotion": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def described(
    spec: MethodSpec,
    models: Mapping[str, str],
    weights: Mapping[str, str],
    cases: Sequence[Case],
) -> Method:
    """A method as the manifest tells of it.

    Raises:
        ModelError: a model that it uses is not there.
    """
    used: list[str] = []
    if spec.name in weights:
        used = [weights[spec.name]]
    elif spec.model is not None:
        default = models[spec.model]
        own = [str(one.facts.get("model") or default) for one in cases]
        used = sorted(set(own)) if spec.model == "animatezero" else [default]
    return Method(
        name=spec.name, title=spec.title, settings=dict(spec.settings),
        model=", ".join(shareable(one) for one in used), identity=_identity(used),
        is_bound=spec.is_bound,
    )  # fmt: skip


def _identity(references: Sequence[str]) -> str:
    """sha256 of the weights of all these models; empty for none."""
    if not references:
        return ""
    parts = [
        model_identity(resolve_model(split_reference(reference)[0]).path)
        for reference in references
    ]
    if len(parts) == 1:
        return parts[0]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def begin(run: RunFolder, new: Manifest) -> Manifest:
    """Write the manifest of a run that begins, or of one that goes on with what is added to it.

    What an earlier call made, and this one does not ask for, stays in the run.

    Raises:
        InputError: the folder holds a run that differs in what both have.
    """
    if not (run.path / "manifest.json").exists():
        run.write_manifest(new)
        return new
    old = run.read_manifest()
    for what in ("protocol", "extractors", "scored_from", "facts"):
        _same(run, what, getattr(old, what), getattr(new, what))
    methods = _merged(run, "method", old.methods, new.methods)
    cases = _merged(run, "case", old.cases, new.cases)
    merged = new.model_copy(update={"methods": methods, "cases": cases})
    run.write_manifest(merged)
    return merged


def _merged(
    run: RunFolder, what: str, old: Sequence[Named], new: Sequence[Named]
) -> tuple[Named, ...]:
    before = {one.name: one for one in old}
    for one in new:
        if one.name in before:
            _same(run, f"{what} '{one.name}'", before[one.name], one)
    asked = {one.name for one in new}
    kept = [one for one in old if one.name not in asked]
    return tuple(new) + tuple(kept)


def _same(run: RunFolder, what: str, old: object, new: object) -> None:
    if old != new:
        raise InputError(
            f"{run.path} holds a run with another {what} ({old}; now {new}); "
            "give another folder, or delete that one"
        )
