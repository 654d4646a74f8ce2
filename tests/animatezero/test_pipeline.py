"""The pipeline as users see it, on a model of a few thousand weights."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    AnimateDiffPipeline,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNetMotionModel,
)
from PIL import Image
from tests.tiny_models import (
    MAX_FRAMES,
    image_unet_of,
    tiny_components,
    tiny_motion_adapter,
    tiny_pipeline,
    tiny_scheduler,
    tiny_unet,
)

from stillmotion.adapters.adapter import adapted
from stillmotion.adapters.diffusers_sites import MotionBypass
from stillmotion.adapters.lean_savings import Savings
from stillmotion.animatezero.photograph import photograph_trajectory
from stillmotion.animatezero.pipeline import AnimateZeroPipeline
from stillmotion.animatezero.settings import FIG6_ROWS, AnimateZeroSettings
from stillmotion.diffusion.schedule import q_sample
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.errors import InputError, ModelError
from stillmotion.media.pixels import from_pixels, to_pixels
from stillmotion.media.still import Still

LOCKSTEP = AnimateZeroSettings(kv_source="still")
STOCK = replace(FIG6_ROWS["a"], frame_norm="across_frames")
FOLLOWING = [
    *(FIG6_ROWS[row] for row in "bcde"),
    LOCKSTEP,
    AnimateZeroSettings(frame_norm="across_frames", window_blocks=("down", "mid", "up")),
]


def stock_pipeline(pipe: AnimateZeroPipeline) -> AnimateDiffPipeline:
    stock = AnimateDiffPipeline(**pipe.components)
    stock.set_progress_bar_config(disable=True)
    return stock


# Drawing


def test_drawing_is_stable_diffusion(pipe, still, sampling) -> None:
    """Same weights, noise and scheduler: the latents of StableDiffusionPipeline."""
    parts = {name: pipe.components[name] for name in ("vae", "text_encoder", "tokenizer")}
    theirs = StableDiffusionPipeline(
        **parts,
        unet=image_unet_of(pipe.unet),
        scheduler=copy.deepcopy(pipe.scheduler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    theirs.set_progress_bar_config(disable=True)
    latents = theirs(
        "a red ball",
        num_inference_steps=3,
        guidance_scale=2.0,
        generator=torch.Generator().manual_seed(1),
        output_type="latent",
    ).images
    assert (still.latents[-1] - latents[0]).abs().max() < 1e-4 * latents.abs().max()


def test_a_still_carries_all_that_led_to_it(pipe, still, sampling) -> None:
    assert still.image.shape == (8, 8, 3)
    assert still.latents.shape == (4, 4, 4, 4)
    noise = torch.randn((4, 4, 4), generator=torch.Generator().manual_seed(1))
    assert torch.equal(still.latents[0], noise)
    assert still.timesteps == tuple(_timesteps(pipe, 3))
    assert (still.prompt, still.seed) == ("a red ball", 1)
    assert still.settings == replace(sampling, height=8, width=8)
    assert still.model["fingerprint"] == pipe.model_fingerprint
    with torch.no_grad():
        decoded = pipe.decode_latents(still.latents[-1:].unsqueeze(2))[0].transpose(0, 1)
    assert np.array_equal(still.image, to_pixels(decoded)[0])


def test_drawing_in_one_request_or_in_several_is_the_same(pipe, still, sampling) -> None:
    both = pipe.draw("a red ball", seeds=[7, 1], sampling=sampling)
    assert torch.equal(both[1].latents, still.latents)
    assert np.array_equal(both[1].image, still.image)
    assert not torch.equal(both[0].latents, both[1].latents)


def test_prompt_guidance_and_negative_prompt_matter(pipe, still, sampling) -> None:
    others = [
        pipe.draw("a blue cube", seeds=[1], sampling=sampling),
        pipe.draw("a red ball", seeds=[1], sampling=replace(sampling, guidance_scale=3.0)),
        pipe.draw("a red ball", seeds=[1], sampling=replace(sampling, guidance_scale=1.0)),
        pipe.draw("a red ball", seeds=[1], sampling=replace(sampling, negative_prompt="dark")),
    ]
    for (other,) in others:
        assert not torch.allclose(other.latents[-1], still.latents[-1], atol=1e-4)


def test_other_sizes(pipe, sampling) -> None:
    (wide,) = pipe.draw("a", seeds=[1], sampling=replace(sampling, height=4, width=12))
    assert wide.image.shape == (4, 12, 3)
    clip = pipe.animate(wide, seed=1, num_frames=3)
    assert clip.frames.shape == (1, 3, 4, 12, 3)


# Animating


@pytest.mark.parametrize("control", FOLLOWING)
@pytest.mark.parametrize("num_frames", [1, 2, 5])
def test_the_first_frame_is_the_still_exactly(pipe, still, control, num_frames) -> None:
    clip = pipe.animate(still, seed=3, num_frames=num_frames, control=control)
    assert clip.frames.shape == (1, num_frames, 8, 8, 3)
    assert clip.frames.dtype == np.uint8
    assert torch.equal(clip.latents[0, :, 0], still.latents[-1])
    assert np.array_equal(clip.frames[0, 0], still.image)
    for frame in clip.frames[0, 1:]:
        assert not np.array_equal(frame, still.image)


@pytest.mark.parametrize(("control", "num_rows"), [(AnimateZeroSettings(), 1), (LOCKSTEP, 2)])
def test_the_still_s_latents_enter_at_every_step(pipe, still, control, num_rows) -> None:
    """The U-Net sees z_t of the still in frame 1 (and in the reference row) before each step."""
    seen = []
    handle = pipe.unet.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    pipe.animate(still, seed=3, num_frames=3, control=control)
    handle.remove()
    assert len(seen) == 3
    for step, x in enumerate(seen):
        rows = x[:, :, :num_rows]
        assert torch.equal(rows, still.latents[step][None, :, None].expand_as(rows))


def test_everything_off_is_diffusers_bit_for_bit(pipe, still, sampling) -> None:
    """Without savings; with them it is the same but for rounding."""
    noise = torch.randn((1, 4, 5, 4, 4), generator=torch.Generator().manual_seed(2))
    arguments = {
        "num_inference_steps": 3,
        "guidance_scale": 2.0,
        "num_frames": 5,
        "latents": noise,
        "output_type": "latent",
    }
    theirs = stock_pipeline(pipe)("a red ball", **arguments).frames
    arguments["savings"] = Savings.none()
    assert torch.equal(pipe("a red ball", control=STOCK, **arguments).frames, theirs)
    arguments["savings"] = Savings()
    ours = pipe("a red ball", control=STOCK, **arguments).frames
    assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()
    per_frame = pipe("a red ball", control=FIG6_ROWS["a"], **arguments).frames
    assert not torch.allclose(per_frame, theirs, atol=1e-3)


def test_everything_off_decodes_every_frame(pipe, still) -> None:
    clip = pipe.animate(still, seed=3, num_frames=3, control=FIG6_ROWS["a"])
    assert not np.array_equal(clip.frames[0, 0], still.image)


def test_a_batch_of_two_equals_two_singles(pipe, still, sampling) -> None:
    (other,) = pipe.draw("a blue cube", seeds=[5], sampling=sampling)
    both = pipe.animate([still, other], seed=[3, 4], num_frames=4)
    for index, (one, seed) in enumerate([(still, 3), (other, 4)]):
        single = pipe.animate(one, seed=seed, num_frames=4)
        assert torch.equal(both.latents[index], single.latents[0])
        assert np.array_equal(both.frames[index], single.frames[0])


def test_seeds_and_prompts_decide_the_motion(pipe, still) -> None:
    first = pipe.animate(still, seed=3, num_frames=3)
    assert torch.equal(pipe.animate(still, seed=3, num_frames=3).latents, first.latents)
    assert torch.equal(pipe.animate(still, still.prompt, seed=3, num_frames=3)[1], first.latents)
    for other in (
        pipe.animate(still, seed=4, num_frames=3),
        pipe.animate(still, "a red ball turns", seed=3, num_frames=3),
    ):
        assert not torch.allclose(other.latents[:, :, 1:], first.latents[:, :, 1:], atol=1e-3)


def test_the_noise_of_the_frames_is_not_that_of_the_still(pipe, still) -> None:
    """The same seed for both must not make a later frame start from the still's own noise."""
    seen = []
    handle = pipe.unet.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    pipe.animate(still, seed=1, num_frames=3)
    handle.remove()
    channels = seen[0][0, :, 1:].flatten(0, 1)
    for channel in still.latents[0]:
        assert not any(torch.equal(channel, other) for other in channels)


