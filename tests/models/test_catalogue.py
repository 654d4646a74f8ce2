"""What the package says about models that it does not hold, and how their parts are found."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import diffusers
import pytest
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from tests.models.tiny_folders import make_checkpoint, make_folder, make_lora, make_motion

from stillmotion.animatezero.assembly import build_scheduler
from stillmotion.animatezero.ingredients import Ingredients
from stillmotion.animatezero.loading import load_model
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.errors import ModelError
from stillmotion.models.description import ModelDescription, Source
from stillmotion.models.dynamicrafter_variants import VARIANTS, Variant
from stillmotion.models.registry import catalogue, known_models, resolve_model
from stillmotion.models.sources import check_hashes, locate

# Of the AnimateZero paper, with their numbers at Civitai.
PAPER = {
    "toonyou": 30240,
    "cardos-anime": 25399,
    "anything-v5": 9409,
    "counterfeit-v3": 4468,
    "realistic-vision-v51": 4201,
    "photon": 84728,
    "helloobject": 121716,
}
REVISION = "0123456789abcdef0123456789abcdef01234567"
DYNAMICRAFTER = {
    "dynamicrafter-256": Variant.V256,
    "dynamicrafter-512": Variant.V512,
    "dynamicrafter-1024": Variant.V1024,
    "dynamicrafter-512-interp": Variant.INTERPOLATION,
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no models of the user's."""
    monkeypatch.setenv("STILLMOTION_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def cached(hub: Path, source: Source) -> Path:
    """The folder of a repository's snapshot in the cache, as if it had been fetched."""
    assert source.hub is not None
    repository = hub / f"models--{source.hub.replace('/', '--')}"
    revision = source.revision or REVISION
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / "main").write_text(revision)
    snapshot = repository / "snapshots" / revision
    snapshot.mkdir(parents=True, exist_ok=True)
    return snapshot


def fetch_base(hub: Path) -> Path:
    """Tiny networks in the place of Stable Diffusion 1.5, which draws only, and of the motion."""
    parts = catalogue()["sd15"].parts
    assert parts is not None
    assert parts.motion is not None
    folder = cached(hub, parts.base)
    make_folder(folder, 10, motion=False, beta_schedule="scaled_linear")
    (folder / "stillmotion.json").unlink()
    for name in parts.base.files:  # such as the feature extractor, which no test needs
        if not (folder / name).exists():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("{}")
    make_motion(cached(hub, parts.motion), 60)
    return folder


def test_what_is_described() -> None:
    own = {"sd15", *PAPER, "animatelcm", "animatediff-lightning"}
    assert set(catalogue()) == {*own, *DYNAMICRAFTER}
    for name, number in PAPER.items():
        says = catalogue()[name]
        assert says.parts is not None
        assert says.parts.base == Source(model="sd15")
        assert says.parts.checkpoint is not None
        assert says.parts.checkpoint.page == f"https://civitai.com/models/{number}"
        assert says.licence is None  # its page says
        assert (says.num_inference_steps, says.guidance_scale) == (25, 7.5)


@pytest.mark.parametrize(("name", "variant"), DYNAMICRAFTER.items())
def test_dynamicrafter_s_descriptions_are_the_variants_own(name: str, variant: Variant) -> None:
    says, facts = catalogue()[name], VARIANTS[variant]
    assert (says.title, says.height, says.width) == (facts.title, facts.height, facts.width)
    assert says.guidance_scale == facts.guidance_scale
    assert says.guidance_rescale == facts.guidance_rescale
    low, high = facts.pace_range
    told = f"--{facts.pace_kind.replace('_', '-')}"
    assert f"{told}, {low} to {high}, default {facts.default_pace}" in says.notes
    assert says.parts is not None
    assert says.parts.base.page is not None
    assert says.licence == "Apache-2.0"


