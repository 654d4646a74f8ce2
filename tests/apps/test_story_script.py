"""Scripts of `stillmotion story`: each mistake is told in one sentence, before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.apps.conftest import Run, check_refused, save_picture
from tests.apps.test_dynamicrafter import saved

from stillmotion.errors import InputError
from stillmotion.jobs.methods import DYNAMICRAFTERS_OWN
from stillmotion.jobs.model import AnimateJob
from stillmotion.jobs.sources import Found
from stillmotion.jobs.story_cast import beside_script, cast
from stillmotion.jobs.story_script import Options, read_script
from stillmotion.media.transitions import CUT, Transition

STAR = "{draw: a star}"


def script(here: Path, text: str) -> Path:
    path = here / "story.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def shot(fields: str) -> str:
    """A script whose second shot has these fields."""
    return f"shots:\n  - draw: a star\n  - title: Storm\n    {fields}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # The file
        ("", "'story.yaml' is not a script of shots"),
        ("- a\n", "'story.yaml' is not a script of shots"),
        ("a: b: c", "'story.yaml', line 1: mapping values are not allowed here"),
        ("shots:\n- draw: a\n  draw: b\n", "'story.yaml', line 3: 'draw' is there twice"),
        ("shots: [!!python/object:os.system {}]", "could not determine a constructor"),
        ("title: 2024-13-45", "cannot be read as YAML: month must be in 1..12"),
        ("[" * 5000, "nested too deeply"),
        # The film
        ("fps: 8", "the film: shots is missing; give it."),
        ("shots: []", "the film: shots is []; give at least one."),
        ("shots: 3", "the film: shots is 3; give a list"),
        (f"fps: 0\nshots: [{STAR}]", "the film: fps is 0; give a number above 0.0."),
        (f"fps: .inf\nshots: [{STAR}]", "the film: fps is inf; give a finite number."),
        (f"seed: -1\nshots: [{STAR}]", "the film: seed is -1; give a number from 0 up."),
        (f"width: 64\nshots: [{STAR}]", "the film: width and height go together"),
        (f"title: 2024-01-01\nshots: [{STAR}]", "the film: title is 2024-01-01; give text, in"),
        (f"shot: 1\nshots: [{STAR}]", "the film: there is no field 'shot'; there is: shots."),
        (f"defaults: {{title: a}}\nshots: [{STAR}]", "defaults: there is no field 'title'"),
        (f"defaults: {{frames: 0}}\nshots: [{STAR}]", "defaults: frames is 0; give a number from"),
        (f"defaults: {{eta: 1}}\nshots: [{STAR}]", "defaults: eta is for none of the shots"),
        (
            f"defaults: {{method: dynamicrafter, model: miniature}}\nshots: [{STAR}]",
            "defaults: model is for none of the shots",
        ),
        # Shots
        (shot("image: a.png\n    draw: b"), "shot 2 'Storm': give exactly one of image, draw and"),
        (shot("prompt: b"), "shot 2 'Storm': give exactly one of image, draw and"),
        (shot("continue: true"), "shot 2 'Storm': it continues the shot before; say with prompt"),
        (shot("draw: 12"), "shot 2 'Storm': draw is 12; give text, in quotes if"),
        (shot("draw: ''"), "shot 2 'Storm': draw is ''; give text that is not empty"),
        (
            shot("draw: a\n    framse: 3"),
            "shot 2 'Storm': there is no field 'framse'; there is: fr",
        ),
        (shot("draw: a\n    frames: many"), "shot 2 'Storm': frames is 'many'; give a whole num"),
        (shot("draw: a\n    frames: true"), "shot 2 'Storm': frames is true; give a whole number"),
        (shot("draw: a\n    method: magic"), "it can be animatezero or dynamicrafter."),
        (shot("draw: a\n    motion_strength: 3"), "motion_strength is 3; give a number of at most"),
        (shot("draw: a\n    transition: crossfade"), "transition is 'crossfade'; give cut, {cros"),
        (shot("draw: a\n    transition: {fade: 0}"), "transition is {'fade': 0}; give cut"),
        (shot("draw: a\n    transition: {wipe: 2}"), "transition is {'wipe': 2}; give cut"),
        (shot("draw: a\n    gate_scale: 5"), "shot 2 'Storm': gate_scale is 5; give a list, each"),
        (shot("draw: a\n    gate_scale: [5:0.5]"), "gate_scale.0 is 300.5; give text, in quotes"),
        (shot("image: a.png"), "shot 2 'Storm': there is no picture 'a.png'; paths are relative"),
        (shot("draw: a\n    last_frame: b.png"), "shot 2 'Storm': there is no picture 'b.png'"),
        (shot("draw: a\n    eta: 1"), "shot 2 'Storm': eta is not an option of animatezero"),
        (
            shot("draw: a\n    method: dynamicrafter\n    photograph: true"),
            "shot 2 'Storm': photograph is not an option of dynamicrafter",
        ),
        (
            shot("image: p.png\n    method: dynamicrafter\n    look: neon"),
            "shot 2 'Storm': look is not an option of dynamicrafter",
        ),
        (shot("draw: a\n    drawing_model: b"), "shot 2 'Storm': drawing_model is for shots that"),
        ("shots: [{continue: true, prompt: a}]", "shot 1: there is no shot before it to continue"),
    ],
)
def test_mistakes_in_a_script(text: str, said: str, run: Run, here: Path) -> None:
    script(here, text)
    save_picture(here / "p.png", 64, 64)
    check_refused(run, here, said, "story", "story.yaml", "-o", "film.mp4")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("draw: a\n    model: nothing", "shot 2 'Storm': unknown model 'nothing'"),
        ("draw: a\n    look: nothing", "shot 2 'Storm': the model 'miniature' has no look 'nothi"),
        ("draw: a\n    steps: 2000", "shot 2 'Storm': num_inference_steps is 2000; give at most"),
        ("draw: a\n    frames: 6\n    transition: {crossfade: 6}", "a crossfade of 6 frames"),
        ("draw: a\n    frames: 3\n    transition: {fade: 4}", "shot 2 'Storm': its transitions"),
        ("continue: true\n    prompt: a\n    frames: 1", "give at least 2"),
        ("image: text.png", "shot 2 'Storm': 'text.png' is not a PNG or JPEG or WEBP picture"),
        ("draw: a\n    model: {interpolating}", "shot 2 'Storm': This model goes from one picture"),
        (
            "draw: a\n    model: {crafter}\n    last_frame: p.png",
            "shot 2 'Storm': This model was not trained to end with a given picture",
        ),
        (
            "draw: a\n    model: {crafter}\n    frame_stride: 3",
            "shot 2 'Storm': This model was not trained with frame_stride",
        ),
        ("image: p.png\n    method: dynamicrafter\n    model: miniature", "not for DynamiCrafter"),
    ],
)
def test_what_the_models_cannot_do(
    fields: str,
    said: str,
    run: Run,
    here: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    models = tmp_path_factory.mktemp("models")
    if "{interpolating}" in fields:
        fields = fields.replace("{interpolating}", str(saved(models / "e", interpolates=True)))
    if "{crafter}" in fields:
        fields = fields.replace("{crafter}", str(saved(models / "c")))
    save_picture(here / "p.png", 64, 64)
    (here / "text.png").write_text("not a picture")
    script(here, "defaults: {steps: 2, frames: 6}\n" + shot(fields))
    if "2000" in fields:
        script(here, shot(fields))
    check_refused(run, here, said, "story", "story.yaml", "-o", "film.mp4")


def test_a_last_frame_that_does_not_fit_is_told_in_the_words_of_scripts(
    run: Run, here: Path, still: Path
) -> None:
    script(here, f"shots: [{{image: '{still}', steps: 3}}]")
    error = run("story", "story.yaml", "-o", "film.mp4").error
    assert error.startswith("shot 1: 'plain.png' was drawn in 2 steps")
    assert "leave out steps, draw it again, or add photograph" in error


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-o", "film.xyz"), "'film.xyz' has the unknown ending"),
        (("-o", "taken.mp4"), "'taken.mp4' exists already"),
        (("-o", "other.mp4"), "'other.chapters.vtt' exists already"),
        (("-o", "film.mp4", "--folder", "taken.mp4"), "is a file, not a folder"),
        (("-o", "film.mp4", "--memory", "huge"), "huge"),
        (("-o", "film.mp4", "--device", "abacus"), "abacus"),
    ],
)
def test_what_cannot_be_written(options: tuple[str, ...], said: str, run: Run, here: Path) -> None:
    script(here, f"shots: [{STAR}]")
    (here / "taken.mp4").touch()
    (here / "other.chapters.vtt").touch()
    check_refused(run, here, said, "story", "story.yaml", *options)


def test_a_film_that_is_too_large(run: Run, here: Path) -> None:
    script(here, f"width: 8000\nheight: 9000\nshots: [{STAR}]")
    said = "the film: 16 frames of 8000 x 9000 pixels are more than one clip may have"
    check_refused(run, here, said, "story", "story.yaml", "-o", "film.webm")
    script(here, f"fps: 200\nshots: [{STAR}]")
    said = "the film: A gif clip plays at most"
    check_refused(run, here, said, "story", "story.yaml", "-o", "film.gif")


def test_no_script(run: Run, here: Path) -> None:
    check_refused(run, here, "there is no script 'a.yaml'", "story", "a.yaml", "-o", "film.mp4")
    (here / "a.yaml").write_bytes(b"title: \xff")
    check_refused(run, here, "'a.yaml' is not UTF-8 text", "story", "a.yaml", "-o", "film.mp4")


def test_defaults_are_for_the_shots_that_can_have_them(here: Path) -> None:
    save_picture(here / "p.png", 8, 8)
    text = """
        seed: 3
        defaults: {look: neon, frames: 5, eta: 0.5, model: miniature, transition: {crossfade: 2}}
        shots:
          - {draw: a}
          - {image: p.png, method: dynamicrafter, frames: 7}
          - {draw: a, method: dynamicrafter, seed: 1}
          - {continue: true, prompt: b}
          - {continue: true, prompt: b, transition: {fade: 1}, look: ink}
    """
    first, second, third, fourth, fifth = cast(read_script(script(here, text)), beside_script(here))
    assert [s.method for s in (first, second, third, fourth)] == [
        "animatezero", "dynamicrafter", "dynamicrafter", "animatezero",
    ]  # fmt: skip
    assert [s.seed for s in (first, second, third, fourth)] == [3, 4, 1, 6]
    assert (first.shot.look, first.shot.eta, first.shot.model) == ("neon", None, "miniature")
    assert (second.shot.look, second.shot.eta, second.shot.model) == (None, 0.5, None)
    assert (third.shot.look, third.shot.frames, second.shot.frames) == ("neon", 5, 7)
    assert [first.transition, second.transition] == [CUT, Transition("crossfade", 2)]
    assert (fourth.transition, fourth.repeats_a_frame) == (CUT, True)
    assert (fifth.transition, fifth.repeats_a_frame) == (Transition("fade", 1), False)
    assert (fourth.shot.look, fifth.shot.look) == ("neon", "ink")


def test_scripts_have_the_options_of_the_methods() -> None:
    fields = Options.model_fields.keys()
    assert set(DYNAMICRAFTERS_OWN) <= fields
    assert fields - {"drawing_model", "transition"} <= AnimateJob.model_fields.keys()


def test_chapters_are_named_by_title_or_text(here: Path) -> None:
    text = "shots: [{draw: a, title: T, prompt: p}, {draw: a, prompt: 'p\n\n q'}, {draw: a}]"
    found = cast(read_script(script(here, text)), beside_script(here))
    assert [scene.chapter for scene in found] == ["T", "p q", "a"]


def test_one_shot_of_a_picture_alone_needs_no_words(here: Path) -> None:
    save_picture(here / "p.png", 8, 8)
    [scene] = cast(read_script(script(here, "shots: [{image: p.png}]")), beside_script(here))
    assert scene.chapter == "Shot 1"
    assert scene.picture == Found(here / "p.png", "p.png")


def test_a_script_of_a_megabyte_is_refused(here: Path) -> None:
    with pytest.raises(InputError, match="a script has at most"):
        read_script(script(here, "#" * 1_000_001))