def test_the_network_is_as_before(still) -> None:
    pipe = tiny_pipeline()
    weights = {name: w.clone() for name, w in pipe.unet.state_dict().items()}
    processors = dict(pipe.unet.attn_processors)
    timesteps = pipe.scheduler.timesteps.clone()

    def explode(*args: object) -> dict:
        raise RuntimeError("inside")

    pipe.animate(still, seed=3, num_frames=3)
    with pytest.raises(RuntimeError, match="inside"):
        pipe.animate(still, seed=3, num_frames=3, control=LOCKSTEP, callback_on_step_end=explode)
    assert pipe.unet.attn_processors == processors
    assert all(torch.equal(w, weights[name]) for name, w in pipe.unet.state_dict().items())
    assert torch.equal(pipe.scheduler.timesteps, timesteps)
    assert not any("forward" in vars(module) for module in pipe.unet.modules())


def test_callbacks_can_change_other_frames_but_not_the_first(pipe, still) -> None:
    calls = []

    def zero(owner, step, timestep, tensors):
        assert owner is pipe
        assert torch.equal(tensors["latents"][0, :, 0], still.latents[step + 1])
        calls.append((step, int(timestep)))
        return {"latents": torch.zeros_like(tensors["latents"])}

    clip = pipe.animate(still, seed=3, num_frames=3, callback_on_step_end=zero)
    assert calls == list(enumerate(still.timesteps))
    assert torch.equal(clip.latents[0, :, 0], still.latents[-1])
    assert clip.latents[0, :, 1:].abs().max() == 0


