"""The networks that a stage begins with, made from folders, and what stays as it is beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModel

from stillmotion.dynamicrafter.borrowed import load_tokenizer
from stillmotion.dynamicrafter.image_context import ImageContext
from stillmotion.dynamicrafter.image_model import ContextImageUNet, receive_image_attention
from stillmotion.dynamicrafter.inflation import network_for, text_to_video_from_image
from stillmotion.dynamicrafter.scheduler import DynamiCrafterScheduler
from stillmotion.dynamicrafter.stages import TrainingStage
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.errors import InputError, ModelError
from stillmotion.finetuning.request import StageRequest
from stillmotion.finetuning.starts import ATTENTION_FILE, CONTEXT, RECORD_FILE, Start, read_json
from stillmotion.models.dynamicrafter_index import PART_CLASSES
from stillmotion.models.loading import explained, silent_libraries
from stillmotion.runtime.seeds import new_weights

DEFAULT_FRAMES = 16
#: What a new text-to-video model is told of its clips: of the two kinds the one that means the same
#: for clips of any rate.
_PACE = {"pace_kind": "conditioning_fps", "default_pace": 8}


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """Networks that read words and pictures; they do not learn."""

    vae: Any
    text_encoder: Any
    tokenizer: Any
    image_encoder: Any
    """None where no picture is read."""


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What a stage begins with, on one device."""

    start: Start
    unet: DynamiCrafterUNet | ContextImageUNet
    """In float32."""
    image_context: ImageContext | None
    scheduler: DynamiCrafterScheduler
    frozen: Frozen
    image_encoder: Path | None
    """Its folder."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Arguments of DynamiCrafterPipeline beside its parts."""

    @property
    def own_size(self) -> tuple[int, int]:
        """Height and width of the latents that the model was made for."""
        size = self.start.unet.get("sample_size")
        if size is None:
            raise InputError(
                f"The model '{self.start.name}' does not say its size; give height and width."
            )
        height, width = (size, size) if isinstance(size, int) else size
        return int(height), int(width)

    @property
    def own_frames(self) -> int:
        """Frames of the clips that the model was made for."""
        return int(self.settings.get("trained_frames", DEFAULT_FRAMES))


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and how networks are loaded."""

    device: torch.device
    seed: int
    """Of the weights that are new."""
    frames: int | None
    """For a new P; None: as many as usual."""
    frozen_dtype: torch.dtype = torch.float32
    """Of the networks that do not learn."""


def begin(request: StageRequest, stage: TrainingStage, start: Start, place: Place) -> Beginning:
    """Load the networks of a stage from a start that fits it.

    Raises:
        InputError: a folder beside the start is missing, or given in vain.
        ModelError: a folder that is incomplete, damaged, or of another kind.
    """
    context = _context_folder(request, stage, start)
    encoder = _encoder_folder(request, stage, start, context)
    unet: DynamiCrafterUNet | ContextImageUNet
    with silent_libraries(), explained(request.start):
        scheduler = _scheduler(start)
        frozen = _frozen(start, encoder, place)
        if start.draws:
            unet, image_context = _on_image_model(stage, start, frozen, place)
        else:
            unet = _video_network(stage, start, context, place)
            image_context = _image_context(stage, start, context, frozen, place)
    settings = {k: v for k, v in start.index.items() if k[0] != "_" and k not in PART_CLASSES}
    return Beginning(
        start=start, unet=unet.to(place.device), scheduler=scheduler, frozen=frozen,
        image_context=None if image_context is None else image_context.to(place.device),
        image_encoder=encoder, settings=dict(_PACE) if start.draws else settings,
    )  # fmt: skip


def _on_image_model(
    stage: TrainingStage, start: Start, frozen: Frozen, place: Place
) -> tuple[DynamiCrafterUNet | ContextImageUNet, ImageContext | None]:
    """The networks of the stages that begin with an image model."""
    image_unet = UNet2DConditionModel.from_pretrained(start.part("unet"), **_local(torch.float32))
    with new_weights(place.seed):
        if stage.data == "clips":
            return text_to_video_from_image(image_unet), None
        unet = ContextImageUNet(image_unet, gate=stage.gate)
    width = int(image_unet.config.cross_attention_dim)
    return unet, _new_image_context(width, frozen, place)


def _video_network(
    stage: TrainingStage, start: Start, context: Path | None, place: Place
) -> DynamiCrafterUNet:
    """The start's network with what the stage needs, and what "context" has learned."""
    before = DynamiCrafterUNet.from_pretrained(start.part("unet"), **_local(torch.float32))
    with new_weights(place.seed):
        unet = network_for(stage, before)
    if context is not None:
        receive_image_attention(unet, load_file(context / ATTENTION_FILE))
    return unet


def _image_context(
    stage: TrainingStage, start: Start, context: Path | None, frozen: Frozen, place: Place
) -> ImageContext | None:
    """P for a video network: from the stage before, the start's own, or a new one."""
    if not stage.context:
        return None
    if context is None and not start.has_context:
        return _new_image_context(int(start.unet["cross_attention_dim"]), frozen, place)
    folder = start.part(CONTEXT) if context is None else context / CONTEXT
    loaded: ImageContext = ImageContext.from_pretrained(folder, **_local(torch.float32))
    return loaded


def _new_image_context(width: int, frozen: Frozen, place: Place) -> ImageContext:
    """P as the released models have it, for text and image tokens of `width` channels."""
    with new_weights(place.seed):
        context: ImageContext = ImageContext(
            embed_dims=int(frozen.image_encoder.config.hidden_size), output_dims=width,
            hidden_dims=width, num_frames=place.frames or DEFAULT_FRAMES,
        )  # fmt: skip
    return context


