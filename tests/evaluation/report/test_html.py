"""The page: it holds all it shows, asks for nothing, and no prompt gets out of its place."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.report.made_run import HOSTILE, METHODS, Shape, clip, write_run
from tests.evaluation.report.pages import Page, cut, picture, read_page

from stillmotion.evaluation.benchmark.folder import RunFolder
from stillmotion.evaluation.metrics.catalogue import CATALOGUE
from stillmotion.evaluation.report.gallery import Gallery, GalleryOptions
from stillmotion.evaluation.report.html import html
from stillmotion.evaluation.report.plots import panels
from stillmotion.evaluation.report.statistics import Cell
from stillmotion.evaluation.report.summary import Column, Line, Summary, Table
from stillmotion.evaluation.report.writing import ReportOptions, Written, write_reports

ADDRESSES = ("src", "href", "srcset", "action", "data", "poster", "background", "xlink:href")


@pytest.fixture(scope="module")
def page(hostile: Written) -> Page:
    return read_page(hostile.html_path)


def test_nothing_is_asked_for_from_elsewhere(page: Page) -> None:
    addresses = [one.attributes[name] for one in page.elements
                 for name in ADDRESSES if name in one.attributes]  # fmt: skip
    assert len(addresses) > 4
    assert [a[:60] for a in addresses if not a.startswith(("data:", "#"))] == []
    [style], [script] = page.all("style"), page.all("script")
    assert re.search(r"url\(|@import|@font-face", style.text) is None
    assert (
        re.search(r"fetch|XMLHttpRequest|WebSocket|sendBeacon|import\(|http", script.text) is None
    )


def test_the_policy_allows_this_style_and_script_alone(page: Page) -> None:
    [policy] = page.all("meta", http_equiv="Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.attributes["content"].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for rule, tag in (("style-src", "style"), ("script-src", "script")):
        [element] = page.all(tag)
        digest = base64.b64encode(hashlib.sha256(element.text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert [one.tag for one in page.elements if "style" in one.attributes] == []


def test_a_hostile_prompt_is_shown_as_words(page: Page, hostile: Written) -> None:
    assert HOSTILE in [one.text for one in page.all("p", class_="prompt")]
    assert len(page.all("script")) == 1
    assert [
        one.tag for one in page.elements if any(n.startswith("on") for n in one.attributes)
    ] == []
    assert "example.org" not in str([one.attributes for one in page.elements])
    assert hostile.html_path.read_text(encoding="utf-8").count("</script>") == 1


def test_every_frame_of_every_clip_is_in_the_page(page: Page) -> None:
    found = page.all("canvas")
    assert len(found) == 4 * len(METHODS)
    for index, canvas in enumerate(found):
        case, method = divmod(index, len(METHODS))
        size = (int(canvas.attributes["width"]), int(canvas.attributes["height"]))
        sheet = picture(canvas.attributes["data-strip"])
        frames = cut(sheet, *size, int(canvas.attributes["data-columns"]))
        count = int(canvas.attributes["data-frames"])
        assert np.array_equal(np.stack(frames[:count]), clip(method, case, Shape()))
        assert f"Clip of case-{case + 1} by" in canvas.attributes["aria-label"]


def test_tables_mark_best_and_second(page: Page) -> None:
    texts = [one.text.strip() for one in page.all("strong")]
    assert {"exact", "100.0 %", "0.3350"} <= set(texts)
    assert {"0.250", "75.0 %"} <= {one.text.strip() for one in page.all("u")}
    small = [one.text.strip() for one in page.all("small")]
    assert "[4.6, 69.9]" in small
    assert "n = 3" in small


def test_controls_are_labelled(page: Page) -> None:
    """By a label of their own, their text, or (in a browser test) the label around them."""
    for button in page.all("button"):
        assert button.attributes.get("aria-label") or button.text.strip()
    [slider] = page.all("input", type="range")
    assert slider.attributes["aria-label"] == "Frame"
    assert all(one.attributes.get("alt") for one in page.all("img"))
    assert page.all("html", lang="en")
    assert page.all("meta", name="viewport", content="width=device-width, initial-scale=1")


def test_settings_seed_and_groups_are_shown(page: Page) -> None:
    assert [one.text for one in page.all("p", class_="seed")][:2] == ["seed 0", "seed 1"]
    assert [one.text for one in page.all("span", class_="badge")][:2] == ["plain", "neon"]
    settings = {one.text for one in page.all("dt")}
    assert {"steps", "loop", "scored from", "clip"} <= settings
    assert {"", "=plain", "=neon"} <= {one.attributes["value"] for one in page.all("option")}


def test_the_same_run_gives_the_same_page(hostile: Written) -> None:
    before = hostile.html_path.read_bytes()
    write_reports(RunFolder(hostile.html_path.parent))
    assert hostile.html_path.read_bytes() == before


def test_without_a_gallery_there_is_no_player(tmp_path: Path) -> None:
    written = write_reports(
        write_run(tmp_path / "run"), ReportOptions(gallery=GalleryOptions(num_cases=0))
    )
    found = read_page(written.html_path)
    assert found.all("canvas") == []
    assert found.all("section", id="gallery") == []
    assert found.all("table")


def test_an_empty_gallery_is_no_error(summary: Summary) -> None:
    assert "<h2" in html(summary, Gallery(rows=(), num_cases=4, fps=8.0, remarks=()))


def column(title: str) -> Column:
    return Column(id=title, name="x", run=0, title=title, model="", identity="", settings={},
                  num_samples=2)  # fmt: skip


def panel(*cells: Cell, key: str = "text_sim", title: str = "A & <b>") -> list[str]:
    table = Table(group=None, num_cases=2, lines=(Line(metric=CATALOGUE[key], cells=cells),))
    return [str(one) for one in panels(table, [column(title) for _ in cells])]


def test_a_plot_puts_means_between_their_ends() -> None:
    low = Cell(mean=0.2, low=0.1, high=0.3, count=2)
    high = Cell(mean=0.7, low=0.6, high=0.9, count=2, place=1)
    [svg] = panel(low, high)
    xs = [
        (float(a), float(b))
        for a, b in re.findall(r'class="whisker \w+" x1="(.+?)" x2="(.+?)"', svg)
    ]
    dots = [float(x) for x in re.findall(r'class="dot \w+" cx="(.+?)"', svg)]
    assert xs[0][0] < dots[0] < xs[0][1] < xs[1][0] < dots[1] < xs[1][1]
    # Positions are in proportion to the values.
    assert (dots[1] - dots[0]) / (xs[1][1] - xs[0][0]) == pytest.approx(0.5 / 0.8, abs=1e-3)
    assert re.findall(r'y1="(\d+)" y2="\d+"/><circle', svg) == re.findall(r'cy="(\d+)"', svg)
    assert 'class="dot best"' in svg
    assert "A &amp; &lt;b&gt;" in svg
    assert "<b>" not in svg


@pytest.mark.parametrize("mean", [0.0, 5.0, -3.0, 1e6])
def test_equal_means_have_an_axis_too(mean: float) -> None:
    cell = Cell(mean=mean, low=mean, high=mean, count=2)
    [svg] = panel(cell, cell)
    assert svg.count('class="tick"') >= 2
    assert "nan" not in svg


def test_what_has_no_mean_says_why() -> None:
    exact = Cell(mean=None, low=None, high=None, count=0, exact=2, place=1)
    some = Cell(mean=30.0, low=29.0, high=31.0, count=2)
    [svg] = panel(exact, some, some, key="i1_psnr")
    assert ">exact</text>" in svg
    assert svg.count("<circle") == 2


def test_what_one_method_has_alone_is_not_plotted() -> None:
    nothing = Cell(mean=None, low=None, high=None, count=0)
    assert panel(Cell(mean=1.0, low=None, high=None, count=1), nothing) == []
