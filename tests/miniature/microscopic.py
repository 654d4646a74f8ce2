"""A recipe with which every stage takes a second, and what it makes."""

from __future__ import annotations

from dataclasses import replace

from stillmotion.miniature.recipe import Recipe, cpu_recipe

MAX_STEPS = 3


def microscopic_recipe() -> Recipe:
    recipe = cpu_recipe()
    budgets = {
        stage: replace(
            budget,
            batch=2,
            loop=replace(budget.loop, budget_seconds=None, max_steps=MAX_STEPS),
        )
        for stage, budget in recipe.budgets.items()
    }
    return replace(
        recipe,
        budgets=budgets,
        stills=12,
        domain_stills=6,
        clips=4,
        video_clips=4,
        judge_stills=8,
        judge_clips=4,
        unet_widths=(32, 48),
        vae_widths=(8, 16, 16, 16),
        text_layers=1,
        video_text_layers=1,
    )
