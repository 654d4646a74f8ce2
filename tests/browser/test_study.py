"""The study's page in a real browser: answered by keyboard, reloaded, saved, and scored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.browser.conftest import watched
from tests.evaluation.study.runs import METHODS, make_run

from stillmotion.evaluation.study.answers import gather_answers
from stillmotion.evaluation.study.build import Study, StudyOptions, build_study
from stillmotion.evaluation.study.designs import DESIGNS
from stillmotion.evaluation.study.material import Material, gather
from stillmotion.evaluation.study.page import render
from stillmotion.evaluation.study.scoring import score_study
from stillmotion.evaluation.study.simulate import shuffling_of
from stillmotion.evaluation.study.words import WORDS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
RATER = "Zoë  張 <i>"
TIDY_RATER = "Zoë 張 <i>"
SECONDS = 30_000
"""Milliseconds that a slow machine may take for a step."""


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return gather([make_run(tmp_path_factory.mktemp("study") / "run", height=24)])


@pytest.fixture(scope="module", params=DESIGNS)
def study(request: pytest.FixtureRequest, material: Material) -> Study:
    return build_study(material, StudyOptions(seed=11, design=request.param))


@pytest.fixture(scope="module")
def ranking(material: Material) -> Study:
    return build_study(material, StudyOptions(seed=11))


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    context.set_default_timeout(SECONDS)
    yield context.new_page()
    context.close()


def written(study: Study, folder: Path) -> Path:
    path = folder / "study.html"
    path.write_text(render(study), encoding="utf-8")
    return path


def start(page: Page, rater: str = RATER) -> None:
    """Type a name, agree and begin, all by keyboard."""
    page.keyboard.type(rater)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    ready(page)


def ready(page: Page) -> None:
    page.wait_for_selector("canvas[data-frame]")


def letters(study: Study, step: int, rater: str = TIDY_RATER) -> dict[str, str]:
    """The letter of each method's clip at a step; the spoiled clip counts as no method's."""
    shown = shuffling_of(study.key).steps(rater)[step]
    [trial] = [trial for trial in study.key.trials if trial.id == shown.trial]
    return {
        "spoiled" if clip == trial.spoiled else trial.clips[clip]: chr(ord("a") + place)
        for place, clip in enumerate(shown.order)
    }


def answer_step(page: Page, study: Study, step: int, rater: str = TIDY_RATER) -> None:
    """Prefer methods in the order of METHODS, by keyboard; the second choice is taken back."""
    found = letters(study, step, rater)
    order = [found[name] for name in (*METHODS, "spoiled") if name in found]
    for kind in [aspect.kind for aspect in DESIGNS[study.key.design].aspects]:
        assert page.locator("#next").is_disabled()
        if kind == "rank":
            for letter in (order[1], order[1], *order[:-1]):  # the last place fills itself
                page.keyboard.press(letter)
        elif kind == "best":
            for letter in (order[1], order[0]):
                page.keyboard.press(letter)
        else:
            for key in ("0", order[0], order[1], order[1]):
                page.keyboard.press(key)
        page.keyboard.press("ArrowRight")


def saved(page: Page, folder: Path, button: str = "#save") -> Path:
    with page.expect_download() as download:
        page.click(button)
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_a_whole_study_by_keyboard(page: Page, study: Study, tmp_path: Path) -> None:
    file = written(study, tmp_path)
    watch = watched(page, file)
    start(page)
    steps = study.key.num_showings
    for step in range(steps):
        assert page.locator(".line span").inner_text() == f"Question {step + 1} of {steps}"
        answer_step(page, study, step)
        if step == 2:  # in the middle of the fourth question
            page.keyboard.press(letters(study, 3)[METHODS[0]])
            chosen = page.locator(".badge").all_inner_texts()
            page.reload()
            ready(page)
            assert page.locator(".badge").all_inner_texts() == chosen
            assert page.locator(".line span").inner_text() == f"Question 4 of {steps}"
            page.keyboard.press(letters(study, 3)[METHODS[0]])  # taken back
        if step < steps - 1:
            ready(page)
    assert "You have answered 7 of 7 questions." in page.inner_text("main")
    path = saved(page, tmp_path)
    assert path.name == "answers-Zoë-張-i-.json"
    assert "Saved as answers-Zoë-張-i-.json." in page.inner_text("main")
    check_scores(study, path)
    assert watch.complaints == []
    assert watch.requests == [file.resolve().as_uri()] * 2  # opened and reloaded


def check_scores(study: Study, path: Path) -> None:
    panel = gather_answers([path], study.key)
    [answers] = panel.answers
    assert answers.rater == TIDY_RATER
    steps = shuffling_of(study.key).steps(TIDY_RATER)
    assert [(a.trial, a.showing, a.order) for a in answers.answers] == [
        (step.trial, step.showing, step.order) for step in steps
    ]
    assert all(answer.seconds >= 0 for answer in answers.answers)
    assert panel.failed == {}
    expected = {"rank": [1, 2, 3], "best": [1, 0, 0], "select": [1, 0, 0]}
    for aspect in score_study(study.key, panel).aspects:
        assert [found.value for found in aspect.scores] == expected[aspect.aspect.kind]
        assert aspect.consistency.share == 1
        assert aspect.consistency.num_repeats == 2


def test_clips_play_in_step_and_can_be_stopped(page: Page, ranking: Study, tmp_path: Path) -> None:
    watched(page, written(ranking, tmp_path))
    start(page)
    frames = "[...document.querySelectorAll('canvas')].map((c) => c.dataset.frame)"
    seen = set()
    for _ in range(200):
        now = page.evaluate(frames)
        assert len(now) == 3
        assert len(set(now)) == 1
        seen.add(now[0])
        if len(seen) == 6:
            break
        page.wait_for_timeout(40)
    assert seen == {str(index) for index in range(6)}
    page.keyboard.press("p")
    still = page.evaluate(frames)
    page.wait_for_timeout(600)
    assert page.evaluate(frames) == still
    page.click("text=From the start")
    assert page.evaluate(frames) == ["0"] * 3


def test_each_canvas_shows_its_own_clip(page: Page, ranking: Study, tmp_path: Path) -> None:
    watched(page, written(ranking, tmp_path))
    start(page)
    page.keyboard.press("p")
    page.click("text=From the start")
    blues = page.evaluate(
        "[...document.querySelectorAll('canvas')]"
        ".map((c) => c.getContext('2d').getImageData(1, 1, 1, 1).data[2])"
    )
    for method, letter in letters(ranking, 0).items():
        if method != "spoiled":
            assert blues["abc".index(letter)] == 24 * METHODS.index(method)


def test_places_by_touch_and_numbers(browser: Browser, ranking: Study, tmp_path: Path) -> None:
    context = browser.new_context(
        viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    watch = watched(page, written(ranking, tmp_path))
    page.fill("#rater", "anna")
    page.tap("#consent")
    page.tap("text=Start")
    ready(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 360

    def badges() -> list[str]:
        return page.locator(".badge").all_inner_texts()

    cards = page.locator(".card:not(.given)")
    cards.nth(1).locator(".view").tap()
    assert badges() == ["", "1", ""]
    cards.nth(0).get_by_role("button", name="Place 3").tap()
    assert badges() == ["3", "1", "2"]
    cards.nth(0).get_by_role("button", name="Place 1").tap()  # they change places
    assert badges() == ["1", "3", "2"]
    assert page.locator("footer .status").inner_text() == "Your order, best first: A > C > B"
    cards.nth(2).get_by_role("button", name="Place 2").tap()  # taken away
    assert badges() == ["1", "3", ""]
    assert page.locator("#next").is_disabled()
    cards.nth(2).locator(".view").tap()
    page.tap("#next")
    assert page.locator("[aria-current]").inner_text() == "Appearance"
    assert badges() == ["", "", ""]
    page.get_by_role("button", name="Back", exact=True).tap()
    assert badges() == ["1", "3", "2"]
    assert watch.complaints == []
    context.close()


def test_digits_place_the_clip_chosen_last(page: Page, ranking: Study, tmp_path: Path) -> None:
    watched(page, written(ranking, tmp_path))
    start(page)
    page.keyboard.press("b")
    page.keyboard.press("3")
    assert page.locator(".badge").all_inner_texts() == ["", "3", ""]
    page.keyboard.press("ArrowRight")  # not before all have a place
    assert page.locator("[aria-current]").inner_text() == "Motion"
    page.locator(".card .view").nth(3).focus()  # C; the first view is the given picture
    page.keyboard.press("1")
    assert page.locator(".badge").all_inner_texts() == ["2", "3", "1"]


def test_several_people_and_unfinished_answers(page: Page, ranking: Study, tmp_path: Path) -> None:
    file = written(ranking, tmp_path)
    watched(page, file)
    start(page, "anna")
    answer_step(page, ranking, 0, "anna")
    ready(page)
    path = saved(page, tmp_path, "text=Save what there is so far")
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert (facts["rater"], len(facts["answers"])) == ("anna", 1)
    panel = gather_answers([path], ranking.key, keep_incomplete=True)
    assert panel.incomplete == {"anna": 6}
    page.click("text=Another person answers")
    start(page, "ben")
    assert page.locator(".line span").inner_text() == "Question 1 of 7"
    page.reload()
    ready(page)
    page.click("text=Another person answers")
    start(page, "anna")
    assert page.locator(".line span").inner_text() == "Question 2 of 7"


def test_without_storage_the_page_works_and_says_so(
    page: Page, ranking: Study, tmp_path: Path
) -> None:
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage',"
        " { get() { throw new DOMException('denied', 'SecurityError'); } })"
    )
    watch = watched(page, written(ranking, tmp_path))
    assert "does not keep answers" in page.inner_text("main")
    start(page)
    answer_step(page, ranking, 0)
    ready(page)
    assert page.locator(".line span").inner_text() == "Question 2 of 7"
    path = saved(page, tmp_path, "text=Save what there is so far")
    assert len(json.loads(path.read_text(encoding="utf-8"))["answers"]) == 1
    assert watch.complaints == []


def test_hostile_texts_are_shown_as_they_are(
    page: Page, material: Material, tmp_path: Path
) -> None:
    attack = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    study = build_study(
        material, StudyOptions(seed=1, words={**WORDS, "title": attack, "instructions": attack})
    )
    said: list[str] = []
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    watch = watched(page, written(study, tmp_path))
    assert page.inner_text("h1") == attack
    assert page.title() == attack
    start(page)
    assert "<b>rolls</b>" in page.inner_text(".prompt")
    assert (said, watch.complaints) == ([], [])


def test_a_name_and_consent_are_asked_for(page: Page, ranking: Study, tmp_path: Path) -> None:
    watched(page, written(ranking, tmp_path))
    for name, agreed in (("", True), ("   ", True), ("anna", False)):
        page.fill("#rater", name)
        page.set_checked("#consent", agreed)
        page.click("text=Start")
        assert page.locator("#rater").is_visible()
    page.set_checked("#consent", True)
    page.click("text=Start")
    ready(page)


def test_reduced_motion_starts_at_rest(browser: Browser, ranking: Study, tmp_path: Path) -> None:
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    watched(page, written(ranking, tmp_path))
    start(page)
    page.wait_for_timeout(500)
    assert page.locator("canvas").first.get_attribute("data-frame") == "0"
    page.click("text=Play")
    page.wait_for_selector("canvas:not([data-frame='0'])")
    context.close()


def test_broken_clips_are_told(page: Page, ranking: Study, tmp_path: Path) -> None:
    data = json.loads(json.dumps(ranking.data))
    for trial in data["trials"]:
        trial["clips"][0]["strip"] = "data:image/webp;base64,AAAA"
    watched(page, written(replace(ranking, data=data), tmp_path))
    page.fill("#rater", "anna")
    page.set_checked("#consent", True)
    page.click("text=Start")
    page.wait_for_selector("text=These clips cannot be shown in this browser")