@pytest.mark.parametrize("name", sorted(set(catalogue()) - set(DYNAMICRAFTER)))
def test_every_description_is_sound(name: str) -> None:
    says = catalogue()[name]
    assert (says.height, says.width, says.num_frames) == (512, 512, 16)
    assert says.notes
    assert says.scheduler is not None
    for choice in (says.scheduler, *([says.drawing.scheduler] if says.drawing else [])):
        scheduler = build_scheduler(choice)
        assert type(scheduler) is getattr(diffusers, choice.name)
        # A misspelt setting would be kept as an unused one.
        assert set(choice.config) <= set(type(scheduler)._get_init_keys(type(scheduler)))
        # AnimateDiff's noise: ᾱ_500 is .161 with linear betas, .276 with Stable Diffusion's own.
        assert float(scheduler.alphas_cumprod[500]) == pytest.approx(0.161, abs=1e-3)
    assert says.parts is not None
    sources = [says.parts.base, says.parts.checkpoint, says.parts.vae, says.parts.motion]
    for source in (*sources, *says.parts.loras):
        if source is not None and source.hub is not None:
            assert source.files, "all files of a hub repository would be fetched"
            assert not [f for f in source.files if f.endswith((".bin", ".ckpt", ".pt", ".py"))]
            assert source.revision is None or re.fullmatch("[0-9a-f]{40}", source.revision)
        for known in source.files.values() if source is not None else ():
            assert known is None or re.fullmatch("[0-9a-f]{64}", known)


def test_few_steps() -> None:
    lcm, lightning = catalogue()["animatelcm"], catalogue()["animatediff-lightning"]
    assert lcm.still_trajectory == lightning.still_trajectory == "diffused"
    assert lcm.scheduler is not None
    assert lcm.scheduler.name == "LCMScheduler"
    assert lightning.scheduler is not None
    assert lightning.scheduler.config["timestep_spacing"] == "trailing"
    assert (lightning.num_inference_steps, lightning.guidance_scale) == (4, 1.0)
    # Only its motion is distilled, so the image network draws as it always did.
    assert lightning.drawing is not None
    assert lightning.drawing.scheduler == catalogue()["sd15"].scheduler
    assert catalogue()["sd15"].still_trajectory == "drawn"


def test_what_is_not_here_is_told(hub: Path) -> None:
    told = {model.name: model for model in known_models()}
    assert all(told[name].folder is None for name in catalogue())
    assert "add --download to fetch it" in str(told["sd15"].lacks)
    assert told["toonyou"].lacks is not None
    assert "https://civitai.com/models/30240" in told["toonyou"].lacks
    assert "stillmotion models add toonyou --checkpoint FILE" in told["toonyou"].lacks
    lacks = str(told["dynamicrafter-512"].lacks)
    assert "from https://huggingface.co/Doubiiu/DynamiCrafter_512," in lacks
    assert "stillmotion convert FILE FOLDER" in lacks
    assert "stillmotion models add dynamicrafter-512 --folder FOLDER" in lacks


def test_a_model_is_put_together_from_the_hubs_cache(hub: Path) -> None:
    folder = fetch_base(hub)
    model = load_model("sd15", device="cpu")
    assert model.folder.path == folder
    assert model.reference == model.name == "sd15"
    assert model.sampling.negative_prompt == "worst quality, low quality, letterboxed"
    assert model.pipeline.scheduler.config.beta_schedule == "linear"
    assert model.motion_version == "v2"
    assert model.still_trajectory == "drawn"
    [still] = model.pipeline.draw("a", seeds=[1], sampling=small(model.sampling))
    assert still.model["name"] == "sd15"


def small(sampling: SamplingSettings) -> SamplingSettings:
    return replace(sampling, height=8, width=8, num_inference_steps=1)


def test_a_file_that_is_missing_is_told(hub: Path) -> None:
    folder = fetch_base(hub)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(
        ModelError, match=r"lacks unet/diffusion_pytorch_model\.safetensors; add --"
    ):
        resolve_model("sd15")


def test_a_checkpoint_of_ones_own_in_a_model_of_the_paper(hub: Path, tmp_path: Path) -> None:
    folder = fetch_base(hub)
    path = make_checkpoint(tmp_path / "toonyou_beta6.safetensors", 50)
    # The checkpoint has these weights: nobody need fetch them.
    for part in ("unet", "vae"):
        (folder / part / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ModelError, match="needs a checkpoint that you have to fetch yourself"):
        load_model("toonyou")
    model = load_model("toonyou", ingredients=Ingredients(checkpoint=path), device="cpu")
    assert model.folder.checkpoint == path
    wanted = load_model(str(make_folder(tmp_path / "wanted", 50)), device="cpu")
    assert model.pipeline.model_fingerprint == wanted.pipeline.model_fingerprint


