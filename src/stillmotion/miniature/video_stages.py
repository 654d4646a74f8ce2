"""The stages of the miniature DynamiCrafter, on the folder of a `Workshop`.

Each saves what it made below `dynamicrafter/<stage>`; the next begins there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPModel, CLIPVisionModel

from stillmotion.dynamicrafter.image_context import ImageContext
from stillmotion.dynamicrafter.image_model import ContextImageUNet, transfer_image_attention
from stillmotion.dynamicrafter.inflation import network_for, text_to_video_from_image
from stillmotion.dynamicrafter.stages import STAGES, training_everything
from stillmotion.dynamicrafter.training import StageTraining
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.miniature.recipe import Recipe
from stillmotion.miniature.stages import Workshop
from stillmotion.miniature.text_to_image import StillDiffusionStage, build_unet
from stillmotion.miniature.video import (
    NAMED_LOOK,
    VideoFormat,
    VideoNoising,
    VideoSource,
    build_video_scheduler,
    video_latents,
)
from stillmotion.runtime.seeds import derive_seed

_FOLDER = "dynamicrafter"
_CONTEXT, _UNET = "image_context", "unet"
_ATTENTION_FILE = "image_attention.safetensors"
_PREVIOUS = {"adapt": "video", "joint": "adapt", "interpolation": "joint"}


def build_image_context(recipe: Recipe, embed_dims: int) -> ImageContext:
    """P, for pictures of which CLIP has tokens of `embed_dims` channels."""
    context: ImageContext = ImageContext(
        embed_dims=embed_dims, output_dims=recipe.text_width, hidden_dims=recipe.text_width,
        depth=2, dim_head=recipe.text_width // recipe.heads, heads=recipe.heads,
        num_queries=8, num_frames=recipe.num_frames, ffn_ratio=2,
    )  # fmt: skip
    return context


class VideoWorkshop:
    """Runs one of `VIDEO_STAGES`."""

    def __init__(self, shop: Workshop) -> None:
        self.shop, self.recipe = shop, shop.recipe
        self.folder = shop.folder / _FOLDER

    def run(self, name: str) -> None:
        """Train the stage to the end of its budget and save its networks.

        Raises:
            InputError: a stage before it is not finished.
        """
        runs = {"video-image": self.image, "video": self.video, "context": self.context}
        runs.get(name, lambda: self.on_video(name))()

    def image(self) -> None:
        """The image model that the video model begins as: smaller, and of every look."""
        unet = self.shop.built(lambda: build_unet(self.recipe, self.recipe.video_widths))
        training = StillDiffusionStage(
            "video-image", self._batch("video-image"), self.shop.stills_of_all_looks(), unet,
            self.shop.conditioner(), domain_words=NAMED_LOOK, noising=VideoNoising(),
        )  # fmt: skip
        self.shop.train(training, self.recipe.budgets["video-image"].loop)
        unet.save_pretrained(self.folder / "image" / _UNET)

    def video(self) -> None:
        """The text-to-video model, all of it, on clips of every look."""
        image_unet = self._image_unet()
        unet = self.shop.built(lambda: text_to_video_from_image(image_unet))
        stage = replace(training_everything(STAGES["base"]), name="video")
        source = self._source(None)
        training = StageTraining(stage, self._batch("video"), source, unet, build_video_scheduler())
        self.shop.train(training, self.recipe.budgets["video"].loop)
        unet.save_pretrained(self.folder / "video" / _UNET)

    def context(self) -> None:
        """P and the image cross-attention, on single frames and the frozen image model."""
        encoder = self._encoder()
        image_unet = self._image_unet()
        stage = STAGES["context"]
        unet = self.shop.built(lambda: ContextImageUNet(image_unet, gate=stage.gate))
        context = self._new_context(encoder)
        training = StageTraining(
            stage,
            self._batch("context"),
            self._source(encoder),
            unet,
            build_video_scheduler(),
            context,
        )
        self.shop.train(training, self.recipe.budgets["context"].loop)
        folder = self.folder / "context"
        context.save_pretrained(folder / _CONTEXT)
        learned = {n: w.contiguous() for n, w in unet.state_dict().items() if ".processor." in n}
        save_file(learned, folder / _ATTENTION_FILE)

    def on_video(self, name: str) -> None:
        """A stage on the video model, from the one before it."""
        stage, encoder = STAGES[name], self._encoder()
        before = self.folder / _PREVIOUS[name]
        unet = DynamiCrafterUNet.from_pretrained(self._finished(before / _UNET, _PREVIOUS[name]))
        unet = self.shop.built(lambda: network_for(stage, unet))
        if name == "adapt":
            before = self.folder / "context"
            self._receive_attention(unet)
        context = ImageContext.from_pretrained(self._finished(before / _CONTEXT, before.name))
        training = StageTraining(
            stage, self._batch(name), self._source(encoder), unet, build_video_scheduler(),
            context.to(self.shop.device),
        )  # fmt: skip
        self.shop.train(training, self.recipe.budgets[name].loop)
        unet.save_pretrained(self.folder / name / _UNET)
        context.save_pretrained(self.folder / name / _CONTEXT)

    def _receive_attention(self, unet: DynamiCrafterUNet) -> None:
        """What the stage "context" has learned, from the image model into the video model."""
        image_unet = self._image_unet()
        holder = ContextImageUNet(image_unet, gate=STAGES["context"].gate)
        path = self._finished(self.folder / "context" / _ATTENTION_FILE, "context")
        holder.load_state_dict(load_file(path), strict=False)
        transfer_image_attention(holder, unet)

    def _image_unet(self) -> UNet2DConditionModel:
        path = self._finished(self.folder / "image" / _UNET, "video-image")
        return UNet2DConditionModel.from_pretrained(path)

    def _new_context(self, encoder: CLIPVisionModel) -> ImageContext:
        width = int(encoder.config.hidden_size)
        return self.shop.built(lambda: build_image_context(self.recipe, width))

    def _encoder(self) -> CLIPVisionModel:
        """CLIP's image tower, of which P reads the last hidden states."""
        clip = CLIPModel.from_pretrained(self.shop.part("clip", "clip"))
        encoder = CLIPVisionModel(clip.config.vision_config)
        encoder.load_state_dict(clip.vision_model.state_dict())
        return encoder.to(self.shop.device)

    def _source(self, encoder: CLIPVisionModel | None) -> VideoSource:
        recipe = self.recipe
        form = VideoFormat(
            count=recipe.video_clips, seed=derive_seed(recipe.seed, "videos"),
            num_frames=recipe.num_frames, size=recipe.image_size,
        )  # fmt: skip
        path = self.shop.folder / "data" / "latents-videos.safetensors"
        latents = video_latents(path, self.shop.encoder(), form)
        return VideoSource(latents, form, self.shop.conditioner(), encoder)

    def _batch(self, name: str) -> int:
        return self.recipe.budgets[name].batch

    def _finished(self, path: Path, stage: str) -> Path:
        return self.shop.part(str(path.relative_to(self.shop.folder)), stage)
