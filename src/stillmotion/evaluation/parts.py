"""Measurements of single parts of the miniature, on rendered data that training never saw."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from transformers import CLIPModel, CLIPTokenizer

from stillmotion.evaluation.samples import EVALUATION_SEED
from stillmotion.miniature import data
from stillmotion.miniature.clip import clip_image_features, clip_text_features, tokenize
from stillmotion.miniature.judge import ATTRIBUTES, Judge
from stillmotion.models.loading import silent_libraries
from stillmotion.runtime.seeds import derive_seed
from stillmotion.world.captions import caption
from stillmotion.world.scene import Fixed
from stillmotion.world.vocabulary import DOMAINS


@torch.no_grad()
def vae_psnr(folder: Path, per_domain: int = 40) -> dict[str, float]:
    """Mean PSNR in dB of reconstructed stills, 0 to 255 range, for each look."""
    with silent_libraries():
        vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32)
    seed = derive_seed(EVALUATION_SEED, "vae")
    size = vae.config.sample_size
    result = {}
    for domain in DOMAINS:
        stills = data.render_stills(per_domain, seed, size, Fixed(domain=domain))
        images = data.to_model_range(stills.images)
        restored = vae.decode(vae.encode(images).latent_dist.mode()).sample.clamp(-1, 1)
        error = (restored - images).square().flatten(1).mean(1) / 4
        result[domain] = float((-10 * error.log10()).mean())
    return result


@torch.no_grad()
def clip_retrieval(folder: Path, batches: int = 20, batch: int = 64) -> tuple[int, int]:
    """How many of all stills find a caption of their own content among `batch`: (hits, total)."""
    with silent_libraries():
        clip = CLIPModel.from_pretrained(folder / "clip", dtype=torch.float32)
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    seed = derive_seed(EVALUATION_SEED, "clip")
    stills = data.render_stills(batches * batch, seed, clip.config.vision_config.image_size)
    rng = random.Random(seed)
    captions = [caption(scene, rng, motion=False, domain=0.5) for scene in stills.scenes]
    contents = [(s.subject, s.colour, s.background) for s in stills.scenes]
    hits = 0
    for start in range(0, len(captions), batch):
        part = slice(start, start + batch)
        images = clip_image_features(clip, stills.images[part])
        texts = clip_text_features(clip, tokenize(tokenizer, captions[part]))
        best = (images @ texts.T).argmax(1).tolist()
        own = contents[part]
        hits += sum(own[i] == own[j] for i, j in enumerate(best))
    return hits, len(captions)


def judge_accuracy(
    folder: Path, stills: int = 1000, clips: int = 400
) -> dict[str, tuple[int, int]]:
    """What the judge reads right on rendered data: (hits, total) per attribute and for motion."""
    judge = Judge.load(folder / "judge.safetensors")
    seed = derive_seed(EVALUATION_SEED, "judge")
    pictures = data.render_stills(stills, seed, 64)
    verdicts = judge.frames(pictures.images)
    result = {
        name: (
            sum(
                getattr(v, name) == getattr(s, name)
                for v, s in zip(verdicts, pictures.scenes, strict=True)
            ),
            stills,
        )
        for name in ATTRIBUTES
    }
    moving = data.render_judge_clips(clips, seed, 32)
    motions = [m for part in moving.split(50) for m in judge.motion(part)]
    asked = [data.judge_clip_scene(seed, index).motion for index in range(clips)]
    right = sum(seen == true for seen, true in zip(motions, asked, strict=True))
    return result | {"motion": (right, clips)}
