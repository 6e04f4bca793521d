"""The configuration of a study, for tests that need one and not what it says."""

from __future__ import annotations

from harness.studies.config import StudyConfig
from harness.training.recipe import Recipe

CONFIG = StudyConfig(
    dataset="mnist",
    data_hash="ab" * 32,
    budget=20_000,
    target_pct=99.4,
    threshold_pct=99.45,
    space="card",
    space_text="x",
    sampler="tpe",
    recipe=Recipe(),
    recipe_name="fast",
    rungs=(),
    seed=0,
)
