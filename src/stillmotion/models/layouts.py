"""What a file of weights is, told from the names and shapes of its tensors.

Published files carry no reliable label, but every format has names that no other has.  The rules
below are tried in order, the most telling first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

SD15, SD2, SDXL = "Stable Diffusion 1.5", "Stable Diffusion 2", "Stable Diffusion XL"
_V1_POSITIONS = 24
"""Rows of the position tables of AnimateDiff v1; later versions have 32."""


class FileKind(StrEnum):
    """Formats that are told apart.  LDM is the naming of the original Stable Diffusion code."""

    LDM = "ldm"
    LDM_WITHOUT_TEXT = "ldm-without-text-encoder"
    SD2_CHECKPOINT = "sd2"
    SDXL_CHECKPOINT = "sdxl"
    DYNAMICRAFTER = "dynamicrafter"
    VIDEOCRAFTER = "videocrafter"
    UNET = "unet"
    VIDEO_UNET = "video-unet"
    TEXT_ENCODER = "text-encoder"
    VAE_LDM = "vae-ldm"
    VAE = "vae"
    MOTION_V1 = "motion-v1"
    MOTION_V2 = "motion-v2"
    MOTION_V3 = "motion-v3"
    MOTION_DIFFUSERS = "motion-diffusers"
    MOTION_LORA = "motion-lora"
    MOTION_LORA_DIFFUSERS = "motion-lora-diffusers"
    DOMAIN_ADAPTER = "domain-adapter"
    KOHYA_LORA = "kohya-lora"
    DIFFUSERS_LORA = "diffusers-lora"
    LYCORIS = "lycoris"
    IP_ADAPTER = "ip-adapter"
    EMBEDDING = "embedding"
    CONTROLNET_LDM = "controlnet-ldm"
    CONTROLNET = "controlnet"
    PICKLE = "pickle"
    TORCHSCRIPT = "torchscript"
    DAMAGED = "damaged"
    UNKNOWN = "unknown"

    @property
    def words(self) -> str:
        """The kind as told of a file: 'a kohya LoRA'."""
        return _WORDS[self][0]

    @property
    def expected_words(self) -> str:
        """The kind as asked for, which leaves versions and namings open: 'a motion module'."""
        return _WORDS[self][-1]


MOTION_MODULES = frozenset(
    {FileKind.MOTION_V1, FileKind.MOTION_V2, FileKind.MOTION_V3, FileKind.MOTION_DIFFUSERS}
)
LORAS = frozenset(
    {
        FileKind.KOHYA_LORA,
        FileKind.DIFFUSERS_LORA,
        FileKind.DOMAIN_ADAPTER,
        FileKind.MOTION_LORA,
        FileKind.MOTION_LORA_DIFFUSERS,
    }
)
CHECKPOINTS = frozenset({FileKind.LDM, FileKind.LDM_WITHOUT_TEXT})
VIDEO_CHECKPOINTS = frozenset({FileKind.DYNAMICRAFTER, FileKind.VIDEOCRAFTER})
VAES = frozenset({FileKind.VAE, FileKind.VAE_LDM})

_CHECKPOINT = "a Stable Diffusion 1.x checkpoint"
_WORDS: dict[FileKind, tuple[str, ...]] = {
    FileKind.LDM: (_CHECKPOINT,),
    FileKind.LDM_WITHOUT_TEXT: (f"{_CHECKPOINT} without text encoder", _CHECKPOINT),
    FileKind.SD2_CHECKPOINT: ("a checkpoint",),
    FileKind.SDXL_CHECKPOINT: ("a checkpoint",),
    FileKind.DYNAMICRAFTER: ("a DynamiCrafter checkpoint",),
    FileKind.VIDEOCRAFTER: ("a VideoCrafter checkpoint",),
    FileKind.UNET: ("a U-Net in diffusers' naming", "a U-Net"),
    FileKind.VIDEO_UNET: ("a U-Net with its motion modules",),
    FileKind.TEXT_ENCODER: ("a CLIP text encoder",),
    FileKind.VAE_LDM: ("a VAE in the original naming", "a VAE"),
    FileKind.VAE: ("a VAE in diffusers' naming", "a VAE"),
    FileKind.MOTION_V1: ("an AnimateDiff v1 motion module", "a motion module"),
    FileKind.MOTION_V2: ("an AnimateDiff v2 motion module", "a motion module"),
    FileKind.MOTION_V3: ("an AnimateDiff v3 motion module", "a motion module"),
    FileKind.MOTION_DIFFUSERS: ("a motion module in diffusers' naming", "a motion module"),
    FileKind.MOTION_LORA: ("a motion LoRA in AnimateDiff's naming", "a motion LoRA"),
    FileKind.MOTION_LORA_DIFFUSERS: ("a motion LoRA in diffusers' naming", "a motion LoRA"),
    FileKind.DOMAIN_ADAPTER: ("an AnimateDiff domain adapter", "a LoRA"),
    FileKind.KOHYA_LORA: ("a kohya LoRA", "a LoRA"),
    FileKind.DIFFUSERS_LORA: ("a LoRA in diffusers' naming", "a LoRA"),
    FileKind.LYCORIS: ("a LyCORIS network (LoHa, LoKr, DoRA or the like)",),
    FileKind.IP_ADAPTER: ("an IP-Adapter",),
    FileKind.EMBEDDING: ("a textual inversion embedding",),
    FileKind.CONTROLNET_LDM: ("a ControlNet in the original naming", "a ControlNet"),
    FileKind.CONTROLNET: ("a ControlNet in diffusers' naming", "a ControlNet"),
    FileKind.PICKLE: ("a pickle", "a pickle"),
    FileKind.TORCHSCRIPT: ("a TorchScript archive",),
    FileKind.DAMAGED: ("damaged",),
    FileKind.UNKNOWN: ("a file of tensors of no known kind", "a file of another kind"),
}


@dataclass(frozen=True)
class Layout:
    """A kind of file and the family of models it belongs to, empty where nothing tells it."""

    kind: FileKind
    family: str = ""

    @property
    def words(self) -> str:
        """'a kohya LoRA for Stable Diffusion 1.5'."""
        told = self.kind.words
        return f"{told} for {self.family}" if self.family and self.family not in told else told


def layout_of(shapes: Shapes) -> Layout:
    """Tell a file by the names and shapes of its tensors."""
    plain = {plain_name(name): shape for name, shape in shapes.items()}
    for kind, fits in _RULES:
        if fits(plain):
            return Layout(kind, _family(kind, plain))
    return Layout(FileKind.UNKNOWN)


def plain_name(name: str) -> str:
    """A tensor's name without what data-parallel trainers (torch, deepspeed) put before it."""
    return name.removeprefix("module.").removeprefix("_forward_module.")


