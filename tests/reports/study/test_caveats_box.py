from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.evidence.leaderboard import Tier
from harness.system.workspace import Workspace
from reports.study import caveats_box
from reports.study.caveats import Caveats, caveats
from reports.study.study_files import read_study
from reports.study.winner import winner


@pytest.fixture
def facts(realistic_study: Any, place: Workspace) -> Caveats:
    files = read_study(realistic_study.folder, place)
    return caveats(files, winner(files))


def test_the_box_says_what_chose_what_was_read_and_what_is_claimed(facts: Caveats):
    made = caveats_box.box(facts).replace("\N{NO-BREAK SPACE}", " ")

    for words in (
        "by the 10,000 validation images, a fixed part of the training images. It never saw the test set.",
        "had to reach 99.45 %: the target of 99.4 % plus 0.050 points",
        "6 times for this study&#x27;s answer, 6 times for any purpose on mnist in this workspace.",
        "The mean over training seeds on these 10,000 test images",
        "leaves room for 60 errors",
        "standard error of 0.077 points",
        "0 of the answer&#x27;s 6 verification seeds; 1 run of the search.",
        "15 test images are confirmed to have a wrong label",
        # (55 + 58 + 52 + 61 + 57 + 54) / 6 - 10
        "10.0 errors among these 15 images and 46.2 among all others",
    ):
        assert words in made


@pytest.mark.parametrize(
    ("offset", "words"),
    [(0.0, "the target itself; no offset"), (-0.1, "less 0.100 points"), (0.1, "plus 0.100 points")],
)
def test_the_offset_is_told_with_its_sign(facts: Caveats, offset: float, words: str):
    config = replace(facts.config, threshold_pct=facts.config.target_pct + offset)

    assert words in caveats_box.box(replace(facts, config=config))


def test_what_is_not_known_is_not_made_up(facts: Caveats):
    made = caveats_box.box(replace(facts, label_errors=None, seeds=()))

    assert "No verification seed has been run" in made
    assert "mislabelled" not in made
    assert "<table" not in made


def test_every_tier_is_explained(facts: Caveats):
    made = caveats_box.box(facts)

    assert list(caveats_box.TIERS) == list(Tier)
    assert all(f"<dt>{tier}</dt>" in made for tier in Tier)
    plain = made.replace("\N{NO-BREAK SPACE}", " ")
    assert "the mean test accuracy of at least 5 fresh seeds reaches the target, but its one-sided 90 % lower" in plain


def test_every_seed_has_its_row(facts: Caveats):
    made = caveats_box.box(facts)

    assert made.count('<th scope="row" class="number">') == 6
    assert '<td class="number">55</td><td>complete</td><td class="number">45</td>' in made


def test_a_stand_in_for_mnist_is_called_one(facts: Caveats):
    made = caveats_box.box(replace(facts, config=replace(facts.config, dataset="mnist-5k"), label_errors=None))

    assert "mnist-5k: 5,000 images in place of MNIST" in made
    assert "errors outside mislabelled images" not in made
    assert "stand-in" not in caveats_box.box(facts)
