"""Every numbered equation of a paper has exactly one home, a test, and a line in the index."""

from __future__ import annotations

import pytest

from tools import equations
from tools.source import package_modules, parse


@pytest.fixture(scope="module")
def found() -> list[equations.Home]:
    return list(equations.homes(package_modules()))


def test_every_equation_has_exactly_one_home(found: list[equations.Home]) -> None:
    assert equations.misplaced(found, equations.PAPERS) == []


def test_every_equation_is_tested(found: list[equations.Home]) -> None:
    files = equations.test_files()
    assert [home for home in found if not equations.tests_of(home, files)] == []


def test_index_is_up_to_date(found: list[equations.Home]) -> None:
    written = equations.DOCUMENT.read_text(encoding="utf-8")
    assert written == equations.document(found, equations.test_files()), (
        f"run `{equations.COMMAND}` and look at the difference"
    )


# The index itself, on small samples.

PAPERS = {"AnimateZero": equations.Paper("0", {6: "", 7: "", 9: ""})}


def claims(*docstrings: str) -> list[equations.Home]:
    text = "\n".join(f'def f{i}():\n    """{doc}"""' for i, doc in enumerate(docstrings))
    return list(equations.homes([parse("src/stillmotion/animatezero/a.py", text)]))


@pytest.mark.parametrize(
    ("line", "numbers"),
    [
        ("AnimateZero Eq. 7", [7]),
        ("AnimateZero Eq. 7.", [7]),
        ("AnimateZero Eqs. 6 and 9", [6, 9]),
        ("AnimateZero Eq. 6, 9 (as printed, Eq. 9 is wrong)", [6, 9]),
        ("AnimateZero Eq. 6 (Eq. 9 as printed is\n    a misprint)", [6]),
        ("AnimateZero Eq. 7\n\n    Symbols as in the paper.", [7]),
        ("AnimateZero Eq. 6\n    Equation: AnimateZero Eq. 7", [6, 7]),
    ],
)
def test_claims_are_read(line: str, numbers: list[int]) -> None:
    homes = claims(f"Do it.\n\n    Equation: {line}\n    ")
    assert [home.number for home in homes] == numbers
    assert {(home.name, home.summary) for home in homes} == {("f0", "Do it.")}


def test_unreadable_claims_are_errors() -> None:
    with pytest.raises(ValueError, match="cannot read"):
        claims("Equation: AnimateZero equation 7")


def test_missing_double_and_unknown_homes_are_seen() -> None:
    assert equations.misplaced(claims("Equation: AnimateZero Eq. 6, 7, 9"), PAPERS) == []
    wrong = equations.misplaced(
        claims(
            "Equation: AnimateZero Eq. 6, 7",
            "Equation: AnimateZero Eq. 7",
            "Equation: AnimateZero Eq. 99",
        ),
        PAPERS,
    )
    assert [line.split(" homes")[0] for line in wrong[:2]] == [
        "AnimateZero Eq. 7 has 2",
        "AnimateZero Eq. 9 has 0",
    ]
    assert "claims AnimateZero Eq. 99, which is not listed" in wrong[2]