def expected_words(kinds: Iterable[FileKind]) -> str:
    """'a motion module or a LoRA', each said once."""
    return " or ".join(sorted({kind.expected_words for kind in kinds}))


def position_rows(shapes: Shapes) -> int | None:
    """Rows of the tables of positions (1 rows c) in a motion module, None if it has none."""
    tables = [s for name, s in shapes.items() if name.endswith(".pe") and len(s) == 3]
    return min((shape[1] for shape in tables), default=None)


def motion_version(shapes: Shapes, rows: int | None) -> FileKind:
    """The version of a motion module: v2 has one in the middle block, v1 has 24 positions.

    AnimateLCM and AnimateDiff-Lightning are built as v2.  Without a table and without a middle
    block it is v3: the published v1 files have their tables, later ones need not.
    """
    if has(shapes, r"^mid_block\.motion_modules\."):
        return FileKind.MOTION_V2
    return FileKind.MOTION_V1 if rows == _V1_POSITIONS else FileKind.MOTION_V3


def has(shapes: Shapes, pattern: str) -> bool:
    """Whether some name matches `pattern` (a regular expression, anywhere in the name)."""
    search = re.compile(pattern).search
    return any(search(name) for name in shapes)


_LORA = r"[._]lora[._](down|up|A|B|linear_layer)"
_LYCORIS = r"\.(hada_w\d|lokr_w\d|oft_|glora|dora_scale|lora_magnitude_vector|lora_mid)"
_LDM_UNET = r"^model\.diffusion_model\.input_blocks\.0\.0\.weight$"
_CONTEXT_KEYS = re.compile(
    r"(attn2[._](processor\.)?to_k([._]lora[._](down|A))?(\.default)?|to_k_ip)\.weight$"
)
_WIDTHS = {768: SD15, 1024: SD2, 2048: SDXL}


def _context_width(shapes: Shapes) -> int | None:
    """Width of the text embeddings that the cross-attentions take."""
    for name, shape in shapes.items():
        if _CONTEXT_KEYS.search(name) and len(shape) == 2:
            return shape[1]
    return None


