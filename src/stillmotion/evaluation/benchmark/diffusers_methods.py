"""Methods of other people that run through diffusers, from weights that the user has.

    stillmotion evaluate animatezero --weights svd=PATH

PATH is a folder in diffusers' layout, as `save_pretrained` writes it; nothing is ever fetched.
PIA and SparseCtrl are published as parts for an image model: put the pipeline together in Python,
`PIAPipeline.from_pretrained(image_model, motion_adapter=...)`, and save it.
Each method is called as diffusers calls it by default, and is given the picture at a size of as
many pixels as it was trained at, in the shape that is nearest to the picture's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from stillmotion.adapters.text_encoder import encode_prompt
from stillmotion.errors import ModelError
from stillmotion.evaluation.benchmark.methods import Context, Frames, Job, MethodSpec
from stillmotion.media.fit import choose_size, fit_picture
from stillmotion.models.loading import explained, shareable, silent_libraries
from stillmotion.models.registry import pipeline_class
from stillmotion.runtime.seeds import derive_seed, generator
from stillmotion.runtime.system import choose_device


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one pipeline of diffusers is called."""

    method: str
    """Its name here."""
    pipeline: str
    """The class, by its name in diffusers."""
    area: int
    """About how many pixels a frame has: those of its training."""
    multiple: int = 64
    """Of which the sides are multiples, so that every stage of the U-Net halves them."""
    picture: str = "image"
    """The argument that takes the picture."""
    says_text: bool = True
    """Whether it is told the words."""
    clip_skip: int | None = None
    """How many last layers of the text encoder are left out, as diffusers does by default but
    cannot with transformers 5.6 and later (its issue 14124); None: none, and it reads the words."""
    call: Mapping[str, Any]
    """Other arguments: diffusers' own defaults, written out so that they stay."""


@dataclass
class DiffusersMaker:
    """A pipeline of diffusers as a method; it is loaded for the first clip."""

    recipe: Recipe
    folder: Path
    device: str
    _loaded: Any = None

    def make(self, job: Job) -> Frames:
        """The clip of a picture, uint8 (f h w 3), at the size that the method was trained at.

        Raises:
            ModelError: the folder holds another pipeline, or one that cannot be loaded.
            InputError: no such device.
        """
        if self._loaded is None:
            self._loaded = load_pipeline(self.recipe, self.folder, self.device)
        recipe = self.recipe
        size = choose_size(
            job.still.height, job.still.width, multiple=recipe.multiple, area=recipe.area
        )
        picture, _ = fit_picture(job.still.image, size)
        words = _words(recipe, self._loaded, job.case.prompt)
        device = torch.device(self._loaded.device)
        # SVD's pipeline warns of its own conversions at every clip.
        with silent_libraries(), seeded_globals(derive_seed(job.case.seed, "globals"), device):
            made = self._loaded(
                **{recipe.picture: Image.fromarray(picture)}, **words, **recipe.call,
                height=size[0], width=size[1], num_frames=job.num_frames,
                generator=generator(job.case.seed), output_type="np",
            )  # fmt: skip
        return _to_uint8(made.frames[0])


