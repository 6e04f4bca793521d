from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.evidence.leaderboard import Tier
from harness.system.files import Workspace
from reports.study import caveats_box
from reports.study.caveats import Caveats, caveats
from reports.study.study_files import read_study
from reports.study.winner import winner
from tests.wording import lacking


@pytest.fixture
def facts(realistic_study: Any, place: Workspace) -> Caveats:
    files = read_study(realistic_study.folder, place)
    return caveats(files, winner(files))


def test_the_box_says_what_chose_what_was_read_and_what_is_claimed(facts: Caveats):
    made = caveats_box.box(facts)

    for words in (
        ("10,000 validation images", "training images", "never", "test set"),
        ("99.45 %", "99.4 %", "plus 0.050 points"),
        ("6 times", "answer", "6 times", "any purpose on mnist"),
        ("mean over training seeds", "10,000 test images"),
        ("60 errors", "standard error", "0.077 points"),
        ("0 of", "6 verification seeds", "1 run of the search"),
        # (55 + 58 + 52 + 61 + 57 + 54) / 6 - 10
        ("15 test images", "wrong label", "6 seeds", "10.0 errors", "15 images", "46.2", "others"),
    ):
        assert lacking(made, *words) == []


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        (0.0, ("99.4 %", "same accuracy")),
        (-0.1, ("99.3 %", "less 0.100 points", "expected to be higher")),
        (0.1, ("99.5 %", "plus 0.100 points", "expected to be lower")),
    ],
)
def test_the_offset_is_told_with_its_sign(facts: Caveats, offset: float, words: tuple[str, ...]):
    config = replace(facts.config, threshold_pct=facts.config.target_pct + offset)

    assert lacking(caveats_box.box(replace(facts, config=config)), *words) == []


def test_what_is_not_known_is_not_made_up(facts: Caveats):
    made = caveats_box.box(replace(facts, label_errors=None, seeds=()))

    assert "No verification seed has been run" in made
    assert "mislabelled" not in made
    assert "<table" not in made


def test_every_tier_is_explained(facts: Caveats):
    made = caveats_box.box(facts)

    assert list(caveats_box.TIERS) == list(Tier)
    assert all(f"<dt>{tier}</dt>" in made for tier in Tier)
    assert lacking(caveats_box.TIERS[Tier.AT_TARGET], "at least 5", "reaches", "90 %", "does not") == []


def test_every_seed_has_its_row(facts: Caveats):
    made = caveats_box.box(facts)

    assert made.count('<th scope="row" class="number">') == 6
    assert '<td class="number">55</td><td>complete</td><td class="number">45</td>' in made


def test_a_stand_in_for_mnist_is_called_one(facts: Caveats):
    made = caveats_box.box(replace(facts, config=replace(facts.config, dataset="mnist-5k"), label_errors=None))

    assert "mnist-5k: 5,000 images in place of MNIST" in made
    assert "errors outside mislabelled images" not in made
    assert "stand-in" not in caveats_box.box(facts)
