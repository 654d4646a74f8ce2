"""A desk at an empty library, and a worker that tests move by hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.media.samples import moving_disc, provenance

from stillmotion.jobs.model import parse_job
from stillmotion.media.clips import save_clip
from stillmotion.media.images import save_image
from stillmotion.queueing.leases import Leases
from stillmotion.queueing.publishing import made_in
from stillmotion.queueing.views import Claim, JobView
from stillmotion.server.limits import TokenLimits
from stillmotion.server.service import Service, make_service
from stillmotion.server.tokens import LOCAL, Principal
from stillmotion.studio.desk import Desk


@dataclass(frozen=True)
class Hand:
    """A worker moved by hand; what it makes is small but real."""

    leases: Leases

    def claim(self) -> Claim:
        claim = self.leases.claim("hand")
        assert claim is not None
        return claim

    def finish(self, claim: Claim | None = None) -> JobView:
        """A still of the job's seed, or a clip of six frames in its format."""
        claim = claim or self.claim()
        job = parse_job(claim.job)
        suffix = getattr(job, "format", "png")
        if suffix == "png":
            image = np.full((16, 16, 3), (getattr(job, "seed", 0) or 0) % 256, np.uint8)
            save_image(image, claim.folder / "still.png", provenance=provenance("a still"))
        else:
            path = claim.folder / ("clip" if suffix == "frames" else f"clip.{suffix}")
            save_clip(moving_disc(6), path, provenance=provenance("a clip"))
        return self.leases.complete(claim, made_in(claim.folder))


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return make_service(tmp_path / "library")


@pytest.fixture
def desk(service: Service) -> Desk:
    """Of everybody on this machine."""
    return Desk(service, LOCAL)


@pytest.fixture
def hand(tmp_path: Path, service: Service) -> Hand:
    return Hand(Leases(tmp_path / "library"))


def guest(service: Service, name: str = "ada", **limits: Any) -> Desk:
    """Of one who has a token."""
    return Desk(service, Principal(name=name, admin=False, limits=TokenLimits(**limits)))
