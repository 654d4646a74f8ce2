"""A pipeline and a still to share; tests that change the pipeline build their own."""

from __future__ import annotations

import pytest
from tests.tiny_models import tiny_pipeline

from stillmotion.animatezero.pipeline import AnimateZeroPipeline
from stillmotion.diffusion.settings import SamplingSettings
from stillmotion.media.still import Still


@pytest.fixture(scope="session")
def pipe() -> AnimateZeroPipeline:
    return tiny_pipeline()


@pytest.fixture(scope="session")
def sampling() -> SamplingSettings:
    return SamplingSettings(num_inference_steps=3, guidance_scale=2.0)


@pytest.fixture(scope="session")
def still(pipe: AnimateZeroPipeline, sampling: SamplingSettings) -> Still:
    return pipe.draw("a red ball", seeds=[1], sampling=sampling)[0]