def load_pipeline(recipe: Recipe, folder: Path, device: str) -> Any:
    """The pipeline in a folder, on a device: in float32 on a CPU, in float16 elsewhere.

    Raises:
        ModelError: the folder holds another pipeline, or one that cannot be loaded.
        InputError: no such device.
    """
    check_folder(recipe, folder)
    place = choose_device(device)
    dtype = torch.float32 if place.type == "cpu" else torch.float16
    with silent_libraries(), explained(shareable(str(folder))):
        import diffusers

        pipeline = getattr(diffusers, recipe.pipeline).from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True,
            variant=variant_of(folder, dtype),
        )  # fmt: skip
        pipeline.to(place)
    if recipe.method == "sparsectrl-rgb":
        _check_takes_pictures(pipeline, folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def check_folder(recipe: Recipe, folder: Path) -> None:
    """Raises ModelError for a folder of anything but the recipe's pipeline."""
    found = pipeline_class(folder)
    if found == recipe.pipeline:
        return
    if not folder.is_dir():
        held = "is no folder"
    elif found is None:
        held = "has no model_index.json that names a pipeline"
    else:
        held = f"holds a {found}"
    raise ModelError(
        f"the weights of '{recipe.method}' must be a {recipe.pipeline} in diffusers' layout, but "
        f"{folder} {held}; give the folder of one with --weights {recipe.method}=PATH"
    )


def variant_of(folder: Path, dtype: torch.dtype) -> str | None:
    """Which of a folder's sets of weights is read: "fp16" or None, the unnamed one.

    Half precision where that is computed with, or where there is nothing else.
    """
    names = [path.name for path in folder.glob("*/*.safetensors")]
    halves = [name for name in names if ".fp16" in name]  # in parts: model.fp16-00001-of-00002
    wholes = len(names) > len(halves)
    return "fp16" if halves and (dtype == torch.float16 or not wholes) else None


@contextmanager
def seeded_globals(seed: int, device: torch.device) -> Iterator[None]:
    """Let what draws from the global generators do so from `seed`, and put them back.

    Some pipelines draw a part of their noise there whatever generator they are given:
    I2VGenXLPipeline and AnimateDiffSparseControlNetPipeline do so when they encode the picture.
    """
    on_cuda = device.type == "cuda"
    index = device.index if device.index is not None else 0
    on_mps = torch.mps.get_rng_state() if device.type == "mps" else None
    with torch.random.fork_rng(devices=[index] if on_cuda else []):
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            torch.cuda.default_generators[index].manual_seed(seed)
        if on_mps is not None:
            torch.mps.manual_seed(seed)
        try:
            yield
        finally:
            if on_mps is not None:
                torch.mps.set_rng_state(on_mps)


@dataclass(frozen=True)
class _Reader:
    """What `encode_prompt` asks of a pipeline, for those that know no textual inversions."""

    tokenizer: Any
    text_encoder: Any
    _execution_device: torch.device

    def maybe_convert_prompt(self, prompt: str, tokenizer: Any) -> str:
        """The prompt as it is."""
        return prompt


def _words(recipe: Recipe, pipeline: Any, prompt: str) -> dict[str, Any]:
    """The arguments that tell a pipeline the words."""
    if not recipe.says_text:
        return {}
    if recipe.clip_skip is None:
        return {"prompt": prompt}
    reader = _Reader(pipeline.tokenizer, pipeline.text_encoder, pipeline._execution_device)
    with torch.no_grad():
        none, said = encode_prompt(
            reader, prompt, "", uses_guidance=True, clip_skip=recipe.clip_skip
        ).chunk(2)
    return {"prompt_embeds": said, "negative_prompt_embeds": none}


def _to_uint8(frames: np.ndarray[Any, np.dtype[np.floating[Any]]]) -> Frames:
    """Frames in 0..1 (f h w 3) to the nearest of 0..255.

    Raises ModelError where they are not finite, as half precision can make them.
    """
    if not np.isfinite(frames).all():
        raise ModelError(
            "the method made frames with infinite or undefined numbers; its weights may be damaged "
            "or unfit for half precision: try --device cpu"
        )
    levels: Frames = np.rint(frames.clip(0, 1) * 255).astype(np.uint8)
    return levels


def _check_takes_pictures(pipeline: Any, folder: Path) -> None:
    """Raises ModelError for a SparseCtrl of scribbles."""
    if not pipeline.controlnet.use_simplified_condition_embedding:
        raise ModelError(
            f"the SparseCtrl in {folder} takes scribbles, not pictures (its configuration has "
            "use_simplified_condition_embedding false); give the one that is made for RGB pictures"
        )


def _build(recipe: Recipe, context: Context) -> DiffusersMaker:
    """The method.  Raises ModelError for a folder of another kind, before any clip is made."""
    if not context.weights:
        raise ModelError(
            f"the method '{recipe.method}' needs a folder of a {recipe.pipeline} in diffusers' "
            f"layout; give it with --weights {recipe.method}=PATH"
        )
    folder = Path(context.weights).expanduser()
    check_folder(recipe, folder)
    return DiffusersMaker(recipe, folder, context.device)


def _spec(recipe: Recipe, title: str, called: str) -> MethodSpec:
    skip = {} if recipe.clip_skip is None else {"clip_skip": recipe.clip_skip}
    settings = {
        **recipe.call, **skip, "pipeline": recipe.pipeline, "pixels": recipe.area,
        "multiple": recipe.multiple,
    }  # fmt: skip
    return MethodSpec(
        name=recipe.method, title=title, build=partial(_build, recipe),
        settings=settings if recipe.says_text else {**settings, "text": ""},
        needs_weights=f"a folder of {called} in diffusers' layout",
    )  # fmt: skip


PIA = Recipe(
    method="pia", pipeline="PIAPipeline", area=512 * 512,
    call={"num_inference_steps": 50, "guidance_scale": 7.5, "motion_scale": 0},
)  # fmt: skip
SVD = Recipe(
    method="svd", pipeline="StableVideoDiffusionPipeline", area=576 * 1024, says_text=False,
    call={
        "num_inference_steps": 25, "min_guidance_scale": 1.0, "max_guidance_scale": 3.0, "fps": 7,
        "motion_bucket_id": 127, "noise_aug_strength": 0.02,
        # All frames at once, as by default, need more memory than most cards have.
        "decode_chunk_size": 8,
    },
)  # fmt: skip
I2VGEN_XL = Recipe(
    method="i2vgen-xl", pipeline="I2VGenXLPipeline", area=704 * 1280,
    clip_skip=1, call={"num_inference_steps": 50, "guidance_scale": 9.0, "target_fps": 16},
)  # fmt: skip
SPARSECTRL_RGB = Recipe(
    method="sparsectrl-rgb", pipeline="AnimateDiffSparseControlNetPipeline", area=512 * 512,
    picture="conditioning_frames",
    call={
        "num_inference_steps": 50, "guidance_scale": 7.5, "controlnet_conditioning_scale": 1.0,
        "controlnet_frame_indices": [0],
    },
)  # fmt: skip

SPECS: tuple[MethodSpec, ...] = (
    _spec(PIA, "PIA", "PIA"),
    _spec(SVD, "Stable Video Diffusion", "Stable Video Diffusion"),
    _spec(I2VGEN_XL, "I2VGen-XL", "I2VGen-XL"),
    _spec(SPARSECTRL_RGB, "SparseCtrl (RGB)", "AnimateDiff with the RGB SparseCtrl"),
)
