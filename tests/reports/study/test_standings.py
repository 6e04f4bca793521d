from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from harness.evidence.leaderboard import LeaderboardRow, Tier
from harness.system.files import Workspace
from reports.study import standings
from reports.study.networks import Network, State
from reports.study.study_files import read_study
from search_spaces.notation import parse_network
from search_spaces.task import MNIST

NETWORK = Network(
    hash="0123456789ab",
    architecture=parse_network("conv3x3(8) | gap | linear(10)"),
    parameters=1234,
    trial=3,
    origin="tpe",
    state=State.TRAINED,
    validation_accuracies_pct=(99.4, 99.5),
    fresh=True,
)


@pytest.fixture
def row(realistic_study: Any, place: Workspace) -> LeaderboardRow:
    """The verified row of a study."""
    return read_study(realistic_study.folder, place).measured[0].row


def test_a_network_shows_its_figures(row: LeaderboardRow):
    made = standings.networks_table([replace(NETWORK, row=row, state=State.WINNER, name="plain-1234")], MNIST, 99.45)

    for cell in (
        ">1,234</td>",
        ">99.45 \u00b1 0.07 (2 fresh)</td>",
        ">99.438 \u00b1 0.032 (6)</td>",
        '<th scope="row">plain-1234 012345</th>',
        'class="thumbnail" role="img"',
        '<span class="tag good">verified</span>',
        '<span class="tag good">winner</span>',
        "<td><bdi>conv3x3(8) | gap | linear(10)</bdi></td>",
    ):
        assert cell in made
    assert '<tr id="network-0123456789ab">' in made


def test_a_network_without_figures_has_dashes():
    made = standings.networks_table(
        [replace(NETWORK, validation_accuracies_pct=(), state=State.FAILED, remark="crashed")], MNIST, 99.45
    )

    # Epochs, validation, errors, test, tier.
    assert made.count(">\u2013</td>") == 5
    assert '<span class="tag bad">crashed</span>' in made


def test_the_epochs_stand_beside_the_accuracy_that_they_made():
    made = standings.networks_table([replace(NETWORK, epochs=12)], MNIST, 99.45)

    headings, cells = (re.findall(rf"<{tag}[^>]*>(?:<[^>]*>)*([^<]*)", made) for tag in ("th", "td"))
    # The name of the network is a heading of its row.
    assert headings.index("validation, % (seeds)") == headings.index("epochs") + 1
    assert cells[headings.index("epochs") - 2] == "12"  # the strip has no words either


def test_a_pruned_network_says_when_and_has_no_tier():
    made = standings.networks_table([replace(NETWORK, state=State.PRUNED, remark="at epoch 4 of 15")], MNIST, 99.45)

    assert "<td>pruned at epoch 4 of 15</td>" in made
    assert "searched" not in made


def test_a_long_list_says_that_it_is_cut(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(standings, "MOST_NETWORKS", 1_000)
    many = [replace(NETWORK, hash=f"{number:012x}") for number in range(1_001)]

    made = standings.networks_table(many, MNIST, 99.45)

    assert made.count("<tr id=") == 1_000
    assert "The first 1,000 of 1,001 networks." in made


def test_without_networks_there_is_no_table():
    assert standings.networks_table([], MNIST, 99.45) == ""


def test_the_leaderboard_marks_what_is_not_a_test_accuracy(row: LeaderboardRow):
    searched = replace(
        row, rank=2, tier=Tier.SEARCHED, validation_accuracy_pct=99.5, validation_seeds=3, lower_bound_pct=None
    )
    claimed = replace(row, rank=3, tier=Tier.CLAIMED, mean_test_accuracy_pct=99.49, name="seed<4>", note="<b>")

    made = standings.leaderboard_table([row, searched, claimed], "mnist", 99.4)

    assert ">99.438 \u00b1 0.032 (6)</td>" in made
    assert ">99.50 v (3)</td>" in made
    assert ">99.49 c (6)</td>" in made
    assert "<bdi>seed&lt;4&gt;</bdi>" in made
    assert "<bdi>&lt;b&gt;</bdi>" in made


def test_a_long_leaderboard_says_that_it_is_cut(row: LeaderboardRow):
    made = standings.leaderboard_table([replace(row, rank=rank) for rank in range(1, 41)], "mnist", 99.4)

    assert made.count("<tr><td") == standings.MOST_ROWS
    assert "of 40 rows" in made


def test_the_leaderboard_of_a_study_has_rows_of_its_target_alone(row: LeaderboardRow):
    made = standings.leaderboard_table([replace(row, target_pct=99.6), row], "mnist", 99.4)

    assert made.count("<tr><td") == 1


def test_a_long_note_is_folded_into_its_number_of_fields(row: LeaderboardRow):
    note = "recipe fields assumed: epochs, batch_size, optimizer, learning_rate"

    made = standings.leaderboard_table([replace(row, note=note)], "mnist", 99.4)

    assert "<summary>4 assumed</summary>" in made


def test_only_a_certified_network_has_a_filled_tag():
    filled = [tier for tier in Tier if "filled" in standings.tier_tag(tier)]

    assert filled == [Tier.CERTIFIED]


def test_an_empty_leaderboard_is_a_sentence():
    assert standings.leaderboard_table([], "mnist", 99.4) == "<p>The leaderboard has no row for this target yet.</p>"