def test_progress_counts_all_steps(pipe, still, sampling) -> None:
    told: list[tuple[int, int]] = []
    pipe.draw("a", seeds=[1, 2], sampling=sampling, progress=lambda *x: told.append(x))
    assert told == [(done, 6) for done in range(1, 7)]
    told.clear()
    pipe.animate([still, still], seed=1, num_frames=2, progress=lambda *x: told.append(x))
    assert told == [(done, 6) for done in range(1, 7)]


# Photographs


def test_a_photograph_keeps_its_pixels(pipe, sampling) -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    photograph = Still(image=image)
    clip = pipe.animate(photograph, "a ball", seed=3, num_frames=4, sampling=sampling)
    assert np.array_equal(clip.frames[0, 0], image)
    with torch.no_grad():
        z_0 = pipe.vae.encode(from_pixels(image)).latent_dist.mode()
    assert torch.equal(clip.latents[0, :, 0], (z_0 * pipe.vae.config.scaling_factor)[0])


def test_photograph_trajectory_is_the_forward_process_with_one_noise(pipe) -> None:
    z_0, noise = torch.randn((2, 1, 4, 4, 4), generator=torch.Generator().manual_seed(0))
    scheduler = copy.deepcopy(pipe.scheduler)
    scheduler.set_timesteps(5)
    trajectory = photograph_trajectory(scheduler, z_0, noise)
    assert trajectory.shape == (6, 4, 4, 4)
    for z_t, t in zip(trajectory, scheduler.timesteps, strict=False):
        expected = q_sample(z_0[0], noise[0], scheduler.alphas_cumprod[t])
        assert (z_t - expected).abs().max() < 1e-6
    assert torch.equal(trajectory[-1:], z_0)


