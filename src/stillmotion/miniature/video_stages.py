"""The stages of the miniature DynamiCrafter, on the folder of a `Workshop`.

Each saves what it made below `dynamicrafter/<stage>`; the next begins there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPModel, CLIPVisionModel

from stillmotion.dynamicrafter.image_context import ImageContext
from stillmotion.dynamicrafter.image_model import (
    ContextImageUNet,
    image_attention_state,
    receive_image_attention,
)
from stillmotion.dynamicrafter.inflation import network_for, text_to_video_from_image
from stillmotion.dynamicrafter.stages import STAGES, TrainingStage, training_everything
from stillmotion.dynamicrafter.training import StageTraining
from stillmotion.dynamicrafter.unet import DynamiCrafterUNet
from stillmotion.miniature.recipe import Recipe, StageBudget
from stillmotion.miniature.stages import Workshop
from stillmotion.miniature.text_to_image import StillDiffusionStage, TextConditioner, build_unet
from stillmotion.miniature.video import (
    LATENTS_FILE,
    NAMED_LOOK,
    VIDEO_NOISY_BIAS,
    VideoFormat,
    VideoNoising,
    VideoSource,
    video_latents,
    video_scene,
)
from stillmotion.miniature.video_text import VideoTextStage, VideoTower, shallower
from stillmotion.runtime.seeds import derive_seed

_FOLDER = "dynamicrafter"
_CONTEXT, _UNET = "image_context", "unet"
VIDEO_TEXT_ENCODER = "dynamicrafter/text_encoder"
"""Of all video models: where it lies in a run folder, and in the package."""
_ATTENTION_FILE = "image_attention.safetensors"
_PREVIOUS = {"adapt": "video", "joint": "adapt", "finish": "joint", "interpolation": "finish"}
OWN_STAGES: Mapping[str, TrainingStage] = {
    **STAGES,
    "finish": replace(training_everything(STAGES["joint"]), name="finish", condition_frame="first"),
    "interpolation": training_everything(STAGES["interpolation"]),
}
"""The paper's stages, and where the miniature departs from them.

The paper's text-to-video model had seen ten million clips, and its temporal layers rest.  This one
has learned for an hour, so they go on learning, together with all else; and its picture is the
first frame in the end, as it will be in use: text says less of one that stands anywhere in a
motion.
"""


def build_image_context(recipe: Recipe, embed_dims: int) -> ImageContext:
    """P, for pictures of which CLIP has tokens of `embed_dims` channels."""
    context: ImageContext = ImageContext(
        embed_dims=embed_dims, output_dims=recipe.text_width, hidden_dims=recipe.text_width,
        depth=2, dim_head=recipe.text_width // recipe.heads, heads=recipe.heads,
        num_queries=8, num_frames=recipe.num_frames, ffn_ratio=2,
    )  # fmt: skip
    return context


@dataclass(frozen=True, kw_only=True)
class StageRun:
    """One of DynamiCrafter's stages: what it begins with, how long it takes, where it ends."""

    stage: TrainingStage
    out: Path
    """Folder of the networks that it makes; they are there when it is finished."""
    before: Path
    """Folder of the stage whose video U-Net goes on; of single frames the image model does."""
    context: Path | None
    """Folder of the stage whose P goes on, and if it was taught on frames its image attention;
    None: P begins anew."""
    budget: StageBudget


