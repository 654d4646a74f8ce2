"""Each stage from its data to its saved part, in one run folder.

The run folder is a Hugging Face folder tree that grows with every stage, beside checkpoints, logs
and rendered data.  A finished stage is not trained again; an interrupted one goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from stillmotion.errors import InputError
from stillmotion.miniature import data
from stillmotion.miniature.clip import ClipStage, build_clip, kept_tokenizer, save_clip
from stillmotion.miniature.control import (
    EDGES_FILE,
    ControlStage,
    build_controlnet,
    edge_maps,
)
from stillmotion.miniature.judge import (
    Judge,
    MotionJudge,
    MotionJudgeStage,
    StillJudge,
    StillJudgeStage,
)
from stillmotion.miniature.motion import (
    MotionStage,
    attach_motion,
    build_motion_adapter,
    extract_motion,
)
from stillmotion.miniature.recipe import Recipe
from stillmotion.miniature.text_to_image import (
    StillDiffusionStage,
    TextConditioner,
    build_unet,
    subject_weight,
)
from stillmotion.miniature.vae import VaeStage, build_vae, encode_images, fit_scaling
from stillmotion.runtime.seeds import derive_seed, new_weights
from stillmotion.training.loop import LoopSettings, Report, Stage, train
from stillmotion.training.low_rank import add_low_rank, remove_low_rank, save_lora
from stillmotion.world.scene import Fixed, Scene
from stillmotion.world.vocabulary import DOMAINS

PLAIN = Fixed(domain="plain")
Network = TypeVar("Network", bound=nn.Module)


class Workshop:
    """Runs stages of one recipe in one folder, on one device."""

    def __init__(self, recipe: Recipe, folder: Path, device: torch.device, report: Report) -> None:
        self.recipe, self.folder, self.device, self.report = recipe, folder, device, report

    def run(self, stage: str) -> None:
        """Train one stage to the end of its budget and save its part; see also `VideoWorkshop`.

        Raises:
            InputError: an unknown stage, or one whose predecessors are not finished.
        """
        runs: dict[str, Callable[[], None]] = {
            "judge": self.judge,
            "vae": self.vae,
            "clip": self.clip,
            "text-to-image": self.text_to_image,
            "domains": self.domains,
            "motion": self.motion,
            "control": self.control,
        }
        if stage not in runs:
            raise InputError(f"unknown stage '{stage}'; the stages are: {', '.join(runs)}")
        runs[stage]()

    def judge(self) -> None:
        """Both judges, half of the budget each, on data of a seed of their own."""
        budget = self.recipe.budgets["judge"]
        seconds, steps = budget.loop.budget_seconds, budget.loop.max_steps
        half = replace(
            budget.loop,
            budget_seconds=None if seconds is None else seconds / 2,
            max_steps=None if steps is None else max(steps // 2, 1),
        )
        stills, motions = self.built(StillJudge), self.built(MotionJudge)
        seed = derive_seed(self.recipe.seed, "judge")
        folder = self.folder / "data"
        pictures = data.cached_stills(
            folder / "judge-stills.safetensors", self.recipe.judge_stills, seed, 64
        )
        self.train(StillJudgeStage(stills, pictures, budget.batch), half)
        clips = data.cached_judge_clips(
            folder / "judge-clips.safetensors", self.recipe.judge_clips, seed, 32
        )
        self.train(MotionJudgeStage(motions, clips, budget.batch // 2), half)
        Judge(stills, motions).save(self.folder / "judge.safetensors")

    def vae(self) -> None:
        """The VAE, on stills of every look."""
        stage = VaeStage(self.recipe, self._stills(), self.built(lambda: build_vae(self.recipe)))
        self.train(stage, self.recipe.budgets["vae"].loop)
        fit_scaling(stage.vae, self._stills().images[:1000])
        stage.vae.save_pretrained(self.folder / "vae")

    def clip(self) -> None:
        """Tokenizer and CLIP, on stills of every look."""
        tokenizer = kept_tokenizer(self.recipe, self.folder / "tokenizer")
        clip = self.built(lambda: build_clip(self.recipe, tokenizer))
        stage = ClipStage(self.recipe, self._stills(), clip, tokenizer)
        self.train(stage, self.recipe.budgets["clip"].loop)
        save_clip(clip, self.folder)

    def text_to_image(self) -> None:
        """The image U-Net, on plain stills."""
        unet = self.built(lambda: build_unet(self.recipe))
        stills = self._still_latents(self.recipe.stills, PLAIN, "plain")
        budget = self.recipe.budgets["text-to-image"]
        stage = StillDiffusionStage("text-to-image", budget.batch, stills, unet, self.conditioner())
        self.train(stage, budget.loop)
        unet.save_pretrained(self.folder / "unet")

    def domains(self) -> None:
        """One LoRA for each look but the plain one, on stills of that look alone."""
        for domain in DOMAINS:
            if domain != "plain":
                self._domain(domain)

    def motion(self) -> None:
        """The motion module, on plain clips."""
        unet = UNet2DConditionModel.from_pretrained(self.part("unet", "text-to-image"))
        adapter = self.built(lambda: build_motion_adapter(self.recipe))
        video = self.built(lambda: attach_motion(unet, adapter))
        clips = self._clip_latents()
        budget = self.recipe.budgets["motion"]
        stage = MotionStage(budget.batch, clips, video, self.conditioner())
        self.train(stage, budget.loop)
        extract_motion(video, adapter).save_pretrained(self.folder / "motion_adapter")

    def control(self) -> None:
        """The ControlNet for edges, on plain stills."""
        unet = UNet2DConditionModel.from_pretrained(self.part("unet", "text-to-image"))
        generator = torch.Generator().manual_seed(derive_seed(self.recipe.seed, "controlnet"))
        controlnet = self.built(lambda: build_controlnet(unet, generator))
        stills = self._still_latents(self.recipe.stills, PLAIN, "plain")
        budget = self.recipe.budgets["control"]
        stage = ControlStage(
            budget.batch, stills, self._edges(), unet.to(self.device), controlnet,
            self.conditioner(),
        )  # fmt: skip
        self.train(stage, budget.loop)
        controlnet.save_pretrained(self.folder / "controlnet")

    def _domain(self, domain: str) -> None:
        unet = UNet2DConditionModel.from_pretrained(self.part("unet", "text-to-image"))
        unet.to(self.device)
        generator = torch.Generator().manual_seed(derive_seed(self.recipe.seed, "lora", domain))
        adapters = add_low_rank(unet, self.recipe.lora_rank, generator)
        trained = [p for adapter in adapters.values() for p in adapter.parameters()]
        stills = self._still_latents(self.recipe.domain_stills, Fixed(domain=domain), domain)
        budget = self.recipe.budgets["domains"]
        stage = StillDiffusionStage(
            f"domain-{domain}", budget.batch, stills, unet, self.conditioner(),
            domain_words=0.5, trained=lambda: trained,
        )  # fmt: skip
        self.train(stage, budget.loop)
        path = self.folder / "loras" / f"{domain}.safetensors"
        save_lora(unet, adapters, path, prefix="unet")
        remove_low_rank(unet, adapters)

    def train(self, stage: Stage, settings: LoopSettings, logs: Path | None = None) -> None:
        """Run the loop on a stage; its checkpoint and log lie in `logs`, else in this folder."""
        train(stage, settings, logs or self.folder / "training", self.report)

    def built(self, build: Callable[[], Network]) -> Network:
        """A network with initial weights that follow from the recipe's seed alone."""
        with new_weights(self.recipe.seed):
            return build().to(self.device)

    def part(self, name: str, stage: str) -> Path:
        """Where a part is that `stage` makes.  Raises InputError if it is not finished."""
        path = self.folder / name
        if not path.exists():
            raise InputError(
                f"{path} is missing; train the stage '{stage}' first, or all stages in order"
            )
        return path

    def conditioner(self, part: str = "text_encoder", stage: str = "clip") -> TextConditioner:
        """The text encoder `part` that `stage` has trained."""
        tokenizer = CLIPTokenizer.from_pretrained(self.part("tokenizer", "clip"))
        text_encoder = CLIPTextModel.from_pretrained(self.part(part, stage))
        return TextConditioner(tokenizer, text_encoder.to(self.device))

    def encoder(self) -> AutoencoderKL:
        """The trained VAE."""
        vae = AutoencoderKL.from_pretrained(self.part("vae", "vae"))
        return vae.to(self.device, memory_format=torch.channels_last).eval()

    def _stills(self) -> data.StillSet:
        recipe = self.recipe
        path = self.folder / "data" / "stills.safetensors"
        return data.cached_stills(path, recipe.stills, recipe.seed, recipe.image_size)

    def _still_latents(self, count: int, fixed: Fixed, name: str) -> data.LatentSet:
        seed = self._latents_seed(name)

        def make() -> dict[str, Tensor]:
            vae = self.encoder()
            stills = data.render_stills(count, seed, self.recipe.image_size, fixed)
            latents = encode_images(vae, stills.images) * vae.config.scaling_factor
            weights = subject_weight(stills.masks, latents.shape[-1])
            return {"latents": latents.half(), "weights": weights.half()}

        path = self.folder / "data" / f"latents-{name}.safetensors"
        kept = data.cached(path, count, make)
        scenes = [data.still_scene(seed, index, fixed)[0] for index in range(count)]
        return _latent_set(kept, scenes)

    def stills_of_all_looks(self) -> data.LatentSet:
        """The stills of every look that the stages "text-to-image" and "domains" learn from."""
        recipe = self.recipe
        counts = dict.fromkeys(DOMAINS, recipe.domain_stills) | {"plain": recipe.stills}
        sets = [self._still_latents(n, Fixed(domain=look), look) for look, n in counts.items()]
        return data.LatentSet(
            latents=torch.cat([one.latents for one in sets]),
            weights=torch.cat([one.weights for one in sets]),
            scenes=[scene for one in sets for scene in one.scenes],
        )

    def _latents_seed(self, name: str) -> int:
        return derive_seed(self.recipe.seed, "latents", name)

    def _edges(self) -> Tensor:
        """The edges `(n, h, w)` uint8 of the very stills that the latents "plain" are of."""
        recipe = self.recipe

        def make() -> dict[str, Tensor]:
            seed = self._latents_seed("plain")
            stills = data.render_stills(recipe.stills, seed, recipe.image_size, PLAIN)
            return {"edges": edge_maps(stills.images)}

        return data.cached(self.folder / EDGES_FILE, recipe.stills, make)["edges"]

    def _clip_latents(self) -> data.LatentSet:
        recipe = self.recipe
        seed = derive_seed(recipe.seed, "clips")

        def make() -> dict[str, Tensor]:
            vae = self.encoder()
            clips = data.render_clips(
                recipe.clips, seed, recipe.image_size, recipe.num_frames, PLAIN
            )
            latents = encode_images(vae, clips.frames.flatten(0, 1)) * vae.config.scaling_factor
            weights = subject_weight(clips.masks, latents.shape[-1])
            shape = (recipe.clips, recipe.num_frames)
            return {"latents": latents.unflatten(0, shape).half(), "weights": weights.half()}

        path = self.folder / "data" / "latents-clips.safetensors"
        kept = data.cached(path, recipe.clips, make)
        scenes = [data.clip_scene(seed, index, PLAIN) for index in range(recipe.clips)]
        return _latent_set(kept, scenes)


def _latent_set(kept: dict[str, Tensor], scenes: list[Scene]) -> data.LatentSet:
    return data.LatentSet(latents=kept["latents"], weights=kept["weights"].float(), scenes=scenes)
