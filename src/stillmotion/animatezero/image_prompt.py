"""IP-Adapters: a picture that the model sees beside the text.

An IP-Adapter adds keys and values of a picture to the spatial cross-attentions (attn2).
AnimateZero changes the self-attentions only, and only for the length of a call, so the two do not
meet.  diffusers builds all other processors anew when it loads one, without harm: none of ours is
installed then.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from stillmotion.errors import InputError, ModelError
from stillmotion.models.files import expect
from stillmotion.models.layouts import FileKind

IMAGE_ENCODER = "image_encoder"
# The first layer behind the image encoder, in the kinds that take a picture: plain, full, plus.
_TAKES_PICTURE = tuple(f"image_proj.{name}" for name in ("proj.weight", "proj.3.weight", "latents"))


def load_ip_adapter(pipe: Any, path: Path, scale: float = 1.0) -> None:
    """Put an IP-Adapter into a pipeline's U-Net, and its image encoder into the pipeline.

    Args:
        pipe: an AnimateDiff pipeline.
        path: a .safetensors file; the folder `image_encoder` of its CLIP lies beside it.
        scale: how much the picture counts beside the text; 0 is nothing.

    Raises:
        ModelError: the file is of another kind, or of one that needs a face recogniser, or does
            not fit, or there is no image encoder beside it.
    """
    found = expect(path, FileKind.IP_ADAPTER)
    if not any(name in found.shapes for name in _TAKES_PICTURE):
        raise ModelError(
            f"'{path.name}' is an IP-Adapter for the numbers of a face recogniser, which is not "
            "part of stillmotion; use one that takes a picture"
        )
    if not (path.parent / IMAGE_ENCODER / "config.json").is_file():
        raise ModelError(
            f"the IP-Adapter '{path.name}' needs its image encoder in the folder "
            f"{path.parent / IMAGE_ENCODER}; copy it there from where the adapter came"
        )
    try:
        pipe.load_ip_adapter(
            str(path.parent),
            subfolder="",
            weight_name=path.name,
            image_encoder_folder=IMAGE_ENCODER,
            local_files_only=True,
        )
    except (KeyError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"the IP-Adapter '{path.name}' does not fit the U-Net of this model ({error}); use one "
            "for Stable Diffusion 1.5"
        ) from error
    pipe.set_ip_adapter_scale(scale)


def ip_adapter_embeds(pipe: Any, image: Image.Image, *, uses_guidance: bool) -> tuple[Tensor, ...]:
    """What the U-Net's `added_cond_kwargs["image_embeds"]` takes, in its precision.

    One tensor for each IP-Adapter (here one): (g 1 d), or (g 1 n d) for those that see n tokens
    of the picture; g = 2 halves, unconditional first, with guidance, else 1.  UNetMotionModel
    repeats each half itself for all rows of its batch, reference rows included, so nothing is
    repeated here.

    Raises InputError if the pipeline has no IP-Adapter.
    """
    if pipe.unet.encoder_hid_proj is None:
        raise InputError("There is a picture for an IP-Adapter, but no IP-Adapter is loaded.")
    embeds = pipe.prepare_ip_adapter_image_embeds(
        image.convert("RGB"), None, pipe._execution_device, 1, uses_guidance
    )
    return tuple(embed.to(pipe.unet.dtype) for embed in embeds)
