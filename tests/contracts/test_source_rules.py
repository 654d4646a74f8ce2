"""Sizes, words and randomness: the rules of the house that a machine can check."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from tools.source import Definition, Function, Module, definitions, package_modules, parse

MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 400
MAX_PARAMETERS = 8
FORBIDDEN_WORDS = re.compile(r"\b(NotImplementedError|TODO|FIXME|XXX)\b")

# "path: function" -> why the rule cannot hold there. An entry that is not needed fails too.
TOO_LONG_FUNCTIONS: dict[str, str] = {}
_CONFIGURED = "diffusers reads a configuration from the constructor's signature"
_LAUNCHED = "a kernel is given every pointer, size and stride by itself"
_DYNAMICRAFTER = "src/stillmotion/dynamicrafter/"
_KERNELS = "src/stillmotion/kernels/"
TOO_MANY_PARAMETERS: dict[str, str] = {
    f"{_DYNAMICRAFTER}image_context.py: ImageContext.__init__": _CONFIGURED,
    f"{_DYNAMICRAFTER}pipeline.py: DynamiCrafterPipeline.__init__": _CONFIGURED,
    f"{_DYNAMICRAFTER}unet.py: DynamiCrafterUNet.__init__": _CONFIGURED,
    f"{_KERNELS}triton_group_norm.py: channel_statistics_kernel": _LAUNCHED,
    f"{_KERNELS}triton_group_norm.py: group_statistics_kernel": _LAUNCHED,
    f"{_KERNELS}triton_group_norm.py: scale_silu_kernel": _LAUNCHED,
    f"{_KERNELS}triton_layer_norm.py: add_layer_norm_kernel": _LAUNCHED,
    f"{_KERNELS}triton_temporal.py: _mixed": _LAUNCHED,
    f"{_KERNELS}triton_temporal.py: _scores": _LAUNCHED,
    f"{_KERNELS}triton_temporal.py: temporal_attention_kernel": _LAUNCHED,
}
GLOBAL_RANDOMNESS: dict[str, str] = {}

# Draws of torch that take a `generator`; without one they draw from the global stream.
TORCH_DRAW = re.compile(
    r"torch\.(bernoulli|multinomial|normal|poisson|rand|randn|randint)(_like)?|torch\.randperm"
)
INPLACE_DRAW = re.compile(
    r"(bernoulli|cauchy|exponential|geometric|log_normal|normal|random|uniform)_"
)
PLAIN_INITIALISER = re.compile(r"(constant|dirac|eye|ones|zeros)_")
OWN_STREAMS = frozenset(
    {
        "numpy.random.default_rng",
        "numpy.random.Generator",
        "numpy.random.SeedSequence",
        "random.Random",
    }
)
GLOBAL_SEEDS = re.compile(r"torch\.(cuda\.|random\.)?(manual_seed(_all)?|seed(_all)?)")


@dataclass(frozen=True)
class Breach:
    """A rule broken at a place; ``key`` is how an exception list names the place."""

    key: str
    said: str


def functions(module: Module) -> Iterator[tuple[Definition, Function]]:
    """The functions and methods of a module."""
    for definition in definitions(module):
        if isinstance(definition.node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield definition, definition.node


def is_command(module: Module, node: Function) -> bool:
    """Whether a function is a command of the command line, whose parameters are its options."""
    return module.part == "apps" and any(
        isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Attribute)
        and decorator.func.attr in ("command", "callback")
        for decorator in node.decorator_list
    )


def num_parameters(definition: Definition, node: Function) -> int:
    """Parameters that a caller sees: without ``self`` or ``cls``."""
    spec = node.args
    count = len(spec.posonlyargs) + len(spec.args) + len(spec.kwonlyargs)
    count += (spec.vararg is not None) + (spec.kwarg is not None)
    static = any(ast.unparse(decorator) == "staticmethod" for decorator in node.decorator_list)
    return count - (definition.in_class and not static)


def long_functions(modules: Sequence[Module]) -> list[Breach]:
    """Functions over the limit; a command's table of options is not counted."""
    found = []
    for module in modules:
        for definition, node in functions(module):
            first = node.body[0].lineno if is_command(module, node) else node.lineno
            lines = (node.end_lineno or first) - first + 1
            if lines > MAX_FUNCTION_LINES:
                key = f"{module.path}: {definition.name}"
                found.append(Breach(key, f"{key} has {lines} lines"))
    return found


def crowded_functions(modules: Sequence[Module]) -> list[Breach]:
    """Functions with too many parameters, commands excepted."""
    found = []
    for module in modules:
        for definition, node in functions(module):
            count = num_parameters(definition, node)
            if count > MAX_PARAMETERS and not is_command(module, node):
                key = f"{module.path}: {definition.name}"
                found.append(Breach(key, f"{key} has {count} parameters"))
    return found


def aliases(module: Module) -> dict[str, str]:
    """What each imported name stands for: ``np`` -> ``numpy``, ``randn`` -> ``torch.randn``."""
    names = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.partition(".")[0]
                names[alias.asname or root] = alias.name if alias.asname else root
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def draws_globally(call: ast.Call, names: dict[str, str]) -> bool:
    """Whether a call draws from, or seeds, a random stream that it was not given."""
    root, _, rest = ast.unparse(call.func).partition(".")
    name = f"{names[root]}.{rest}".rstrip(".") if root in names else ""
    given = any(keyword.arg == "generator" for keyword in call.keywords)
    last = ast.unparse(call.func).rpartition(".")[2]
    if GLOBAL_SEEDS.fullmatch(name):
        return True
    if name.startswith(("numpy.random.", "random.")):
        return name not in OWN_STREAMS or not (call.args or call.keywords)
    if TORCH_DRAW.fullmatch(name):
        return not given
    if name.startswith("torch.nn.init."):
        return not PLAIN_INITIALISER.fullmatch(last) and not given
    return isinstance(call.func, ast.Attribute) and not given and bool(INPLACE_DRAW.fullmatch(last))


