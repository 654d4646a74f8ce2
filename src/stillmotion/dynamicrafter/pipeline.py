"""The DynamiCrafter pipeline: a picture and a text become a clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from diffusers.utils import BaseOutput
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModel

from stillmotion.adapters.lean_savings import Savings
from stillmotion.diffusion.speed import EXACT, SpeedSettings, speed_of
from stillmotion.dynamicrafter.clip_job import ClipJob, Picture
from stillmotion.dynamicrafter.conditioning import Pace
from stillmotion.dynamicrafter.image_context import ImageContext
from stillmotion.dynamicrafter.inflation import has_detail_guidance
from stillmotion.dynamicrafter.scheduler import DynamiCrafterScheduler
from stillmotion.dynamicrafter.settings import DynamiCrafterSettings, PaceKind
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.errors import InputError, ModelError
from stillmotion.media.fit import fit_picture
from stillmotion.models.fingerprint import fingerprint
from stillmotion.models.registry import part_path
from stillmotion.runtime.compiling import OFF, Compiling
from stillmotion.runtime.memory import MemoryPlan
from stillmotion.runtime.seeds import generator

_SIZE_MULTIPLE = 2
"""Of latents: the finest level of every network is halved at least once."""
_PARTS: dict[str, Any] = {
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "tokenizer": CLIPTokenizer,
    "unet": DynamiCrafterUNet,
    "scheduler": DynamiCrafterScheduler,
    "image_encoder": CLIPVisionModel,
    "image_context": ImageContext,
}


class AnimateExtras(TypedDict, total=False):
    """Options of `animate` beyond the first few.

    `last_frame`: a picture (h w 3) that the clip ends with, for interpolating models; the first
    again makes a loop.  `memory`: of a plan, `sequential_guidance` and `decode_chunk` count here.
    `speed`: approximations that save time, settings or a name out of `SPEEDS`; exact by default.
    `savings`: work that is left out without changing results but for rounding; all by default.
    `compiling`: compile the blocks of the U-Net, see `runtime/compiling.py`: how, or one of its
    `CHOICES`; None is as the pipeline's `compiling` says, which is "off" unless it is set.
    `progress` is called after each step with the steps done and their total; `on_preview` with a
    step's index and what the network takes z_0 to be (1 c f h w).
    """

    last_frame: Picture | None
    memory: MemoryPlan
    speed: SpeedSettings | str
    savings: Savings
    compiling: Compiling | str | None
    progress: Callable[[int, int], None] | None
    on_preview: Callable[[int, Tensor], None] | None


@dataclass
class DynamiCrafterOutput(BaseOutput):  # type: ignore[misc]
    """What `animate` returns."""

    frames: NDArray[np.uint8]
    """RGB (b f h w 3)."""
    latents: Tensor
    """z_0 of all frames (b c f h w), scaled."""


class DynamiCrafterPipeline(DiffusionPipeline):  # type: ignore[misc]
    """A trained network animates a picture (arXiv:2310.12190).

    Loaded and saved as a folder in diffusers' layout.  Without `image_context` and
    `image_encoder` pictures are given as detail guidance alone; with a U-Net that takes none
    either, it is a text-to-video model of the same trunk, such as VideoCrafter.

    Args:
        vae, text_encoder, tokenizer, unet, scheduler, image_encoder, image_context: the parts.
        pace_kind: what the network was told of how fast clips move, if anything.
        default_pace: what it is told where nobody says.
        interpolates: whether it was trained with the first and the last frame given.
        trained_frames: longer clips are made in windows of as many.
        latent_mean: of each channel of clips' latents, for `start_timestep`; None: 0.
        latent_variance: of clips' latents, likewise.
        global_token_only: whether P was trained with CLIP's class token alone.
    """

    _optional_components = ["image_encoder", "image_context"]  # noqa: RUF012
    model_cpu_offload_seq = "text_encoder->image_encoder->image_context->unet->vae"

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: DynamiCrafterUNet,
        scheduler: DynamiCrafterScheduler,
        image_encoder: CLIPVisionModel | None = None,
        image_context: ImageContext | None = None,
        pace_kind: PaceKind | None = None,
        default_pace: int = 1,
        interpolates: bool = False,
        trained_frames: int = 16,
        latent_mean: Sequence[float] | None = None,
        latent_variance: float = 1.0,
        global_token_only: bool = False,
    ) -> None:
        super().__init__()
        if (image_encoder is None) != (image_context is None):
            raise ModelError("image_encoder and image_context go together; give both or neither.")
        self.register_modules(
            vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet,
            scheduler=scheduler, image_encoder=image_encoder, image_context=image_context,
        )  # fmt: skip
        self.register_to_config(
            pace_kind=pace_kind, default_pace=default_pace, interpolates=interpolates,
            trained_frames=trained_frames, latent_mean=latent_mean, latent_variance=latent_variance,
            global_token_only=global_token_only,
        )  # fmt: skip
        self.compiling: Compiling | str = OFF
        self.vae_scale_factor = 2 ** (len(vae.config.block_out_channels) - 1)

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, torch_dtype: torch.dtype = torch.float32, **changes: Any
    ) -> Self:
        """Load a folder on this machine, weights as safetensors; `changes` replace arguments.

        diffusers loads parts of other packages only with code that lies beside them; here each
        is loaded by its own class, and from another folder where the description in this one
        says so.  Raises ModelError if there is no such pipeline.
        """
        folder = Path(folder)
        try:
            index = dict(cls.load_config(folder, local_files_only=True))
        except (OSError, ValueError) as error:
            raise ModelError(f"there is no model folder '{folder}': {error}") from error
        if index.get("_class_name") != cls.__name__:
            raise ModelError(
                f"the model in '{folder}' is for {index.get('_class_name')}, not for {cls.__name__}"
            )
        parts = {n: _load(kind, part_path(folder, n), torch_dtype) for n, kind in _PARTS.items()
                 if n not in changes and (index.get(n) or [None])[0] is not None}  # fmt: skip
        settings = {n: v for n, v in index.items() if n[0] != "_" and n not in _PARTS}
        return cls(**{**parts, **settings, **changes})

    @property
    def model_fingerprint(self) -> str:
        """sha256 over all weights."""
        networks = ("unet", "image_context", "vae", "text_encoder", "image_encoder")
        return fingerprint({n: getattr(self, n) for n in networks if getattr(self, n) is not None})

    @property
    def needs_picture(self) -> bool:
        """Whether it animates pictures; else it makes clips of text alone."""
        return self.image_context is not None or has_detail_guidance(self.unet)

    @torch.no_grad()
    def animate(
        self,
        picture: Picture | Sequence[Picture] | None,
        prompt: str | Sequence[str],
        *,
        seed: int | Sequence[int],
        num_frames: int = 16,
        settings: DynamiCrafterSettings | None = None,
        **extras: Unpack[AnimateExtras],
    ) -> DynamiCrafterOutput:
        """Image to video: one clip per picture, RGB uint8 (h w 3) of any size, made one by one.

        One `prompt` or `seed` serves all clips, a list has one for each.  Pictures are scaled to
        cover the frame and cut.  Raises InputError if something does not fit, before any
        computing.
        """
        settings = settings or DynamiCrafterSettings()
        single = picture is None or isinstance(picture, np.ndarray)
        pictures: list[Picture | None] = [picture] if single else list(picture)  # type: ignore[list-item,arg-type]
        prompts, seeds = _each(prompt, len(pictures)), _each(seed, len(pictures))
        if not pictures:
            raise InputError("There is no picture to animate; give at least one.")
        for one in pictures:
            self.check(one, num_frames, settings, extras.get("last_frame"))
        size, speed = self.size_of(settings), speed_of(extras.get("speed", EXACT))
        made = []
        for number, (one, words, own_seed) in enumerate(zip(pictures, prompts, seeds, strict=True)):
            ends = [end for end in (one, extras.get("last_frame")) if end is not None]
            fitted = tuple(fit_picture(end, size)[0] for end in ends)
            job = ClipJob(
                pipe=self, settings=settings, ends=fitted, num_frames=num_frames, size=size,
                memory=extras.get("memory") or MemoryPlan(), speed=speed,
                savings=extras.get("savings") or Savings(),
                compiling=extras.get("compiling") or self.compiling,
                on_step=_told(extras, number, len(pictures), settings.num_inference_steps),
            )  # fmt: skip
            made.append(job.run(words, generator(own_seed)))
        self.maybe_free_model_hooks()
        frames, latents = zip(*made, strict=True)
        return DynamiCrafterOutput(frames=np.stack(frames), latents=torch.cat(latents))

    def size_of(self, settings: DynamiCrafterSettings) -> tuple[int, int]:
        """(height, width) of the clip in pixels.  Raises InputError for a size it cannot have."""
        own = self.unet.config.sample_size
        own = (own, own) if isinstance(own, int) or own is None else tuple(own)
        multiple = self.vae_scale_factor * _SIZE_MULTIPLE
        size = []
        for name, given, latent in zip(
            ("height", "width"), (settings.height, settings.width), own, strict=True
        ):
            if given is None and latent is None:
                raise InputError(f"This model does not say its size; give a {name}.")
            pixels = given if given is not None else latent * self.vae_scale_factor
            if pixels % multiple:
                raise InputError(f"{name} is {pixels}; give a multiple of {multiple}.")
            size.append(int(pixels))
        return size[0], size[1]

    def check(
        self,
        picture: Picture | None,
        num_frames: int,
        settings: DynamiCrafterSettings,
        last: Picture | None,
    ) -> None:
        """Raises InputError for what `animate` cannot make, before anything is computed."""
        Pace(kind=self.config.pace_kind, default=self.config.default_pace).of(settings)
        self.size_of(settings)
        if num_frames < 1:
            raise InputError(f"num_frames is {num_frames}; give a whole number from 1 up.")
        if (picture is not None) != self.needs_picture:
            raise InputError(
                "This model animates pictures; give one."
                if self.needs_picture
                else "This model makes clips of text alone; give None as the picture."
            )
        if self.config.interpolates and last is None:
            raise InputError(
                "This model goes from one picture to another; give last_frame, or the first "
                "picture again for a loop."
            )
        if last is not None and not self.config.interpolates:
            raise InputError(
                "This model was not trained to end with a given picture; leave out last_frame or "
                "use an interpolating model, such as dynamicrafter-512-interp."
            )
        if last is not None and num_frames < 2:
            raise InputError(f"A clip with two ends needs 2 frames or more, not {num_frames}.")


def _told(
    extras: AnimateExtras, number: int, count: int, steps: int
) -> Callable[[int, Tensor], None]:
    """Tells those who asked of each step of clip `number` of `count`."""
    progress, preview = extras.get("progress"), extras.get("on_preview")

    def on_step(index: int, clean: Tensor) -> None:
        if progress is not None:
            progress(number * steps + index + 1, count * steps)
        if preview is not None:
            preview(index, clean)

    return on_step


def _each(value: Any, count: int) -> list[Any]:
    """One value for each clip.  Raises InputError for a list of another length."""
    if isinstance(value, (str, int)):
        return [value] * count
    values = list(value)
    if len(values) != count:
        raise InputError(f"There are {len(values)} values for {count} pictures; give one for each.")
    return values


def _load(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    if kind in (CLIPTokenizer, DynamiCrafterScheduler):
        return kind.from_pretrained(folder)
    named = "dtype" if kind in (CLIPTextModel, CLIPVisionModel) else "torch_dtype"
    options = {named: dtype, "use_safetensors": True, "local_files_only": True}
    return kind.from_pretrained(folder, **options).eval()