class VideoWorkshop:
    """Runs one of `VIDEO_STAGES`, or any `StageRun`."""

    def __init__(self, shop: Workshop) -> None:
        self.shop, self.recipe = shop, shop.recipe
        self.folder = shop.folder / _FOLDER

    def run(self, name: str) -> None:
        """Train the stage to the end of its budget and save its networks.

        Raises:
            InputError: a stage before it is not finished.
        """
        own = {"video-text": self.text, "video-image": self.image, "video": self.video}
        if name in own:
            own[name]()
            return
        before = self.folder / _PREVIOUS.get(name, "image")
        context = {"context": None, "adapt": self.folder / "context"}.get(name, before)
        self.train(
            StageRun(
                stage=OWN_STAGES[name], out=self.folder / name, before=before, context=context,
                budget=self.recipe.budgets[name],
            )
        )  # fmt: skip

    def text(self) -> None:
        """The text encoder of the video models: CLIP's, which goes on with clips."""
        before = self.shop.conditioner()
        text_encoder = self.shop.built(
            lambda: shallower(before.text_encoder, self.recipe.video_text_layers)
        )
        latents = self._latents()
        training = VideoTextStage(
            self._batch("video-text"), latents,
            [video_scene(self._clips_seed, index).scene for index in range(len(latents))],
            text_encoder, before.tokenizer,
            self.shop.built(lambda: VideoTower(latents.shape[2], self.recipe.text_width)),
        )  # fmt: skip
        self.shop.train(training, self.recipe.budgets["video-text"].loop)
        text_encoder.save_pretrained(self.shop.folder / VIDEO_TEXT_ENCODER)

    def image(self) -> None:
        """The image model that the video model begins as: smaller, and of every look."""
        unet = self.shop.built(lambda: build_unet(self.recipe, self.recipe.video_widths))
        training = StillDiffusionStage(
            "video-image", self._batch("video-image"), self.shop.stills_of_all_looks(), unet,
            self._conditioner(), domain_words=NAMED_LOOK, noising=VideoNoising(),
        )  # fmt: skip
        self.shop.train(training, self.recipe.budgets["video-image"].loop)
        unet.save_pretrained(self.folder / "image" / _UNET)

    def video(self) -> None:
        """The text-to-video model, all of it, on clips of every look."""
        image_unet = self._image_unet()
        unet = self.shop.built(lambda: text_to_video_from_image(image_unet))
        stage = replace(training_everything(STAGES["base"]), name="video")
        training = StageTraining(
            stage, self._batch("video"), self._source(None), unet, VideoNoising(VIDEO_NOISY_BIAS)
        )
        self.shop.train(training, self.recipe.budgets["video"].loop)
        unet.save_pretrained(self.folder / "video" / _UNET)

    def train(self, run: StageRun, logs: Path | None = None) -> None:
        """Train one stage and save its networks; `logs` as in `Workshop.train`.

        Raises:
            InputError: a stage before it is not finished.
        """
        encoder = self._encoder() if run.stage.context else None
        context = None if encoder is None else self._image_context(run, encoder)
        on_frames = run.stage.data == "frames"
        unet: ContextImageUNet | DynamiCrafterUNet = (
            self._image_network(run) if on_frames else self._video_network(run)
        )
        training = StageTraining(
            run.stage, run.budget.batch, self._source(encoder), unet,
            VideoNoising() if on_frames else VideoNoising(VIDEO_NOISY_BIAS), context,
        )  # fmt: skip
        self.shop.train(training, run.budget.loop, logs)
        if context is not None:
            context.save_pretrained(run.out / _CONTEXT)
        if on_frames:
            save_file(image_attention_state(unet), run.out / _ATTENTION_FILE)
        elif isinstance(unet, DynamiCrafterUNet):
            unet.save_pretrained(run.out / _UNET)

    def _image_network(self, run: StageRun) -> ContextImageUNet:
        image_unet = self._image_unet()
        return self.shop.built(lambda: ContextImageUNet(image_unet, gate=run.stage.gate))

    def _video_network(self, run: StageRun) -> DynamiCrafterUNet:
        path = self._finished(run.before / _UNET, run.before.name)
        unet = DynamiCrafterUNet.from_pretrained(path)
        unet = self.shop.built(lambda: network_for(run.stage, unet))
        if run.context is not None and (run.context / _ATTENTION_FILE).exists():
            receive_image_attention(unet, load_file(run.context / _ATTENTION_FILE))
        return unet

    def _image_context(self, run: StageRun, encoder: CLIPVisionModel) -> ImageContext:
        """P as an earlier stage has left it, or a new one."""
        if run.context is None:
            width = int(encoder.config.hidden_size)
            return self.shop.built(lambda: build_image_context(self.recipe, width))
        path = self._finished(run.context / _CONTEXT, run.context.name)
        context: ImageContext = ImageContext.from_pretrained(path).to(self.shop.device)
        return context

    def _image_unet(self) -> UNet2DConditionModel:
        path = self._finished(self.folder / "image" / _UNET, "video-image")
        return UNet2DConditionModel.from_pretrained(path)

    def _encoder(self) -> CLIPVisionModel:
        """CLIP's image tower, of which P reads the last hidden states."""
        clip = CLIPModel.from_pretrained(self.shop.part("clip", "clip"))
        encoder = CLIPVisionModel(clip.config.vision_config)
        encoder.load_state_dict(clip.vision_model.state_dict())
        return encoder.to(self.shop.device)

    def _source(self, encoder: CLIPVisionModel | None) -> VideoSource:
        return VideoSource(self._latents(), self._form, self._conditioner(), encoder)

    def _latents(self) -> Tensor:
        path = self.shop.folder / LATENTS_FILE
        return video_latents(path, self.shop.encoder(), self._form)

    def _conditioner(self) -> TextConditioner:
        """The text encoder that has learned from clips."""
        return self.shop.conditioner(VIDEO_TEXT_ENCODER, "video-text")

    @property
    def _form(self) -> VideoFormat:
        recipe = self.recipe
        return VideoFormat(
            count=recipe.video_clips, seed=self._clips_seed, num_frames=recipe.num_frames,
            size=recipe.image_size,
        )  # fmt: skip

    @property
    def _clips_seed(self) -> int:
        return derive_seed(self.recipe.seed, "videos")

    def _batch(self, name: str) -> int:
        return self.recipe.budgets[name].batch

    def _finished(self, path: Path, stage: str) -> Path:
        return self.shop.part(str(path.relative_to(self.shop.folder)), stage)
