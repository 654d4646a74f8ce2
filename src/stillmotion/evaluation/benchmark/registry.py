"""The methods that there are: this package's, those of diffusers, and plug-ins.

Packages of other people add theirs as entry points of the group "stillmotion.methods", each of
which names a `MethodSpec`:

    [project.entry-points."stillmotion.methods"]
    my-method = "my_package.stillmotion:SPEC"
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points

from stillmotion.errors import InputError
from stillmotion.evaluation.benchmark import diffusers_methods, own_methods
from stillmotion.evaluation.benchmark.methods import MethodSpec, Protocols

GROUP = "stillmotion.methods"


def registry(protocol: Protocols) -> dict[str, MethodSpec]:
    """All methods of a benchmark by their names.

    Raises:
        InputError: a plug-in that is no method, or takes the name of another.
    """
    found: dict[str, MethodSpec] = {}
    for spec in (*own_methods.SPECS, *diffusers_methods.SPECS, *_plug_ins()):
        if spec.name in found:
            raise InputError(
                f"two methods are called '{spec.name}'; a plug-in must choose another name"
            )
        found[spec.name] = spec
    return {name: spec for name, spec in found.items() if protocol in spec.protocols}


def chosen(
    protocol: Protocols, names: tuple[str, ...], weights: Mapping[str, str]
) -> list[MethodSpec]:
    """The methods that are asked for; without names, the defaults and those with weights.

    Raises:
        InputError: an unknown name, or a method without the weights that it needs.
    """
    known = registry(protocol)
    for name in (*names, *weights):
        if name not in known:
            raise InputError(f"there is no method '{name}'; there are: {', '.join(known)}")
    wanted = names or [n for n, one in known.items() if protocol in one.default or n in weights]
    for name in wanted:
        if known[name].needs_weights and name not in weights:
            raise InputError(
                f"the method '{name}' needs {known[name].needs_weights}; "
                f"give it with --weights {name}=PATH"
            )
    return [known[name] for name in dict.fromkeys(wanted)]


def _plug_ins() -> list[MethodSpec]:
    found = []
    for entry in entry_points(group=GROUP):
        try:
            spec = entry.load()
        except Exception as error:
            raise InputError(
                f"the method '{entry.name}' of the package '{entry.value}' cannot be loaded "
                f"({error}); mend or uninstall that package"
            ) from error
        if not isinstance(spec, MethodSpec):
            raise InputError(
                f"the entry point '{entry.name}' in the group {GROUP} is {type(spec).__name__}, "
                "not a MethodSpec; mend or uninstall that package"
            )
        found.append(spec)
    return found
