"""`stillmotion animate` with a DynamiCrafter model: from what was said to written clips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillmotion.animatezero.requests import OnPreview
from stillmotion.diffusion.speed import SpeedSettings
from stillmotion.dynamicrafter.loading import LoadedDynamiCrafter, load_dynamicrafter
from stillmotion.dynamicrafter.pipeline import AnimateExtras
from stillmotion.dynamicrafter.settings import DynamiCrafterSettings
from stillmotion.errors import InputError
from stillmotion.jobs.advice import tell_about_speed
from stillmotion.jobs.common import chosen_seed, chosen_speed
from stillmotion.jobs.context import Say
from stillmotion.jobs.dynamicrafter_recordings import (
    Recipe,
    Recording,
    read_recording,
    tell_what_differs,
)
from stillmotion.jobs.dynamicrafter_wishes import Wish
from stillmotion.jobs.outputs import numbered_paths
from stillmotion.jobs.previews import fitted_preview, sheet_maker
from stillmotion.jobs.sources import Found
from stillmotion.media.clips import read_provenance, save_clip
from stillmotion.media.fit import fit_picture
from stillmotion.media.images import load_image, side_car_path
from stillmotion.media.provenance import (
    InputIdentity,
    ModelIdentity,
    Provenance,
    fingerprint_pixels,
)
from stillmotion.models.registry import MINIATURE_DYNAMICRAFTER, MINIATURE_INTERPOLATION
from stillmotion.runtime.memory import AUTO, PRESETS, MemoryPlan

METHOD = "dynamicrafter"
_DEFAULT_FPS = 8.0
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Job:
    """A checked request."""

    wish: Wish
    model: LoadedDynamiCrafter
    prompt: str
    seed: int
    settings: DynamiCrafterSettings
    recipe: Recipe
    picture: Picture
    last: Picture | None

    def run(self, progress: Callable[[int, int], None]) -> dict[str, Any]:
        """Make and write the clips, each as soon as it is made; the facts of what was made."""
        pipe, count = self.model.pipeline, self.wish.count
        steps = self.settings.num_inference_steps
        rows = []
        for index, path in enumerate(numbered_paths(self.wish.output, count)):

            def tick(done: int, _: int, before: int = index * steps) -> None:
                progress(before + done, count * steps)

            seed = self.seed + index
            extras: AnimateExtras = {
                "memory": _plan(self.wish.memory),
                "progress": tick,
                "speed": SpeedSettings.from_record(self.recipe.speed),
            }
            if self.last is not None:
                extras["last_frame"] = self.last
            if (preview := self._preview()) is not None:
                extras["on_preview"] = preview
            made = pipe.animate(
                self.picture, self.prompt, seed=seed, num_frames=self.recipe.num_frames,
                settings=self.settings, **extras,
            )  # fmt: skip
            rows.append(self._write(made, path, seed))
        return {
            "model": self.model.reference,
            "method": METHOD,
            "prompt": self.prompt,
            "num_frames": self.recipe.num_frames - int(self.recipe.seamless),
            "fps": self.recipe.fps,
            "speed": SpeedSettings.from_record(self.recipe.speed).name,
            **rows[0],
            "clips": rows,
        }

    def _preview(self) -> OnPreview | None:
        """For those who watch, who can do without."""
        pipe, steps = self.model.pipeline, self.settings.num_inference_steps
        if self.wish.on_preview is None:
            return None
        try:
            fitted, _ = fit_picture(self.picture, pipe.size_of(self.settings))
            table = fitted_preview(pipe.vae, fitted)
        except InputError:
            return None
        return sheet_maker(table, pipe.vae_scale_factor, steps, self.wish.on_preview)

    def _write(self, made: Any, path: Path, seed: int) -> dict[str, Any]:
        kept = slice(None, -1) if self.recipe.seamless else slice(None)
        frames, latents = made.frames[0][kept], made.latents[:, :, kept]
        save_clip(
            frames,
            path,
            fps=self.recipe.fps,
            provenance=self.record(seed),
            overwrite=self.wish.overwrite,
            latents=latents if path.suffix.lower() == ".safetensors" else None,
            scale=self.recipe.scale,
        )
        return {
            "path": str(path),
            "record": str(side_car_path(path)),
            "seed": seed,
            "first_frame_is_the_picture": self.settings.exact_first_frame,
        }

    def record(self, seed: int) -> Provenance:
        """The provenance of the clip with this seed."""
        inputs = [_identity("still", self.picture, self.wish.picture)]
        if self.recipe.end == "picture" and self.last is not None:
            inputs.append(_identity("last_frame", self.last, self.wish.last_frame))
        left_out = {"speed"} if self.recipe.speed is None else set()
        return Provenance(
            kind="clip",
            method=METHOD,
            prompt=self.prompt,
            negative_prompt=self.settings.negative_prompt,
            seed=seed,
            model=ModelIdentity(
                name=self.model.name, fingerprint=self.model.pipeline.model_fingerprint
            ),
            settings=self.recipe.model_dump(mode="json", exclude=left_out),
            inputs=tuple(inputs),
        )


def told(facts: dict[str, Any]) -> str:
    """What was made, a line for each clip."""
    length = "1 frame" if facts["num_frames"] == 1 else f"{facts['num_frames']} frames"
    exact = "is" if facts["first_frame_is_the_picture"] else "is like"
    return "\n".join(
        f"{clip['path']}  ({length}, seed {clip['seed']}; the first frame {exact} the picture)"
        for clip in facts["clips"]
    )


def prepare(wish: Wish, say: Say, load: Callable[..., LoadedDynamiCrafter] | None = None) -> Job:
    """Load the model (by `load`) and the pictures, fill in what was left open, and check it all.

    Raises:
        InputError: nothing to animate, or something that does not fit.
        ModelError: the model is not here, or not for this method.
    """
    recording = read_recording(wish.source) if wish.source is not None else None
    if wish.picture is None:
        raise InputError(
            "there is no picture to animate; give one"
            + (f", the one that '{wish.source}' was made from" if recording else "")
        )
    model = (load or load_dynamicrafter)(
        _model_name(wish, recording), device=wish.device, download=wish.download
    )
    picture = load_image(wish.picture.path)
    is_loop = wish.is_loop or wish.seamless
    if recording is not None and wish.last_frame is None:
        is_loop = is_loop or recording.recipe.end == "loop"
        if recording.recipe.end == "picture":
            raise InputError(
                f"'{wish.source}' ends with a picture that it does not hold; give that again with "
                "--last-frame PICTURE."
            )
    last = load_image(wish.last_frame.path) if wish.last_frame is not None else None
    last = picture if is_loop else last
    settings = _settings(wish, model, recording)
    recipe = _recipe(wish, model, recording, settings, is_loop=is_loop, has_last=last is not None)
    prompt = wish.prompt
    if prompt is None:
        prompt = recording.provenance.prompt if recording else _own_prompt(wish.picture.path)
    if not prompt.strip():
        say("the prompt is empty, so nothing says what moves")
    tell_about_speed(SpeedSettings.from_record(recipe.speed), say)
    if recording is not None:
        tell_what_differs(wish, model, recording, picture, say)
    recorded_seed = None if recording is None else recording.provenance.seed
    seed = chosen_seed(recorded_seed if wish.seed is None else wish.seed)
    job = Job(wish, model, prompt, seed, settings, recipe, picture, last)
    _plan(wish.memory)
    model.pipeline.check(picture, recipe.num_frames, settings, last)
    return job


def _recipe(
    wish: Wish,
    model: LoadedDynamiCrafter,
    recording: Recording | None,
    settings: DynamiCrafterSettings,
    *,
    is_loop: bool,
    has_last: bool,
) -> Recipe:
    kept = recording.recipe if recording is not None else None
    own = model.folder.description.num_frames
    recorded_speed = SpeedSettings.from_record(kept.speed) if kept else None
    return Recipe(
        num_frames=wish.num_frames or (kept.num_frames if kept else own),
        dynamicrafter=settings.as_json(),
        fps=wish.fps or (kept.fps if kept else _DEFAULT_FPS),
        scale=wish.scale or (kept.scale if kept else 1),
        end="loop" if is_loop else "picture" if has_last else "open",
        seamless=wish.seamless or bool(kept and kept.seamless and is_loop and not wish.is_loop),
        speed=chosen_speed(wish.speed, recorded_speed).record(),
    )


def _settings(
    wish: Wish, model: LoadedDynamiCrafter, recording: Recording | None
) -> DynamiCrafterSettings:
    base = model.settings
    if recording is not None:
        base = DynamiCrafterSettings.from_json(recording.recipe.dynamicrafter)
    return base.changed(**wish.settings)


def _model_name(wish: Wish, recording: Recording | None) -> str:
    if wish.model is not None:
        return wish.model
    if recording is not None:
        return recording.provenance.model.name
    has_two_ends = wish.last_frame is not None or wish.is_loop or wish.seamless
    return MINIATURE_INTERPOLATION if has_two_ends else MINIATURE_DYNAMICRAFTER


def _own_prompt(picture: Path) -> str:
    """What a drawn still was asked to show; of other pictures nothing is known."""
    try:
        return read_provenance(picture).prompt
    except InputError:
        return ""


def _identity(role: str, picture: Picture, given: Found | None) -> InputIdentity:
    name = None if given is None else given.name
    return InputIdentity(role=role, sha256=fingerprint_pixels(picture), name=name)


def _plan(memory: str) -> MemoryPlan:
    """Of a plan only what this method uses: branches one after the other, decoding in parts."""
    if memory == AUTO:
        return MemoryPlan()
    if memory not in PRESETS:
        raise InputError(f"--memory is '{memory}'; it can be {AUTO}, {', '.join(PRESETS)}.")
    return PRESETS[memory]
