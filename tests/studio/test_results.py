"""Films with their chapters, scores, and what results stand beside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.media.samples import moving_disc, provenance
from tests.studio.conftest import Hand
from tests.studio.test_boards import HOSTILE, Tags, draw, made_clip, now

from stillmotion.jobs.model import parse_job
from stillmotion.media.chapters import Chapter, webvtt
from stillmotion.media.clips import save_clip
from stillmotion.queueing.publishing import made_in
from stillmotion.studio.actions import animate_jobs, edit_jobs, story_jobs
from stillmotion.studio.boards import clips_board, history_board, queue_board
from stillmotion.studio.chapters import read_chapters
from stillmotion.studio.desk import Desk, Refusal
from stillmotion.studio.scores import scores_table

SCRIPT = f"title: {json.dumps(HOSTILE)}\nshots:\n  - draw: a red balloon\n"
SCORES: dict[str, Any] = {
    "prompt": "",
    "extractors": {"clip": {"name": "CLIP-miniature"}},
    "clips": [
        {"name": HOSTILE, "num_frames": 6,
         "metrics": {"i1_mse": 0.0, "i1_psnr": None, "text_sim": 0.25, "unknown": 3.0}},
        {"name": "b.mp4", "num_frames": 6, "metrics": {"i1_mse": 2.5, "i1_psnr": 44.1514}},
    ],
}  # fmt: skip


def film(desk: Desk, hand: Hand) -> str:
    """The job of a film that is done."""
    [job] = desk.submit(lambda: story_jobs({"script": SCRIPT, "format": "mp4"}))
    claim = hand.claim()
    save_clip(moving_disc(6), claim.folder / "film.mp4", provenance=provenance("a film"))
    chapters = webvtt([Chapter("a <b> & c", 0, 4), Chapter("On", 4, 6)], 8.0)
    (claim.folder / "film.chapters.vtt").write_text(chapters, encoding="utf-8")
    hand.leases.complete(claim, made_in(claim.folder))
    return job


def scored(desk: Desk, hand: Hand, content: str) -> str:
    """The job of scores that say `content`, of a clip that is made first."""
    still, clip = made_clip(desk, hand)
    made = desk.mains(desk.job(clip))[0].id
    job = {"kind": "evaluate", "clips": [{"artifact": made}], "still": {"artifact": still}}
    [id_] = desk.submit(lambda: (parse_job(job),))
    claim = hand.claim()
    (claim.folder / "scores.json").write_text(content, encoding="utf-8")
    hand.leases.complete(claim, made_in(claim.folder))
    return id_


def test_a_film_has_its_chapters_and_can_be_downloaded_with_them(desk: Desk, hand: Hand) -> None:
    job = film(desk, hand)
    tags = Tags(clips_board(now(desk, made=(job,))))
    seeks = [attributes["data-seek"] for _, attributes in tags.found if "data-seek" in attributes]
    assert seeks == ["0.000", "0.500"]
    assert "0:00.0 a <b> & c" in tags.said
    assert HOSTILE[:60] in tags.said
    assert "script" not in {tag for tag, _ in tags.found}
    assert "film.chapters.vtt" in tags.said
    assert tags.acts() == ["last-frame", "settings", "again", "drop"]


def test_chapters_are_read_as_they_are_written() -> None:
    told = webvtt([Chapter("a --> b", 0, 8), Chapter("c", 8 * 3700, 8 * 3701)], 8.0)
    assert read_chapters(told) == [(0.0, "a --> b"), (3700.0, "c")]
    assert read_chapters("") == []


def test_scores_are_a_table_with_what_each_number_means(desk: Desk, hand: Hand) -> None:
    job = scored(desk, hand, json.dumps(SCORES))
    tags = Tags(clips_board(now(desk, made=(job,))))
    assert tags.acts() == ["settings", "again", "drop"]
    rows = [attributes for tag, attributes in tags.found if attributes.get("scope") == "row"]
    assert len(rows) == 3
    assert all(str(row["title"]).strip() for row in rows)
    for said in ("I1-PSNR", "exact", "44.15 dB", "Text-Sim (CLIP-miniature)", "0.250", "–"):
        assert said in tags.said
    assert "script" not in {tag for tag, _ in tags.found}
    assert "open" in Tags(history_board(now(desk), 9)).acts()
    assert "Scores" in Tags(queue_board(now(desk))).said


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"clips": [1]}', '{"clips": [{}]}'])
def test_scores_that_cannot_be_read_are_told(desk: Desk, hand: Hand, content: str) -> None:
    job = scored(desk, hand, content)
    assert "cannot be read" in scores_table(desk, desk.mains(desk.job(job))[0])


def test_results_stand_beside_all_that_they_were_made_of(desk: Desk, hand: Hand) -> None:
    still, clip = made_clip(desk, hand)
    [end] = draw(desk, seed=5)
    hand.finish()
    values = {"still_id": still, "prompt": "a", "seed": 3, "end": "picture",
              "end_id": desk.mains(desk.job(end))[0].id}  # fmt: skip
    [between] = desk.submit(lambda: animate_jobs(values))
    hand.finish()
    made = desk.mains(desk.job(clip))[0].id
    anew = {"clip_id": made, "prompt": "b", "seed": 4}
    [edited] = desk.submit(lambda: edit_jobs(anew, stills=False))
    hand.finish()
    said = Tags(clips_board(now(desk, made=(between,)))).said
    assert "The still" in said
    assert "The end" in said
    tags = Tags(clips_board(now(desk, made=(edited,))))
    assert "The clip before" in tags.said
    assert [tag for tag, _ in tags.found].count("video") == 2


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("", "The script is not a script of shots; it needs 'shots:' and a list."),
        ("a: [", "The script, line 1"),
        ("shots:\n - draw: a\n   frames: many", "The script, shot 1: frames is 'many'"),
        ("shots:\n - image: cat.png", "here it can be 'still'"),
        ("shots:\n - image: still", "'still', but none is chosen"),
        ("shots:\n - draw: a\n   last_frame: end", "'end', but none is chosen"),
        ("shots:\n - draw: a\n   model: sd15", "offered here"),
    ],
)
def test_what_is_wrong_with_a_script_is_told_at_its_field(
    desk: Desk, script: str, said: str
) -> None:
    with pytest.raises(Refusal) as caught:
        desk.submit(lambda: story_jobs({"script": script}))
    assert caught.value.field == "script"
    assert said in caught.value.sentence


def test_a_script_takes_the_chosen_pictures(desk: Desk, hand: Hand, tmp_path: Path) -> None:
    still, _ = made_clip(desk, hand)
    script = "shots:\n - image: still\n   last_frame: end"
    [job] = desk.submit(
        lambda: story_jobs({"script": script, "still_id": still, "end_id": still, "format": "gif"})
    )
    told = desk.job(job).job
    assert told["pictures"] == {"still": {"artifact": still}, "end": {"artifact": still}}
    assert told["format"] == "gif"
