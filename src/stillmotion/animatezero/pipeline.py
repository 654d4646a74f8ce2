"""The AnimateZero pipeline: draw a still, animate it, or both at once as diffusers does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np
import torch
from diffusers import (
    AnimateDiffPipeline,
    AutoencoderKL,
    MotionAdapter,
    UNet2DConditionModel,
    UNetMotionModel,
)
from diffusers.schedulers import KarrasDiffusionSchedulers
from diffusers.utils import BaseOutput
from torch import Tensor
from transformers import (
    CLIPImageProcessor,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
)

from stillmotion.adapters.diffusers_schedulers import draws_no_noise
from stillmotion.adapters.diffusers_sites import is_motion_parameter
from stillmotion.animatezero.arguments import (
    check_options,
    clips_from_call,
    clips_of,
    sampling_from,
    stills_from_call,
)
from stillmotion.animatezero.checks import check_extensions, check_run, completed, size_of
from stillmotion.animatezero.requests import (
    AnimateExtras,
    CallOptions,
    Clip,
    DrawExtras,
    Progress,
    Prompt,
    Run,
    Setup,
    Ticker,
    seeded,
)
from stillmotion.animatezero.runner import Runner
from stillmotion.animatezero.settings import AnimateZeroSettings
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.errors import InputError, ModelError
from stillmotion.media.pixels import check_output_type, convert_frames
from stillmotion.media.still import Still
from stillmotion.models.fingerprint import fingerprint
from stillmotion.runtime.compiling import OFF, Compiling

_PROBE_ELEMENTS = 64


@dataclass
class AnimateZeroOutput(BaseOutput):  # type: ignore[misc]
    """What `animate` and a call return."""

    frames: Any
    """uint8 RGB (b f h w 3) from `animate`; from a call, as `output_type` says."""
    latents: Tensor
    """z_0 of all frames (b c f h w); with inserted latents, frame 1 is that of the still."""


class AnimateZeroPipeline(AnimateDiffPipeline):  # type: ignore[misc]
    """AnimateDiff that animates a given still, without training (arXiv:2312.03793).

    Built, loaded and saved like diffusers' AnimateDiffPipeline, with the same components; LoRA
    loaders are inherited.  Weights are never changed, and the U-Net's attentions only for the
    length of a call.
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel | UNetMotionModel,
        motion_adapter: MotionAdapter,
        scheduler: KarrasDiffusionSchedulers,
        feature_extractor: CLIPImageProcessor = None,
        image_encoder: CLIPVisionModelWithProjection = None,
    ) -> None:
        # diffusers reads these annotations to see which components fit (from_pipe).
        if isinstance(unet, UNet2DConditionModel) and motion_adapter is None:
            raise ModelError("An image U-Net cannot make videos; give a motion_adapter with it.")
        super().__init__(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            motion_adapter=motion_adapter,
            scheduler=scheduler,
            feature_extractor=feature_extractor,
            image_encoder=image_encoder,
        )
        # The U-Net has its own copy of the adapter's weights: keep and save them once, not twice.
        self.register_modules(motion_adapter=None)
        self._fingerprints: dict[str, str] = {}
        self.compiling: Compiling | str = OFF

    @property
    def model_fingerprint(self) -> str:
        """sha256 over all that draws a still; the motion modules have no part in one.

        Read in full once, and again only if a sample of the weights shows that they changed.
        """
        drawing = {"text_encoder": self.text_encoder, "unet": self.unet, "vae": self.vae}

        def include(name: str) -> bool:
            return not is_motion_parameter(name)

        probe = fingerprint(drawing, include=include, max_elements=_PROBE_ELEMENTS)
        if probe not in self._fingerprints:
            self._fingerprints = {probe: fingerprint(drawing, include=include)}
        return self._fingerprints[probe]

    @torch.no_grad()
    def draw(
        self,
        prompt: str,
        *,
        seeds: Sequence[int],
        sampling: SamplingSettings | None = None,
        **extras: Unpack[DrawExtras],
    ) -> list[Still]:
        """Text to image, one still per seed, with the motion modules bypassed.

        The stills are drawn one after another, so that none depends on the others.  With a
        `guide` they follow its first map.  Raises InputError for a seed, size, number of steps or
        guide that cannot be used.
        """
        setup = Setup.of(extras)
        check_extensions(self, setup)
        generators = [seeded(seed) for seed in seeds]
        sampling = completed(sampling or SamplingSettings(), self, None)
        if setup.guide is not None:
            setup.guide.check(1, size_of(sampling))
        tick = Ticker(extras.get("progress"), sampling.num_inference_steps * len(generators))
        runner = Runner(self, sampling, tick, setup)
        stills = [
            replace(runner.draw(prompt, generator), seed=seed)
            for seed, generator in zip(seeds, generators, strict=True)
        ]
        self.maybe_free_model_hooks()
        return stills

    @torch.no_grad()
    def animate(
        self,
        still: Still | Sequence[Still],
        prompt: Prompt | Sequence[Prompt] | None = None,
        *,
        seed: int | Sequence[int],
        num_frames: int = 16,
        sampling: SamplingSettings | None = None,
        control: AnimateZeroSettings | None = None,
        **extras: Unpack[AnimateExtras],
    ) -> AnimateZeroOutput:
        """Image to video: one clip per still, made one after another.

        One `seed` or `prompt` serves all clips, a list has one for each; `prompt` and `sampling`
        default to those of the (first) still.  A still with latents must have been drawn by this
        model, scheduler and number of steps; one without is taken as a photograph.  With inserted
        latents the first frame is the still, pixel for pixel, and so is the last if it is given.
        Raises InputError if something does not fit, before any computing.
        """
        stills = [still] if isinstance(still, Still) else list(still)
        if not stills:
            raise InputError("There is no still to animate; give at least one.")
        clips = clips_of(stills, prompt, seed, extras.get("last_frame"), num_frames)
        own = sampling or stills[0].settings or SamplingSettings()
        run = Run.of(num_frames, own, control, extras)
        return joined(list(self._make(clips, run, extras.get("progress"))))

    @torch.no_grad()
    def variants(
        self,
        still: Still,
        prompt: Prompt | None = None,
        *,
        seeds: Sequence[int],
        num_frames: int = 16,
        sampling: SamplingSettings | None = None,
        control: AnimateZeroSettings | None = None,
        **extras: Unpack[AnimateExtras],
    ) -> Iterator[AnimateZeroOutput]:
        """Several clips of one still, each handed over as soon as it is made; else as `animate`.

        What is the same for all is computed once: the embeddings of the texts, and the inversion
        of a photograph.
        """
        clips = clips_of([still] * len(seeds), prompt, seeds, extras.get("last_frame"), num_frames)
        run = Run.of(num_frames, sampling or still.settings or SamplingSettings(), control, extras)
        yield from self._make(clips, run, extras.get("progress"))

    @torch.no_grad()
    def __call__(
        self,
        prompt: Prompt | list[Prompt] | None = None,
        image: Any = None,
        still: Still | Sequence[Still] | None = None,
        num_frames: int = 16,
        generator: torch.Generator | list[torch.Generator] | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        **options: Unpack[CallOptions],
    ) -> AnimateZeroOutput | tuple[Any]:
        """Text to video in diffusers' style: draw a still if none is given, then animate it.

        `image` is a photograph (PIL or uint8 h w 3), `still` a `Still`; either may be a list, as
        may `prompt`.  A generator gives the noise of the still first, then that of the frames, so
        one with seed s gives what `draw` and `animate` give for s: but for rounding, since the
        still is drawn in the same calls of the U-Net as its frames, unless `draws_beside` is
        False.  `output_type` is "pil", "np", "pt" or "latent".  Raises InputError as they do.
        """
        check_options(options)
        check_output_type(output_type)
        stills = stills_from_call(image, still)
        noise, last = options.get("latents"), options.get("last_frame")
        clips = clips_from_call(prompt, stills, generator, noise, last, num_frames)
        control, own = options.get("control"), sampling_from(options, clips[0].still)
        run = Run.of(
            num_frames, own, control, options, decode=output_type != "latent",
            may_draw_beside=options.get("draws_beside", True) and draws_no_noise(self.scheduler),
        )  # fmt: skip
        with self.progress_bar(total=run.num_steps(clips)) as bar:
            made = joined(list(self._make(clips, run, lambda done, total: bar.update())))
        frames = convert_frames(made.frames, output_type) if run.decode else made.latents
        return AnimateZeroOutput(frames=frames, latents=made.latents) if return_dict else (frames,)

    def _make(
        self, clips: Sequence[Clip], run: Run, progress: Progress | None
    ) -> Iterator[AnimateZeroOutput]:
        """Check everything, then make the clips; `frames` is None if they are not decoded."""
        sampling = check_run(self, clips, run)
        runner = Runner(self, sampling, Ticker(progress, run.num_steps(clips)), run.setup)
        for clip in clips:
            latents, pixels = runner.animate(clip, run)
            frames = None if pixels is None else pixels[None]
            yield AnimateZeroOutput(frames=frames, latents=latents)
        self.maybe_free_model_hooks()


def joined(clips: Sequence[AnimateZeroOutput]) -> AnimateZeroOutput:
    """Clips of one size and length as one batch."""
    frames = [clip.frames for clip in clips if clip.frames is not None]
    return AnimateZeroOutput(
        frames=np.concatenate(frames) if frames else None,
        latents=torch.cat([clip.latents for clip in clips]),
    )
