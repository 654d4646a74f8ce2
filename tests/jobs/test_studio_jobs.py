"""What the studio's forms submit is the job that the command line builds for the same choices."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from tests.jobs.doors import Http, job_of_command

from stillmotion.apps.job_words import with_uploads
from stillmotion.jobs.model import AnyJob, job_json, parse_job
from stillmotion.server.service import make_service
from stillmotion.server.tokens import LOCAL
from stillmotion.studio.actions import (
    animate_jobs,
    draw_jobs,
    dynamicrafter_jobs,
    edit_jobs,
    story_jobs,
)
from stillmotion.studio.animate_panel import animate_form, text_form
from stillmotion.studio.desk import Desk
from stillmotion.studio.draw_panel import draw_form
from stillmotion.studio.dynamicrafter_panel import dynamicrafter_form
from stillmotion.studio.edit_panel import edit_form
from stillmotion.studio.forms import Form
from stillmotion.studio.offers import Offers
from stillmotion.studio.story_panel import story_form

Said = dict[str, Any]
MORE = {"format": "gif", "fps": "12", "scale": "2", "steps": "2", "guidance": "6,5",
        "negative": "rain", "speed": "fast"}  # fmt: skip
AS_OPTIONS = "--fps 12 --scale 2 --steps 2 --guidance 6.5 --negative rain --speed fast -o a.gif"
ANIMATE = "animate still-1.png 'it rises' --seed 3"
# What the sliders and boxes of that form say when nobody has touched them.
UNTOUCHED = "--frames 16 --motion-strength 1 --drift-correction on"
SCRIPT = """
seed: 4
shots:
  - image: still
    prompt: it rises
    last_frame: end
  - draw: a ball
    transition: {fade: 2}
"""
# Tab, what is typed and chosen there, the command line that says the same.
CHOICES: list[tuple[str, Said, str]] = [
    ("draw", {"prompt": "a ball", "seed": "7", "count": 1}, "draw 'a ball' --seed 7 --count 1"),
    ("draw", {"prompt": " a ball ", "seed": "7", "count": 1, "look": "neon", "steps": "2",
              "guidance": "3", "negative": "rain", "width": "64", "height": "32",
              "speed": "turbo"},
     "draw 'a ball' --seed 7 --count 1 --look neon --steps 2 --guidance 3 --negative rain "
     "--width 64 --height 32 --speed turbo"),
    ("animate", {"prompt": "it rises", "seed": "3"}, f"{ANIMATE} {UNTOUCHED}"),
    ("animate", {"prompt": "it rises", "seed": "3", "end": "loop"},
     f"{ANIMATE} {UNTOUCHED} --loop"),
    ("animate", {"prompt": "it rises", "seed": "3", "end": "seamless"},
     f"{ANIMATE} {UNTOUCHED} --seamless"),
    ("animate", {"prompt": "it rises", "seed": "3", "end": "picture"},
     f"{ANIMATE} {UNTOUCHED} --last-frame still-2.png"),
    ("animate", {"prompt": "it rises", "seed": "3", "frames": 5, "motion_strength": 1.5,
                 "time_travel": "2", "photograph": True, "drift_correction": False, "fit": "pad",
                 "first_frame": "reconstruction", **MORE},
     f"{ANIMATE} --frames 5 --motion-strength 1.5 --time-travel 2 --photograph "
     f"--drift-correction off --fit pad --first-frame reconstruction {AS_OPTIONS}"),
    ("text", {"prompt": "a ball", "towards": "a star", "prompt_at": "4: a fish\n6: a cat",
              "seed": "3", "look": "neon", "frames": 8, **MORE},
     "animate still-1.png 'a ball' --towards 'a star' --prompt-at '4:a fish' --prompt-at '6:a cat' "
     f"--seed 3 --look neon --frames 8 --drift-correction off {AS_OPTIONS}"),
    ("dynamicrafter", {"prompt": "it rises", "seed": "3"},
     f"{ANIMATE} --method dynamicrafter --exact-first-frame"),
    ("dynamicrafter", {"prompt": "it rises", "seed": "3", "end": "picture", "frames": "8",
                       "model": "miniature-dynamicrafter-interp", "exact_first_frame": False,
                       "frame_stride": "3", "conditioning_fps": "10", "image_guidance": "2",
                       "guidance_rescale": "0.5", "eta": "1", **MORE},
     f"{ANIMATE} --method dynamicrafter --last-frame still-2.png --frames 8 --frame-stride 3 "
     "--model miniature-dynamicrafter-interp --conditioning-fps 10 --image-guidance 2 "
     f"--guidance-rescale 0.5 --eta 1 {AS_OPTIONS}"),
    ("edit", {"prompt": "a star", "seed": "3"}, "edit source.gif 'a star' --seed 3"),
    ("edit", {"prompt": "a star", "seed": "3", "control": "given", "look": "neon", "frames": "2",
              "start": "1", "stride": "2", "control_scale": "0,5", "animatediff": True, **MORE},
     "edit source.gif 'a star' --seed 3 --control given --look neon --frames 2 --start 1 "
     f"--stride 2 --control-scale 0.5 --animatediff {AS_OPTIONS}"),
    ("edit-stills", {"prompt": "a star", "seed": "3"},
     "edit source.gif 'a star' --seed 3 -o first.png"),
    ("edit-from", {"prompt": "a star", "seed": "3", "steps": "2"},
     "edit source.gif 'a star' --still still-1.png --seed 3 --steps 2"),
    ("story", {"script": SCRIPT, "format": "webm"}, "story script.yaml -o film.webm"),
]  # fmt: skip
MAKERS: Mapping[str, Callable[[Said], tuple[AnyJob, ...]]] = {
    "draw": draw_jobs,
    "animate": animate_jobs,
    "text": animate_jobs,
    "dynamicrafter": dynamicrafter_jobs,
    "edit": partial(edit_jobs, stills=False),
    "edit-stills": partial(edit_jobs, stills=True),
    "edit-from": partial(edit_jobs, stills=False),
    "story": story_jobs,
}


@pytest.fixture(scope="module")
def desk(root: Path, stills: list[str]) -> Iterator[Desk]:
    """At the library that has the stills; what it queues is never made."""
    found = Desk(make_service(root), LOCAL)
    yield found
    for job in found.queue.waiting():
        found.act_on_job("cancel", job.id)


@pytest.fixture(scope="module")
def forms(desk: Desk) -> dict[str, Form]:
    """Those of the page."""
    offers = Offers.of(desk.service)
    with gr.Blocks():
        edit = edit_form(offers)[0]
        return {
            "draw": draw_form(offers)[0],
            "animate": animate_form()[0],
            "text": text_form(offers)[0],
            "dynamicrafter": dynamicrafter_form(offers)[0],
            "story": story_form()[0],
            **dict.fromkeys(("edit", "edit-stills", "edit-from"), edit),
        }


@pytest.fixture(scope="module")
def folder(here: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command lines name."""
    found = tmp_path_factory.mktemp("studio") / "files"
    shutil.copytree(here, found)
    (found / "script.yaml").write_text(SCRIPT, encoding="utf-8")
    return found