def _context_folder(request: StageRequest, stage: TrainingStage, start: Start) -> Path | None:
    """The output of the stage "context", where this stage takes it."""
    takes = stage.name == "adapt" and not start.has_context and request.ablation != "one-stage"
    folder = request.context
    if folder is None and takes:
        raise InputError(
            "The stage 'adapt' takes what the stage 'context' has learned; give the output of that "
            "as its context."
        )
    if folder is not None and not takes:
        raise InputError(
            f"The stage '{stage.name}' takes no context here; leave it out."
            if stage.name != "adapt"
            else f"'{start.name}' has image context already, or is to learn it anew; leave the "
            "context out."
        )
    if folder is None:
        return None
    if not (folder / ATTENTION_FILE).is_file() or not (folder / CONTEXT).is_dir():
        raise InputError(
            f"'{folder}' is not the output of the stage 'context': it lacks {ATTENTION_FILE} or "
            f"{CONTEXT}/."
        )
    recorded = read_json(folder / RECORD_FILE).get("ablation", request.ablation)
    if (recorded == "global-token") != stage.global_token_only:
        raise InputError(
            f"'{folder}' was trained with the ablation '{recorded}' and this stage with "
            f"'{request.ablation}'; they must agree."
        )
    return folder


def _encoder_folder(
    request: StageRequest, stage: TrainingStage, start: Start, context: Path | None
) -> Path | None:
    """The image encoder's folder, where the stage reads pictures."""
    given = request.image_encoder
    makes_context = stage.context and context is None and (start.draws or not start.has_context)
    if given is not None and not makes_context:
        raise InputError(
            f"The stage '{stage.name}' makes no image context here, so it takes no image encoder; "
            "leave it out."
        )
    if not stage.context:
        return None
    if not makes_context:
        return start.part("image_encoder") if context is None else context / "image_encoder"
    if given is None:
        raise InputError(
            f"The stage '{stage.name}' makes the image context, so it needs an image encoder; give "
            "a folder of CLIP with its vision tower, such as the image_encoder of Stable Diffusion "
            "2.1 unCLIP."
        )
    inner = given / "image_encoder"
    return inner if inner.is_dir() else given


def _frozen(start: Start, image_encoder: Path | None, place: Place) -> Frozen:
    """The frozen networks, with the padding of the text that the start was trained with."""
    dtype, device = place.frozen_dtype, place.device
    vae = AutoencoderKL.from_pretrained(start.part("vae"), **_local(dtype))
    text_encoder = load_text_encoder(start, dtype)
    words = text_encoder.config
    tokenizer = load_tokenizer(
        start.part("tokenizer"), words.vocab_size, words.max_position_embeddings
    )
    seen = None if image_encoder is None else load_image_encoder(image_encoder, dtype)
    networks = [vae, text_encoder, *([] if seen is None else [seen])]
    for network in networks:
        network.to(device).eval().requires_grad_(False)
    return Frozen(vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, image_encoder=seen)


def load_text_encoder(start: Start, dtype: torch.dtype | str) -> Any:
    """The text encoder, with the padding that it was trained with in its configuration.

    An image model's tokenizer pads with what its configuration may not say.
    """
    folder = start.part("text_encoder")
    encoder = CLIPTextModel.from_pretrained(folder, dtype=dtype, **_SAFE)
    if start.draws:
        theirs = CLIPTokenizer.from_pretrained(start.part("tokenizer"), local_files_only=True)
        encoder.config.pad_token_id = theirs.pad_token_id
    return encoder


def load_image_encoder(folder: Path, dtype: torch.dtype | str) -> Any:
    """CLIP's vision tower, from a folder of its own or of all of CLIP.

    Raises ModelError if there is none in it.
    """
    if not folder.is_dir():
        raise ModelError(f"There is no folder '{folder}' with an image encoder.")
    if "vision" not in str(read_json(folder / "config.json")):
        raise ModelError(f"'{folder}' holds no CLIP with a vision tower; give a folder that does.")
    with explained(str(folder)):
        encoder, loaded = CLIPVisionModel.from_pretrained(
            folder, dtype=dtype, output_loading_info=True, **_SAFE
        )
    if loaded["missing_keys"]:
        raise ModelError(f"'{folder}' holds no weights of CLIP's vision tower.")
    return encoder


def _scheduler(start: Start) -> DynamiCrafterScheduler:
    """The noise schedule that the start was trained with.

    Raises ModelError for an image model of another kind of schedule.
    """
    config = read_json(start.path / "scheduler" / "scheduler_config.json")
    if not start.draws:
        loaded: DynamiCrafterScheduler = DynamiCrafterScheduler.from_pretrained(
            start.part("scheduler"), local_files_only=True
        )
        return loaded
    kind = config.get("beta_schedule", "scaled_linear")
    if kind != "scaled_linear" or config.get("trained_betas") is not None:
        raise ModelError(
            f"The image model '{start.name}' has the noise schedule '{kind}'; a video model knows "
            "'scaled_linear', that of Stable Diffusion."
        )
    known = ("num_train_timesteps", "beta_start", "beta_end", "prediction_type")
    made: DynamiCrafterScheduler = DynamiCrafterScheduler(
        **{name: config[name] for name in known if name in config},
        zero_terminal_snr=bool(config.get("rescale_betas_zero_snr", False)),
    )
    return made


_SAFE = {"use_safetensors": True, "local_files_only": True}


def _local(dtype: torch.dtype) -> dict[str, Any]:
    return {"torch_dtype": dtype, **_SAFE}