def test_a_drawn_still_can_be_taken_as_a_photograph(pipe, still) -> None:
    clip = pipe.animate(still.without_latents(), seed=3, num_frames=3)
    assert np.array_equal(clip.frames[0, 0], still.image)
    own = pipe.animate(still, seed=3, num_frames=3)
    assert not np.array_equal(clip.frames[0, 1:], own.frames[0, 1:])


# What does not fit


@pytest.mark.parametrize("num_frames", [0, -1, 2.0, True])
def test_impossible_frame_counts_are_refused(pipe, still, num_frames) -> None:
    with pytest.raises(InputError, match=r"num_frames is .*; give a whole number from 1 up"):
        pipe.animate(still, seed=1, num_frames=num_frames)


def test_half_an_ip_adapter_is_refused(still, sampling) -> None:
    """An adapter without a picture, or a picture without an adapter."""
    pipe, embeds = tiny_pipeline(), (torch.zeros(2, 1, 8),)
    with pytest.raises(InputError, match="no IP-Adapter; load one first"):
        pipe.animate(still, seed=1, num_frames=2, image_embeds=embeds)
    with pytest.raises(InputError, match="no IP-Adapter; load one first"):
        pipe.draw("a", seeds=[1], sampling=sampling, image_embeds=embeds)
    pipe.unet.encoder_hid_proj = torch.nn.Identity()  # what loading one leaves there
    with pytest.raises(InputError, match="unload_ip_adapter"):
        pipe.animate(still, seed=1, num_frames=2)
    with pytest.raises(InputError, match="unload_ip_adapter"):
        pipe.draw("a", seeds=[1], sampling=sampling)


def test_a_window_without_positions_is_refused(pipe, still) -> None:
    with pytest.raises(InputError, match=f"window_length of at most {MAX_FRAMES}"):
        pipe.animate(still, seed=1, num_frames=MAX_FRAMES + 1)


@pytest.mark.parametrize("size", [{"height": 10}, {"width": 2}, {"height": 7, "width": 8}])
def test_sizes_off_the_grid_are_refused(pipe, size) -> None:
    with pytest.raises(InputError, match="multiple of 4, for instance"):
        pipe.draw("a", seeds=[1], sampling=SamplingSettings(**size))


def test_a_photograph_off_the_grid_is_refused(pipe) -> None:
    with pytest.raises(InputError, match="height is 10 pixels"):
        pipe.animate(Still(image=np.zeros((10, 8, 3), np.uint8)), seed=1, num_frames=2)


def test_another_size_than_the_still_s_is_refused(pipe, still, sampling) -> None:
    with pytest.raises(InputError, match="8 x 8 pixels"):
        pipe.animate(still, seed=1, num_frames=2, sampling=replace(sampling, height=12))


@pytest.mark.parametrize(("offset", "most"), [(0, 1000), (1, 999)])
def test_too_many_steps_are_refused(pipe, offset: int, most: int) -> None:
    """With an offset the first of 1000 steps would lie behind the end of the schedule."""
    pipe.scheduler.register_to_config(steps_offset=offset)
    with pytest.raises(InputError, match=f"is {most + 1}; give at most {most}"):
        pipe.draw("a", seeds=[1], sampling=SamplingSettings(num_inference_steps=most + 1))


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, "1", True])
def test_impossible_seeds_are_refused(pipe, still, seed) -> None:
    with pytest.raises(InputError, match="whole number from 0"):
        pipe.draw("a", seeds=[seed])
    with pytest.raises(InputError, match="whole number from 0"):
        pipe.animate(still, seed=seed)