def test_lightning_draws_as_its_base_does(hub: Path) -> None:
    fetch_base(hub)
    parts = catalogue()["animatediff-lightning"].parts
    assert parts is not None
    assert parts.motion is not None
    [file] = parts.motion.files
    snapshot = cached(hub, parts.motion)
    make_motion(hub / "motion", 70)
    # In the published file no configuration tells the number of heads; here the header does.
    shutil.copy(hub / "motion" / "diffusion_pytorch_model.safetensors", snapshot / file)
    config = json.loads((hub / "motion" / "config.json").read_text())
    with_metadata(
        snapshot / file,
        {key: str(config[key]) for key in ("motion_num_attention_heads", "motion_norm_num_groups")},
    )
    model, base = load_model("animatediff-lightning", device="cpu"), load_model("sd15")
    assert type(model.pipeline.scheduler).__name__ == "EulerDiscreteScheduler"
    assert type(model.drawing_pipeline.scheduler).__name__ == "DDIMScheduler"
    assert model.drawing_pipeline.unet is model.pipeline.unet
    assert (model.drawing.num_inference_steps, model.sampling.num_inference_steps) == (25, 4)
    [own] = model.drawing_pipeline.draw("a", seeds=[1], sampling=small(model.drawing))
    [wanted] = base.pipeline.draw("a", seeds=[1], sampling=small(base.drawing))
    assert (own.image == wanted.image).all()
    assert own.scheduler_fingerprint == wanted.scheduler_fingerprint


def with_metadata(path: Path, metadata: dict[str, str]) -> None:
    save_file(load_file(path), path, metadata=metadata)


def test_a_lora_of_the_model_is_merged(hub: Path, tmp_path: Path) -> None:
    fetch_base(hub)
    parts = catalogue()["animatelcm"].parts
    assert parts is not None
    assert parts.motion is not None
    snapshot = cached(hub, parts.motion)
    make_motion(snapshot, 60)
    [source] = parts.loras
    [file] = source.files
    make_lora(snapshot / file)
    model = load_model("animatelcm", device="cpu")
    assert model.folder.loras == ((snapshot / file, 0.8),)
    wanted = load_model(
        "sd15", device="cpu", ingredients=Ingredients(loras=((snapshot / file, 0.8),))
    )
    assert model.pipeline.model_fingerprint == wanted.pipeline.model_fingerprint
    assert type(model.pipeline.scheduler).__name__ == "LCMScheduler"


def test_what_was_fetched_is_compared(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    known = hashlib.sha256(b"abc").hexdigest()
    check_hashes(tmp_path, {"a": known, "b": None, "not there": known})
    with pytest.raises(
        ModelError, match=f"not the file that was expected .its sha256 is not {'0' * 64}"
    ):
        check_hashes(tmp_path, {"a": "0" * 64})


def test_fetched_files_are_checked_and_others_are_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def fetch(repository: str, **options: object) -> str:
        asked.update(options, repository=repository)
        (tmp_path / "a.safetensors").write_bytes(b"abc")
        (tmp_path / "config.json").write_bytes(b"{}")
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    files = {"config.json": None, "a.safetensors": "0" * 64}
    source = Source(hub="user/name", revision=REVISION, files=files)
    with pytest.raises(ModelError, match="not the file that was expected"):
        locate("mine", "motion", source, download=True)
    assert asked == {
        "repository": "user/name",
        "revision": REVISION,
        "allow_patterns": ["config.json", "a.safetensors"],
        "local_files_only": False,
    }
    assert locate("mine", "motion", source, download=False) == tmp_path
    assert locate("mine", "base", source, download=False, weights=False) == tmp_path
    assert asked["allow_patterns"] == ["config.json"]
    single = Source(hub="user/name", files={"a.safetensors": None})
    assert locate("mine", "motion", single, download=False) == tmp_path / "a.safetensors"


@pytest.mark.parametrize(
    "source",
    [{}, {"hub": "a/b", "page": "https://c"}, {"model": "a", "path": "/b"}],
)
def test_a_part_comes_from_one_place(source: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="exactly one of model, hub, page and path"):
        Source(**source)


def test_a_description_without_parts_is_no_model(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "stillmotion.models.registry.catalogue", lambda: {"hollow": ModelDescription()}
    )
    with pytest.raises(ModelError, match="does not say where its parts are"):
        resolve_model("hollow")