def global_draws(modules: Sequence[Module]) -> list[Breach]:
    """Uses of global randomness, which would let one clip's numbers depend on another's."""
    found = []
    for module in modules:
        names = aliases(module)
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and draws_globally(node, names):
                said = f"{module.path}:{node.lineno}: {ast.unparse(node.func)} without a generator"
                found.append(Breach(module.path, said))
    return found


def prints(modules: Sequence[Module]) -> list[str]:
    """Calls of ``print`` below the applications, save to a stream that the caller gave."""
    found = []
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                streams = [ast.unparse(key.value) for key in node.keywords if key.arg == "file"]
                given = streams and not streams[0].startswith("sys.")
                if module.part != "apps" and not given:
                    found.append(f"{module.path}:{node.lineno}")
    return found


def forbidden_words(modules: Sequence[Module]) -> list[str]:
    """Marks of unfinished work."""
    return [
        f"{module.path}:{number}: {line.strip()}"
        for module in modules
        for number, line in enumerate(module.text.splitlines(), 1)
        if FORBIDDEN_WORDS.search(line)
    ]


def settle(breaches: Sequence[Breach], exceptions: dict[str, str]) -> None:
    """Assert that the breaches are exactly those that the exceptions explain."""
    assert [breach.said for breach in breaches if breach.key not in exceptions] == []
    unneeded = exceptions.keys() - {breach.key for breach in breaches}
    assert unneeded == set(), "take these out of the list of exceptions"


@pytest.fixture(scope="module")
def package() -> list[Module]:
    return package_modules()


def test_functions_are_short(package: list[Module]) -> None:
    settle(long_functions(package), TOO_LONG_FUNCTIONS)


def test_functions_take_few_parameters(package: list[Module]) -> None:
    settle(crowded_functions(package), TOO_MANY_PARAMETERS)


def test_files_are_short(package: list[Module]) -> None:
    lengths = {module.path: len(module.text.splitlines()) for module in package}
    assert {path: n for path, n in lengths.items() if n > MAX_FILE_LINES} == {}


def test_nothing_is_left_undone(package: list[Module]) -> None:
    assert forbidden_words(package) == []


def test_only_applications_print(package: list[Module]) -> None:
    assert prints(package) == []


def test_randomness_comes_from_a_given_generator(package: list[Module]) -> None:
    settle(global_draws(package), GLOBAL_RANDOMNESS)


# The rules themselves, on small samples: a rule that cannot fail protects nothing.


def sample(text: str, path: str = "src/stillmotion/media/a.py") -> list[Module]:
    return [parse(path, text)]


def test_long_functions_are_seen() -> None:
    line = "    x = 1\n"
    assert long_functions(sample("def f():\n" + line * MAX_FUNCTION_LINES))
    assert not long_functions(sample("def f():\n" + line * (MAX_FUNCTION_LINES - 1)))
    options = "\n".join(f"    a{i}," for i in range(MAX_FUNCTION_LINES))
    command = f"@app.command()\ndef f(\n{options}\n):\n    pass\n"
    assert not long_functions(sample(command, "src/stillmotion/apps/cli.py"))
    assert long_functions(sample(command))


def test_crowded_functions_are_seen() -> None:
    assert crowded_functions(sample("def f(a, b, c, d, /, e, f, *, g, h, i): pass"))
    assert crowded_functions(sample("def f(a, b, c, d, e, f, g, *h, **i): pass"))
    assert not crowded_functions(sample("class A:\n    def f(self, a, b, c, d, e, f, g, h): pass"))
    static = "class A:\n    @staticmethod\n    def f(a, b, c, d, e, f, g, h, i): pass"
    assert crowded_functions(sample(static))


@pytest.mark.parametrize(
    "text",
    [
        "import torch\ntorch.manual_seed(0)",
        "import torch\ntorch.cuda.manual_seed_all(0)",
        "import torch\ntorch.randn(3)",
        "import torch as t\nt.randperm(3)",
        "from torch import randn\nrandn(3)",
        "from torch import nn\nnn.init.normal_(x)",
        "x.normal_()",
        "import numpy as np\nnp.random.seed(0)",
        "import numpy as np\nnp.random.default_rng()",
        "from numpy.random import rand\nrand(2)",
        "import random\nrandom.shuffle(x)",
    ],
)
def test_global_randomness_is_seen(text: str) -> None:
    assert len(global_draws(sample(text))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "import torch\ntorch.Generator().manual_seed(0)",
        "import torch\ng = torch.Generator()\ng.manual_seed(0)",
        "import torch\ntorch.randn(3, generator=g)",
        "from torch import nn\nnn.init.zeros_(x)\nnn.init.normal_(x, generator=g)",
        "import numpy as np\nnp.random.default_rng(3)",
        "import random\nrandom.Random(3)",
        "rng.normal(2)",
    ],
)
def test_given_generators_pass(text: str) -> None:
    assert global_draws(sample(text)) == []


def test_prints_and_words_are_seen() -> None:
    assert prints(sample("print(1)"))
    assert prints(sample("print(1, file=sys.stderr)"))
    assert not prints(sample("print(1, file=self.stream)"))
    assert not prints(sample("print(1)", "src/stillmotion/apps/cli.py"))
    assert forbidden_words(sample("x = 1  # TODO: more"))
    assert not forbidden_words(sample("x = 'mastodon'"))


def test_unneeded_exceptions_are_seen() -> None:
    with pytest.raises(AssertionError, match="take these out"):
        settle([], {"src/stillmotion/media/a.py: f": "no longer long"})