def test_lists_of_other_lengths_are_refused(pipe, still) -> None:
    with pytest.raises(InputError, match="seed has 3 entries for 1 clips"):
        pipe.animate(still, seed=[1, 2, 3])
    with pytest.raises(InputError, match="prompt has 1 entries for 2 clips"):
        pipe.animate([still, still], ["a"], seed=1)
    with pytest.raises(InputError, match="at least one"):
        pipe.animate([], seed=1)


def test_stills_of_different_sizes_are_refused(pipe, still) -> None:
    other = Still(image=np.zeros((8, 12, 3), np.uint8))
    with pytest.raises(InputError, match="different sizes"):
        pipe.animate([still, other], seed=1, num_frames=2)


def test_another_model_is_refused_unless_as_a_photograph(still) -> None:
    pipe = tiny_pipeline(unet=tiny_unet(seed=9))
    with pytest.raises(InputError, match=r"another model.*without_latents\(\)"):
        pipe.animate(still, seed=1, num_frames=2)
    pipe.animate(still.without_latents(), seed=1, num_frames=2)
    pipe.animate(still, seed=1, num_frames=2, control=FIG6_ROWS["a"])


def test_another_scheduler_is_refused(still) -> None:
    pipe = tiny_pipeline(scheduler=tiny_scheduler(beta_schedule="scaled_linear"))
    with pytest.raises(InputError, match="another scheduler"):
        pipe.animate(still, seed=1, num_frames=2)


def test_another_number_of_steps_is_refused(pipe, still, sampling) -> None:
    with pytest.raises(InputError, match="drawn with 3 timesteps, now 4"):
        pipe.animate(still, seed=1, num_frames=2, sampling=replace(sampling, num_inference_steps=4))


def test_other_motion_modules_are_welcome(still) -> None:
    unet = tiny_unet()
    for name, parameter in unet.named_parameters():
        if "motion_modules" in name:
            parameter.data *= 0.9
    tiny_pipeline(unet=unet).animate(still, seed=1, num_frames=2)


def test_the_fingerprint_follows_the_weights() -> None:
    pipe = tiny_pipeline()
    before = pipe.model_fingerprint
    assert pipe.model_fingerprint == before == tiny_pipeline().model_fingerprint
    pipe.unet.conv_in.weight.data *= 1.01
    assert pipe.model_fingerprint != before


def test_an_image_unet_needs_a_motion_adapter() -> None:
    with pytest.raises(ModelError, match="motion_adapter"):
        tiny_pipeline(unet=image_unet_of(tiny_unet()))


# Schedulers


@pytest.mark.parametrize(
    "scheduler",
    [
        tiny_scheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True,
                       timestep_spacing="trailing"),
        tiny_scheduler(timestep_spacing="linspace"),
        EulerDiscreteScheduler(beta_schedule="linear"),
        EulerAncestralDiscreteScheduler(beta_schedule="linear"),
        DPMSolverMultistepScheduler(beta_schedule="linear"),
        PNDMScheduler(beta_schedule="linear", skip_prk_steps=True),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)  # fmt: skip
def test_any_scheduler_keeps_the_first_frame(scheduler) -> None:
    pipe = tiny_pipeline(scheduler=scheduler)
    sampling = SamplingSettings(num_inference_steps=4, guidance_scale=1.5)
    (still,) = pipe.draw("a ball", seeds=[1], sampling=sampling)
    assert len(still.latents) == len(still.timesteps) + 1
    for subject in (still, still.without_latents()):
        clip = pipe.animate(subject, seed=2, num_frames=3)
        again = pipe.animate(subject, seed=2, num_frames=3)
        assert np.array_equal(clip.frames[0, 0], still.image)
        assert clip.latents.isfinite().all()
        assert torch.equal(clip.latents, again.latents)


# The door in diffusers' style


