"""A film that is planned: where its shots lie, its chapters and its record."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import JsonValue

from stillmotion.jobs.records import STORY
from stillmotion.jobs.story_cast import Scene
from stillmotion.jobs.story_folder import WorkFolder
from stillmotion.jobs.story_script import Story
from stillmotion.media.chapters import Chapter, webvtt
from stillmotion.media.clips import check_clip_path
from stillmotion.media.fit import Size
from stillmotion.media.provenance import InputIdentity, ModelIdentity, Provenance
from stillmotion.media.transitions import Span, Transition, spans


@dataclass(frozen=True, kw_only=True)
class Shooting:
    """A checked shot."""

    scene: Scene
    key: str
    still_key: str | None
    """Of the still that is drawn for it."""
    record: Provenance
    """As its clip will carry it, but for pictures that are not there yet."""
    num_frames: int
    """Of its clip."""
    size: Size
    """Of its clip: height and width in pixels."""

    @property
    def num_shown(self) -> int:
        """Frames of the clip that the film shows."""
        return self.num_frames - int(self.scene.repeats_a_frame)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A film that can be made."""

    story: Story
    output: Path
    work: WorkFolder
    size: Size
    shots: tuple[Shooting, ...]

    @property
    def lengths(self) -> list[int]:
        """Frames of each shot that the film shows."""
        return [shot.num_shown for shot in self.shots]

    @property
    def transitions(self) -> list[Transition]:
        """Into each shot."""
        return [shot.scene.transition for shot in self.shots]

    @property
    def spans(self) -> list[Span]:
        """Where each shot lies in the film."""
        return spans(self.lengths, self.transitions)

    @property
    def num_frames(self) -> int:
        """Of the film."""
        return self.spans[-1].stop

    @property
    def chapters(self) -> list[Chapter]:
        """A chapter lasts until the next one's first frame is seen, in a crossfade too."""
        places = self.spans
        stops = [place.start for place in places[1:]] + [places[-1].stop]
        return [
            Chapter(shot.scene.chapter, place.start, stop)
            for shot, place, stop in zip(self.shots, places, stops, strict=True)
        ]

    @property
    def chapter_file(self) -> Path:
        """`film.mp4` -> `film.chapters.vtt`."""
        return beside(self.output, "chapters.vtt")

    @property
    def chapter_text(self) -> str:
        """What is to stand in it."""
        return webvtt(self.chapters, self.story.fps)

    def has_chapters(self) -> bool:
        """Whether the chapter file is there: the same film in another format has the same."""
        return self.chapter_file.is_file() and (
            self.chapter_file.read_bytes() == self.chapter_text.encode()
        )

    def record(self, records: Sequence[Provenance]) -> Provenance:
        """The film's provenance, from those of the shots' clips, which it holds in full."""
        story, (height, width) = self.story, self.size
        shots: list[JsonValue] = [
            {
                "title": shot.scene.shot.title,
                "transition": asdict(shot.scene.transition),
                "start": place.start,
                "stop": place.stop,
                "leaves_out_first_frame": shot.scene.repeats_a_frame,
                "clip": record.model_dump(mode="json"),
            }
            for shot, place, record in zip(self.shots, self.spans, records, strict=True)
        ]
        return Provenance(
            kind="clip",
            method=STORY,
            prompt=story.title or "",
            seed=story.seed,
            model=_models(records),
            settings={
                "title": story.title, "fps": story.fps, "width": width, "height": height,
                "scale": story.scale, "shots": shots,
            },
            inputs=tuple(
                InputIdentity(role=f"shot {number}: {given.role}", sha256=given.sha256,
                              name=given.name)
                for number, record in enumerate(records, 1)
                for given in record.inputs
            ),
        )  # fmt: skip


def beside(output: Path, ending: str) -> Path:
    """`film.mp4` -> `film.ENDING`, `frames/` -> `frames.ENDING`."""
    base = output.name if check_clip_path(output).is_folder else output.stem
    return output.with_name(f"{base}.{ending}")


def _models(records: Sequence[Provenance]) -> ModelIdentity:
    """The model of all shots; of several, their names and a sha256 over their fingerprints."""
    models = sorted({(record.model.name, record.model.fingerprint) for record in records})
    if len(models) == 1:
        return records[0].model
    prints = "\n".join(fingerprint for _, fingerprint in models)
    return ModelIdentity(
        name=" + ".join(name for name, _ in models),
        fingerprint=hashlib.sha256(prints.encode()).hexdigest(),
    )
