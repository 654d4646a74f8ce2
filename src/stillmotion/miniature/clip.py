"""Stage "clip": a tokenizer of its own, and text and image towers trained on captioned stills."""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from stillmotion.miniature.data import StillSet, random_caption, sample_indices
from stillmotion.miniature.recipe import Recipe
from stillmotion.runtime.files import atomic_folder
from stillmotion.runtime.seeds import derive_seed
from stillmotion.world.captions import caption
from stillmotion.world.scene import sample_scene

_BEGIN, _END = "<|startoftext|>", "<|endoftext|>"

#: CLIP's own normalisation, kept so that its image processor fits ours.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def build_tokenizer(recipe: Recipe, captions: int = 20_000) -> CLIPTokenizer:
    """Byte-pair encoding in CLIP's format, learned from the world's captions.

    The alphabet holds every byte, so that any text can be encoded, if not understood.
    """
    rng = random.Random(derive_seed(recipe.seed, "tokenizer"))
    corpus = [
        caption(sample_scene(rng), rng, motion=rng.random() < 0.5, domain=0.5)
        for _ in range(captions)
    ]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = CLIPTokenizer().backend_tokenizer.pre_tokenizer
    # Each byte stands inside a word or ends it, whether or not a caption shows it there.  Named as
    # special tokens they are numbered here; the trainer's own numbers differ from run to run.
    letters = [*alphabet, *(f"{byte}</w>" for byte in alphabet)]
    trainer = trainers.BpeTrainer(
        vocab_size=100_000, min_frequency=20, special_tokens=letters,
        end_of_word_suffix="</w>", show_progress=False,
    )  # fmt: skip
    learner.train_from_iterator(corpus, trainer)
    learned = learner.get_vocab()
    tokens = sorted(learned, key=learned.__getitem__)
    vocabulary = {token: index for index, token in enumerate([*tokens, _BEGIN, _END])}
    return CLIPTokenizer(
        vocab=vocabulary, merges=_merges(learner), model_max_length=recipe.text_length
    )


def _merges(learner: Tokenizer) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]


def build_clip(recipe: Recipe, tokenizer: CLIPTokenizer) -> CLIPModel:
    """Both towers, of one width; the text tower is the pipeline's text encoder."""
    width, layers = recipe.text_width, recipe.text_layers
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=recipe.text_length,
        projection_dim=width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        image_size=recipe.image_size,
        patch_size=recipe.image_size // 8,
        projection_dim=width,
    )
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=width))


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids, padded to the full length: `(n, text_length)`."""
    ids = tokenizer(
        texts, padding="max_length", truncation=True,
        max_length=tokenizer.model_max_length, return_tensors="pt",
    ).input_ids  # fmt: skip
    assert isinstance(ids, Tensor)
    return ids


def clip_pixels(images: Tensor) -> Tensor:
    """0..255 uint8 `(n, 3, h, w)` to CLIP's normalised floats."""
    mean, std = torch.tensor(CLIP_MEAN), torch.tensor(CLIP_STD)
    return (images.float() / 255 - mean[:, None, None]) / std[:, None, None]


def clip_image_features(clip: CLIPModel, images: Tensor) -> Tensor:
    """Unit-length image features `(n, d)` of uint8 images, averaged down to CLIP's own size."""
    pixels, size = clip_pixels(images), clip.config.vision_config.image_size
    if pixels.shape[-2:] != (size, size):
        pixels = F.interpolate(pixels, (size, size), mode="area")
    features = clip.get_image_features(pixel_values=pixels.to(clip.device))
    return F.normalize(features.pooler_output.float(), dim=-1)


def clip_text_features(clip: CLIPModel, ids: Tensor) -> Tensor:
    """Unit-length text features: `(n, d)`."""
    features = clip.get_text_features(input_ids=ids.to(clip.device))
    return F.normalize(features.pooler_output.float(), dim=-1)


class ClipStage:
    """Trains both towers by contrast within a batch, with soft labels for equal content.

    Two stills of a batch can share their whole content; their captions then fit both, and the
    target spreads over them.
    """

    name = "clip"

    def __init__(
        self, recipe: Recipe, stills: StillSet, clip: CLIPModel, tokenizer: CLIPTokenizer
    ) -> None:
        self.clip, self.tokenizer, self.stills = clip, tokenizer, stills
        self.batch = recipe.budgets["clip"].batch
        content = [(s.subject, s.colour, s.background) for s in stills.scenes]
        numbers = {c: i for i, c in enumerate(sorted(set(content)))}
        self.content = torch.tensor([numbers[c] for c in content])

    def parameters(self) -> list[nn.Parameter]:
        return list(self.clip.parameters())

    def loss(self, generator: torch.Generator, progress: float) -> dict[str, Tensor]:
        index = sample_indices(len(self.stills), self.batch, generator)
        captions = [
            random_caption(self.stills.scenes[i], generator, domain=0.4, motion=0.5)
            for i in index.tolist()
        ]
        images = clip_image_features(self.clip, self.stills.images[index])
        texts = clip_text_features(self.clip, tokenize(self.tokenizer, captions))
        scale = self.clip.logit_scale.exp().clamp(max=100)
        logits = scale * images @ texts.T
        same = (self.content[index][:, None] == self.content[index][None]).float()
        target = (same / same.sum(1, keepdim=True)).to(logits.device)
        loss = 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))
        hit = (target.gather(1, logits.argmax(1, keepdim=True)) > 0).float().mean()
        return {"loss": loss, "retrieval": hit}


def kept_tokenizer(recipe: Recipe, folder: Path) -> CLIPTokenizer:
    """The tokenizer at `folder`, built and written there first if need be.

    Trained towers know its numbers by heart: no later run may replace it by another.
    """
    if not folder.exists():
        with atomic_folder(folder, overwrite=False) as temporary:
            build_tokenizer(recipe).save_pretrained(temporary)
    return CLIPTokenizer.from_pretrained(folder)


def save_clip(clip: CLIPModel, folder: Path) -> None:
    """Write `clip/` and `text_encoder/` (its text tower alone)."""
    clip.save_pretrained(folder / "clip")
    clip.text_model.save_pretrained(folder / "text_encoder")
