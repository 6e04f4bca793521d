"""What a plan of a verification says of its seeds."""

from __future__ import annotations

from dataclasses import replace

from harness.evidence.verification.plan import trains_together
from harness.training.recipe import RECIPES
from tests.harness import unrun


def test_on_a_gpu_all_seeds_of_a_plain_verification_train_together():
    plain = unrun.plan(device="cuda", engine="auto", dataset="mnist-5k", target_pct=90.0, recipe=RECIPES["smoke"])

    assert trains_together(plain)
    assert not trains_together(replace(plain, device="cpu"))
    assert not trains_together(replace(plain, recipe=RECIPES["seed4"]))
    assert not trains_together(replace(plain, certify=True))
    assert not trains_together(replace(plain, engine="torch"))