def test_a_call_is_draw_and_animate(pipe, still, sampling) -> None:
    verbs = pipe.animate(still, seed=1, num_frames=3)
    call = pipe(
        "a red ball",
        num_frames=3,
        num_inference_steps=3,
        guidance_scale=2.0,
        generator=torch.Generator().manual_seed(1),
        draws_beside=False,
    )
    assert torch.equal(call.latents, verbs.latents)
    assert np.array_equal(np.stack(call.frames[0]), verbs.frames[0])
    given = pipe(still=still, num_frames=3, generator=torch.Generator().manual_seed(1))
    assert torch.equal(given.latents, verbs.latents)


def test_output_types(pipe, still) -> None:
    def call(output_type: str, **options):
        generator = torch.Generator().manual_seed(1)
        return pipe(
            still=still, num_frames=2, generator=generator, output_type=output_type, **options
        )

    pictures = call("pil").frames
    assert isinstance(pictures[0][0], Image.Image)
    pixels = np.stack([np.asarray(frame) for frame in pictures[0]])
    assert np.array_equal(pixels[0], still.image)
    numbers = call("np").frames
    assert numbers.shape == (1, 2, 8, 8, 3)
    assert np.array_equal((numbers[0] * 255).round().astype(np.uint8), pixels)
    tensors = call("pt").frames
    assert tensors.shape == (1, 2, 3, 8, 8)
    assert np.array_equal(tensors[0].permute(0, 2, 3, 1).numpy(), numbers[0])
    assert call("latent").frames.shape == (1, 4, 2, 4, 4)
    assert torch.equal(call("pt", return_dict=False)[0], tensors)
    with pytest.raises(InputError, match="pil, np, pt, latent"):
        call("gif")


def test_a_picture_can_be_given_to_a_call(pipe) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    for image in (pixels, Image.fromarray(pixels), [pixels]):
        frames = pipe("a", image, num_frames=2, num_inference_steps=2).frames
        assert np.array_equal(np.asarray(frames[0][0]), pixels)


def test_several_prompts_make_several_clips(pipe) -> None:
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    frames = pipe(
        ["a", "b"], num_frames=2, num_inference_steps=2, generator=generators, output_type="np"
    ).frames
    alone = pipe("b", num_frames=2, num_inference_steps=2, output_type="np",
                 generator=torch.Generator().manual_seed(2)).frames  # fmt: skip
    assert frames.shape[0] == 2
    assert np.array_equal(frames[1], alone[0])


def test_calls_without_a_generator_differ(pipe, still) -> None:
    first, second = (pipe(still=still, num_frames=2, output_type="latent") for _ in range(2))
    assert not torch.equal(first.frames, second.frames)


def test_impossible_calls_are_refused(pipe, still) -> None:
    with pytest.raises(InputError, match="neither a prompt nor a picture"):
        pipe()
    with pytest.raises(InputError, match="Both image and still"):
        pipe("a", still.image, still)
    with pytest.raises(InputError, match="empty"):
        pipe([])
    with pytest.raises(InputError, match="Unknown option frames"):
        pipe("a", frames=3)
    with pytest.raises(InputError, match="clip_skip is 1; this text encoder has 1 layers"):
        pipe("a", num_frames=2, clip_skip=1)
    with pytest.raises(InputError, match="image is a str"):
        pipe("a", "cat.png")
    with pytest.raises(InputError, match=r"must be \(1, 4, 3, 4, 4\)"):
        pipe("a", num_frames=3, latents=torch.zeros(1, 4, 2, 4, 4))


# Loading, saving, LoRA