def _family(kind: FileKind, shapes: Shapes) -> str:
    if kind is FileKind.SDXL_CHECKPOINT or has(shapes, r"^(lora_te2_|text_encoder_2\.|clip_g$)"):
        return SDXL
    if kind is FileKind.SD2_CHECKPOINT:
        return SD2
    if kind in VIDEO_CHECKPOINTS:
        return ""
    if kind is FileKind.EMBEDDING:
        width = next((shape[-1] for shape in shapes.values() if shape), None)
    else:
        width = _context_width(shapes)
    return _WIDTHS.get(width, "") if width is not None else ""


def _is_original_motion(shapes: Shapes, version: FileKind) -> bool:
    if not has(shapes, r"\.motion_modules\.\d+\.temporal_transformer\."):
        return False
    return motion_version(shapes, position_rows(shapes)) is version


def _is_whole_video_unet(shapes: Shapes) -> bool:
    return has(shapes, r"\.motion_modules\.") and has(shapes, r"\.resnets\.|^model\.diffusion")


def _is_sdxl(shapes: Shapes) -> bool:
    return has(shapes, _LDM_UNET) and has(shapes, r"^conditioner\.|\.label_emb\.")


def _is_sd2(shapes: Shapes) -> bool:
    return has(shapes, _LDM_UNET) and (
        has(shapes, r"^cond_stage_model\.model\.") or _context_width(shapes) == 1024
    )


def _is_embedding(shapes: Shapes) -> bool:
    """Vectors of one token: named emb_params, clip_g and clip_l, or after the token alone."""
    if has(shapes, r"^(emb_params|clip_[gl]|string_to_param\..*)$"):
        return True
    return len(shapes) == 1 and all(
        len(shape) in (1, 2) and shape[-1] in _WIDTHS and "." not in name
        for name, shape in shapes.items()
    )


def _named(pattern: str) -> Callable[[Shapes], bool]:
    return lambda shapes: has(shapes, pattern)


def _version(kind: FileKind) -> Callable[[Shapes], bool]:
    return lambda shapes: _is_original_motion(shapes, kind)


_RULES: tuple[tuple[FileKind, Callable[[Shapes], bool]], ...] = (
    (FileKind.LYCORIS, _named(_LYCORIS)),
    (FileKind.MOTION_LORA, _named(r"\.temporal_transformer\..*" + _LORA)),
    (FileKind.MOTION_LORA_DIFFUSERS, _named(r"motion_modules\..*" + _LORA)),
    (FileKind.KOHYA_LORA, _named(r"^lora_(unet|te\d?)_.*\.lora_down\.weight$")),
    (FileKind.DOMAIN_ADAPTER, _named(r"^(down|up|mid)_block.*\.processor\.to_[^.]*_lora\.")),
    (FileKind.DIFFUSERS_LORA, _named(_LORA)),
    (FileKind.VIDEO_UNET, _is_whole_video_unet),
    *((kind, _version(kind)) for kind in sorted(MOTION_MODULES - {FileKind.MOTION_DIFFUSERS})),
    (FileKind.MOTION_DIFFUSERS, _named(r"\.motion_modules\.")),
    (FileKind.CONTROLNET_LDM, _named(r"^control_model\.|^input_hint_block\.")),
    (FileKind.CONTROLNET, _named(r"^controlnet_cond_embedding\.")),
    (FileKind.IP_ADAPTER, _named(r"^(image_proj|ip_adapter)\.")),
    (FileKind.DYNAMICRAFTER, _named(r"^image_proj_model\.|^model\.diffusion_model\..*\.to_k_ip\.")),
    (FileKind.VIDEOCRAFTER, _named(r"^model\.diffusion_model\.init_attn\.")),
    (FileKind.SDXL_CHECKPOINT, _is_sdxl),
    (FileKind.SD2_CHECKPOINT, _is_sd2),
    (FileKind.LDM, lambda s: has(s, _LDM_UNET) and has(s, r"^cond_stage_model\.transformer\.")),
    (FileKind.LDM_WITHOUT_TEXT, _named(_LDM_UNET)),
    (FileKind.UNET, _named(r"^down_blocks\.0\.resnets\.0\.time_emb_proj\.")),
    (FileKind.VAE_LDM, _named(r"^(first_stage_model\.)?encoder\.down\.0\.block\.")),
    (FileKind.VAE, _named(r"^encoder\.down_blocks\.0\.resnets\.")),
    (FileKind.TEXT_ENCODER, _named(r"^(text_model\.)?embeddings\.token_embedding\.weight$")),
    (FileKind.EMBEDDING, _is_embedding),
)