@pytest.fixture(scope="module")
def ids(stills: list[str], server: Http, folder: Path) -> dict[str, str]:
    """What the library calls these files."""
    first, second = stills
    clip = server.artifact(folder / "source.gif")["id"]
    return {"still-1.png": first, "still-2.png": second, "source.gif": clip,
            "still": first, "end": second}  # fmt: skip


def submitted(form: Form, said: Said) -> Said:
    """The values that a handler gets of a form in which only `said` was touched."""
    assert said.keys() <= form.fields.keys()
    data = {
        field: field.preprocess(said.get(name, field.value)) for name, field in form.fields.items()
    }
    return form.values(data)


def without_names(value: Any) -> Any:
    """A job's fields, where the studio leaves it to the library how a picture is called."""
    if isinstance(value, dict):
        names = {"name"} if "artifact" in value else set()
        return {key: without_names(one) for key, one in value.items() if key not in names}
    return [without_names(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("tab", "said", "command"), CHOICES, ids=[tab for tab, *_ in CHOICES])
def test_the_studio_submits_the_job_of_the_command_line(
    tab: str, said: Said, command: str, forms: dict[str, Form], desk: Desk, ids: dict[str, str],
    folder: Path, tmp_path: Path,
) -> None:  # fmt: skip
    output = "a.png" if tab == "draw" else "a.mp4"
    words = shlex.split(command)
    where = [] if "-o" in words else ["-o", str(tmp_path / output)]
    job = job_of_command(folder, *words, *where)
    expected = parse_job(without_names(with_uploads(job, lambda path: {"id": ids[path.name]})))

    chosen = {"end_id": ids["end"], "clip_id": ids["source.gif"]}
    if tab != "edit":
        chosen["still_id"] = ids["still"]
    values = submitted(forms[tab], said) | chosen
    [made] = MAKERS[tab](values)
    assert made == expected

    [job_id] = desk.submit(lambda: MAKERS[tab](values))
    assert desk.job(job_id).job == json.loads(job_json(expected))
