"""AnimateZero's benchmark: stills drawn from prompts, each animated by every method.

The paper has 20 prompts with a still each, over styles, characters, animals and landscapes
(section 5).  Without other words the prompts are scenes of the procedural world in all looks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from stillmotion.animatezero.loading import LoadedModel, load_model
from stillmotion.evaluation.benchmark.folder import Case, RunFolder
from stillmotion.evaluation.benchmark.making import Plan, Source
from stillmotion.evaluation.benchmark.own_methods import reference_of
from stillmotion.media.images import write_picture
from stillmotion.runtime.files import atomic_folder
from stillmotion.runtime.seeds import derive_seed

NUM_PROMPTS = 20
NUM_DOMAIN_PICTURES = 16
"""Drawn for each prompt, for Domain-Sim."""


@dataclass
class DrawnStills(Source):
    """Stills, and the pictures that stand for the image model's domain, drawn when needed."""

    num_domain_pictures: int = NUM_DOMAIN_PICTURES
    _loaded: dict[str, LoadedModel] = field(default_factory=dict, repr=False)

    def prepare(self, plan: Plan, case: Case) -> None:
        """Draw the domain's pictures, then the still with its latents."""
        model = self._model(plan, case)
        seeds = [
            derive_seed(case.seed, "domain", number) % 2**31
            for number in range(self.num_domain_pictures)
        ]
        drawing = model.drawing_pipeline
        words = model.styled(case.prompt)
        if seeds:
            with atomic_folder(_domain_folder(plan.run, case), overwrite=True) as folder:
                for number, seed in enumerate(seeds):
                    [one] = drawing.draw(words, seeds=[seed], sampling=model.drawing)
                    write_picture(one.image, folder / f"{number:02d}.png", format="PNG")
        [still] = drawing.draw(words, seeds=[case.seed], sampling=model.drawing)
        # Last, for it is what tells that all is there.
        still.save(plan.run.path / str(case.still), overwrite=True)

    def domain_pictures(self, run: RunFolder, case: Case) -> list[Path]:
        """The files that `prepare` has drawn."""
        return sorted(_domain_folder(run, case).glob("*.png"))

    def _model(self, plan: Plan, case: Case) -> LoadedModel:
        reference = reference_of(plan.models["animatezero"], case.facts)
        if reference not in self._loaded:
            self._loaded.clear()
            self._loaded[reference] = load_model(reference, device=plan.device)
        return self._loaded[reference]


def _domain_folder(run: RunFolder, case: Case) -> Path:
    return run.path / "domain" / case.name
