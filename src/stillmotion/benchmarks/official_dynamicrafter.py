"""DynamiCrafter computed as its published code does (commit c453369): ours is held against it.

It lives with the benchmark and is no part of the product.  The networks and the sampler are ours,
so that results agree; what is done as there:

* each branch of guidance is a call of its own, with one clip in the batch;
* the text is repeated for every frame, and its keys and values, like those of the image tokens,
  are projected in every layer at every call (`lvdm/modules/attention.py`);
* weights are float32 and computed with under autocast (`scripts/evaluation/inference.py`); on a
  CPU, in float32, there is nothing to cast;
* frames are decoded one by one (`perframe_ae` of the 512 and 1024 models), or all at once (256).

Not taken over: its autoencoder reads 16 copies of the picture, of which one is used.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stillmotion.adapters.adapter import Adapter, adapted, shadow
from stillmotion.adapters.diffusers_sites import ProjectedAttention
from stillmotion.adapters.diffusers_unet3d import spatial_cross_attentions
from stillmotion.benchmarks.contenders import Made, Prepared
from stillmotion.benchmarks.stages import VideoStage, networks_of
from stillmotion.diffusion.guidance import classifier_free_guidance, rescale_guidance
from stillmotion.dynamicrafter.conditioning import Conditioner, Pace
from stillmotion.dynamicrafter.dual_stream import Context, DualStreamProcessor
from stillmotion.dynamicrafter.pipeline import DynamiCrafterPipeline
from stillmotion.dynamicrafter.sampling import Branch, Conditions
from stillmotion.dynamicrafter.scheduler import DynamiCrafterScheduler
from stillmotion.dynamicrafter.settings import DynamiCrafterSettings
from stillmotion.kernels.attention import attention
from stillmotion.media.fit import fit_picture
from stillmotion.models.decoding import decode
from stillmotion.runtime.seeds import generator

_NETWORKS = ("unet", "vae", "text_encoder", "image_encoder", "image_context")
_BATCHED_DECODE_HEIGHT = 256
"""Up to this height the published script decodes all frames at once."""


class RepeatedContext(Adapter):
    """Cross-attentions that project text and image anew for every frame at every call."""

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(
            name
            for name, site in spatial_cross_attentions(model).items()
            if isinstance(site.processor, DualStreamProcessor)
        )

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for name in self.sites(model):
            site = model.get_submodule(name)
            own = site.processor
            assert isinstance(own, DualStreamProcessor)
            shadow(site, "processor", _RepeatedProcessor(own), undo)


class _RepeatedProcessor:
    """`DualStreamProcessor` without memory and with a text for every row."""

    def __init__(self, own: DualStreamProcessor) -> None:
        self._own = own

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        ip_hidden_states: Context | None = None,
    ) -> Tensor:
        """`hidden_states` ((b f) l c), `encoder_hidden_states` (b n d) -> ((b f) l c)."""
        assert ip_hidden_states is not None
        assert ip_hidden_states.image is not None
        assert attention_mask is None
        site, rows = ProjectedAttention(attn), len(hidden_states)
        text = ip_hidden_states.text.repeat_interleave(rows // len(ip_hidden_states.text), dim=0)
        image = ip_hidden_states.image.flatten(0, -3)
        image = image.repeat_interleave(rows // len(image), dim=0)
        own = self._own
        projected = (site.to_k(text), site.to_v(text), own.to_k_ip(image), own.to_v_ip(image))
        text_k, text_v, image_k, image_v = map(site.split, projected)
        q = site.split(site.to_q(hidden_states))
        attended = attention(q, text_k, text_v), attention(q, image_k, image_v)
        # As published: a product and a sum, each rounded to the features' precision.
        return site.output(attended[0] + own.gate() * attended[1])


def official_clip(stage: VideoStage) -> Prepared:
    """The published way of making the stage's clip, ready to run."""
    dtype = stage.pipe.unet.dtype
    if dtype == torch.float32:
        pipe: Any = stage.pipe
    else:
        parts = {name: copy.deepcopy(getattr(stage.pipe, name)).float() for name in _NETWORKS}
        pipe = DynamiCrafterPipeline(**{**stage.pipe.components, **parts, **_config(stage.pipe)})
    whole = replace(stage, pipe=pipe)

    def casting() -> AbstractContextManager[object]:
        if dtype == torch.float32:
            return nullcontext()
        return torch.autocast(stage.device.type, dtype)

    def run(num_steps: int) -> Made:
        with torch.no_grad(), casting():
            return _clip(whole, num_steps)

    return Prepared(run=run, networks=networks_of(pipe))


def _config(pipe: Any) -> dict[str, Any]:
    names = ("pace_kind", "default_pace", "trained_frames", "global_token_only")
    return {name: pipe.config[name] for name in names}


def _clip(stage: VideoStage, num_steps: int) -> Made:
    pipe, device = stage.pipe, stage.device
    settings = stage.settings(num_steps)
    pace = Pace(kind=pipe.config.pace_kind, default=pipe.config.default_pace).of(settings)
    picture = fit_picture(stage.picture, (stage.clip.height, stage.clip.width))[0]
    conditions = Conditioner(pipe=pipe, device=device).conditions(
        stage.clip.prompt, (picture,), stage.clip.num_frames, settings, pace
    )
    rng = generator(stage.clip.seed)

    def noise() -> Tensor:
        return torch.randn(stage.latent_shape, generator=rng).to(device, pipe.unet.dtype)

    z = _sampled(pipe, conditions, settings, noise)
    chunk = stage.clip.num_frames if stage.clip.height <= _BATCHED_DECODE_HEIGHT else 1
    return Made(latents=z, frames=np.asarray(decode(pipe.vae, z, chunk)))


def _sampled(
    pipe: Any,
    conditions: Conditions,
    settings: DynamiCrafterSettings,
    noise: Callable[[], Tensor],
) -> Tensor:
    """z_0 (1 c f h w): branch by branch, step by step."""
    scheduler = DynamiCrafterScheduler.from_config(pipe.scheduler.config)
    device = pipe._execution_device
    scheduler.set_timesteps(settings.num_inference_steps, device=device)
    nothing, full = conditions.branches
    z = noise()
    with adapted(pipe.unet, [RepeatedContext()]):
        for index, timestep in enumerate(scheduler.timesteps):
            with_words = _predicted(pipe.unet, z, timestep, conditions, full)
            without = _predicted(pipe.unet, z, timestep, conditions, nothing)
            guided = classifier_free_guidance(without, with_words, settings.guidance_scale)
            guided = rescale_guidance(guided, with_words, settings.guidance_rescale)
            z = scheduler.step(guided, index, z, eta=settings.eta, noise=noise()).prev_sample
    return z


def _predicted(
    unet: Any, z: Tensor, timestep: Tensor, conditions: Conditions, branch: Branch
) -> Tensor:
    assert conditions.detail is not None
    seen = torch.cat([z, conditions.detail.to(z)], dim=1)
    prediction: Tensor = unet(
        seen, timestep, branch.text, image_tokens=branch.image, motion=conditions.pace
    ).sample
    return prediction
