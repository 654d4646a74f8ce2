"""What the server offers: the models for each method, and their looks."""

from __future__ import annotations

from dataclasses import dataclass

from stillmotion.jobs.methods import DYNAMICRAFTER, chosen_method
from stillmotion.server.about import offered
from stillmotion.server.service import Service
from stillmotion.server.views import ModelAnswer

MINIATURE = "miniature"


@dataclass(frozen=True)
class Offers:
    """Models that are on the server's machine, by method."""

    drawing: tuple[ModelAnswer, ...]
    """These draw stills and animate them by AnimateZero."""
    dynamicrafter: tuple[ModelAnswer, ...]

    @classmethod
    def of(cls, service: Service) -> Offers:
        """What `service` allows and has."""
        ready = [model for model in offered(service) if model.ready]
        ready.sort(key=lambda model: (not model.name.startswith(MINIATURE), model.name))
        crafters = [m for m in ready if chosen_method(None, m.name, None) == DYNAMICRAFTER]
        others = [model for model in ready if model not in crafters]
        return cls(tuple(others), tuple(crafters))

    def looks(self, name: str | None) -> list[str]:
        """The looks of a model for drawing; that of None is the first."""
        models = [model for model in self.drawing if name in (None, "", model.name)]
        return list(models[0].looks) if models else []


def names(models: tuple[ModelAnswer, ...]) -> list[str]:
    """As a menu has them."""
    return [model.name for model in models]