def test_saved_and_loaded_it_makes_the_same_clip(pipe, still, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    assert not (tmp_path / "motion_adapter").exists(), "its weights are in the U-Net already"
    expected = pipe.animate(still, seed=3, num_frames=3).latents
    loaded = AnimateZeroPipeline.from_pretrained(tmp_path)
    assert torch.equal(loaded.animate(still, seed=3, num_frames=3).latents, expected)
    (drawn,) = loaded.draw("a", seeds=[1], sampling=still.settings)
    assert drawn.model["name"] == tmp_path.name, "no folders of the user in the record"
    assert isinstance(AnimateDiffPipeline.from_pretrained(tmp_path).unet, UNetMotionModel)


def test_from_an_image_pipeline_with_a_motion_adapter(pipe, still, tmp_path: Path) -> None:
    parts = {name: pipe.components[name] for name in ("vae", "text_encoder", "tokenizer")}
    image_pipe = StableDiffusionPipeline(
        **parts,
        unet=image_unet_of(pipe.unet),
        scheduler=pipe.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    image_pipe.save_pretrained(tmp_path)
    motion_adapter = tiny_motion_adapter()
    for made in (
        AnimateZeroPipeline.from_pipe(image_pipe, motion_adapter=motion_adapter),
        AnimateZeroPipeline.from_pretrained(tmp_path, motion_adapter=motion_adapter),
    ):
        assert made.motion_adapter is None
        clip = made.animate(still, seed=1, num_frames=2)
        assert np.array_equal(clip.frames[0, 0], still.image)


def test_lora_changes_the_clip_and_the_fingerprint(still, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model_state_dict

    source = tiny_pipeline()
    source.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v"]))
    layers = {
        name: torch.full_like(tensor, 0.3)
        for name, tensor in get_peft_model_state_dict(source.unet).items()
    }
    AnimateZeroPipeline.save_lora_weights(tmp_path, unet_lora_layers=layers)
    pipe = tiny_pipeline()
    before = pipe.animate(still, seed=3, num_frames=3).latents
    pipe.load_lora_weights(tmp_path)
    with pytest.raises(InputError, match="another model"):
        pipe.animate(still, seed=3, num_frames=3)
    with_lora = pipe.animate(still.without_latents(), seed=3, num_frames=3).latents
    pipe.unload_lora_weights()
    without = pipe.animate(still.without_latents(), seed=3, num_frames=3).latents
    assert (with_lora - without).abs().max() > 1e-3
    assert torch.equal(pipe.animate(still, seed=3, num_frames=3).latents, before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_first_frame(dtype: torch.dtype, sampling) -> None:
    pipe = tiny_pipeline().to(dtype=dtype)
    (still,) = pipe.draw("a", seeds=[1], sampling=sampling)
    clip = pipe.animate(still, seed=1, num_frames=3, control=LOCKSTEP)
    assert torch.equal(clip.latents[0, :, 0].float(), still.latents[-1])
    assert np.array_equal(clip.frames[0, 0], still.image)


def test_the_motionless_network_gives_the_still_in_frame_1(pipe, still) -> None:
    """Bypassing motion, the video's U-Net predicts for frame 1 what drawing it did."""
    with adapted(pipe.unet, [MotionBypass()]):
        free = AnimateZeroSettings(insert_latents=False, share_keys_values=True, window="off")
        noise = torch.randn((1, 4, 3, 4, 4), generator=torch.Generator().manual_seed(0))
        noise[:, :, 0] = still.latents[0]
        clip = pipe(
            still.prompt,
            num_frames=3,
            latents=noise,
            control=free,
            num_inference_steps=3,
            guidance_scale=2.0,
            output_type="latent",
        )
    scale = still.latents.abs().max()
    assert (clip.latents[0, :, 0] - still.latents[-1]).abs().max() < 1e-4 * scale


def _timesteps(pipe: AnimateZeroPipeline, steps: int) -> list[int]:
    scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    scheduler.set_timesteps(steps)
    return scheduler.timesteps.tolist()


def test_components_are_those_of_animatediff(pipe) -> None:
    assert set(pipe.components) == set(stock_pipeline(pipe).components)
    assert set(tiny_components()) <= set(pipe.components)
