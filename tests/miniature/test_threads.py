"""The miniature's pictures are the same bytes with one thread and with two."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from stillmotion.animatezero.loading import load_model
from stillmotion.runtime.threads import MOST_ALIKE, use_threads

STEPS = 2


def test_bytes_do_not_depend_on_the_number_of_threads() -> None:
    model = load_model("miniature", device="cpu")
    drawing = replace(model.drawing, num_inference_steps=STEPS)
    made = []
    for count in range(1, MOST_ALIKE + 1):
        with use_threads(count):
            assert torch.get_num_threads() == count
            [still] = model.drawing_pipeline.draw("a red balloon", seeds=[7], sampling=drawing)
            clip = model.pipeline.animate(
                still, seed=3, sampling=replace(model.sampling, num_inference_steps=STEPS)
            )
            assert still.latents is not None
            made.append((still.image, clip.frames, still.latents))
    first = made[0]
    for image, frames, latents in made[1:]:
        assert np.array_equal(image, first[0])
        assert np.array_equal(frames, first[1])
        assert torch.equal(latents, first[2])
