from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest

from harness.commands.shared.network_argument import only_row, read_network
from harness.evidence import record
from harness.evidence.leaderboard import survey
from harness.system.files import Workspace
from harness.training.recipe import Recipe
from reports.board import frontier_picture
from reports.board.frontier_picture import frontier
from reports.board.leaderboard_info import Group, groups
from reports.html.dataset_tag import dataset_banner, dataset_tag
from search_spaces.task import MNIST


def board(place: Workspace, *evidence: Any) -> tuple[Group, ...]:
    for made in evidence:
        record.write(place.records, made)
    found = survey(place)
    return groups(found.rows, found.records, [made.key for made in evidence[:1]])


@pytest.fixture
def three_targets(place: Workspace, synthetic: Any) -> tuple[Group, ...]:
    made = [
        synthetic.evidence(synthetic.network(4, 5, size), [errors] * 5, target_pct=target)
        for size, errors, target in ((6, 80, 99.0), (8, 50, 99.4), (10, 30, 99.6), (12, 55, 99.4))
    ]
    return board(place, *made)


def test_the_default_target_comes_first_and_other_data_sets_last(place: Workspace, synthetic: Any):
    networks = [synthetic.network(4, 5, size) for size in (6, 7, 8)]
    made = board(
        place,
        synthetic.evidence(networks[0], [30] * 5, target_pct=99.6),
        synthetic.evidence(networks[1], [50] * 5),
        replace(synthetic.evidence(networks[2], [50] * 5), dataset="fashion-mnist"),
    )

    assert [group.anchor for group in made] == ["mnist-99.4", "mnist-99.6", "fashion-mnist-99.4"]


def test_the_smallest_is_the_smallest_that_is_proven(place: Workspace, synthetic: Any):
    made = board(
        place,
        synthetic.evidence(synthetic.network(4, 5, 6), [61] * 5),
        synthetic.evidence(synthetic.network(4, 5, 7), [50] * 5),
        synthetic.evidence(synthetic.network(4, 5, 9), [40] * 5),
    )

    assert made[0].smallest is not None
    assert made[0].smallest.row.architecture == synthetic.network(4, 5, 7)


def test_rows_of_one_network_have_one_name(place: Workspace, synthetic: Any):
    network = synthetic.network(4, 5, 6)
    made = board(place, synthetic.evidence(network, [50] * 5), synthetic.evidence(network, [50] * 5, target_pct=99.0))

    names = {entry.name for group in made for entry in group.entries}

    assert len(names) == 1
    assert names.pop().startswith("plain-")


def test_commands_mean_the_very_row_they_stand_in(place: Workspace, synthetic: Any):
    network = synthetic.network(4, 5, 6)
    first = synthetic.evidence(network, [50] * 5)
    longer = replace(Recipe(), epochs=99)
    seeds = tuple(synthetic.seed_run(network, longer.hash, index, 50) for index in range(5))
    second = replace(first, recipe=longer, recipe_hash=longer.hash, recipe_name="fast-99ep", seeds=seeds)
    made = board(place, first, second, replace(first, target_pct=99.0))

    for group in made:
        for entry in group.entries:
            verify = next(command for command, _ in entry.commands if " verify " in command)
            words = shlex.split(verify)
            options = dict(zip(words[3::2], words[4::2], strict=True))
            meant = only_row(
                read_network(words[2], place, MNIST),
                dataset=options.get("--dataset"),
                target_pct=float(options["--target"]),
                recipe_given="--recipe" in options,
            )
            assert meant is not None
            assert meant.target_pct == group.target_pct
            assert options["--recipe"] == "fast"
            assert options.get("--epochs") == ("99" if entry.row.recipe == "fast-99ep" else None)


def test_weights_at_hand_are_evaluated_first(three_targets: tuple[Group, ...]):
    by_size = {entry.row.parameters: entry for group in three_targets for entry in group.entries}
    firsts = [by_size[size].commands[0][0].split()[1] for size in sorted(by_size)]

    assert firsts == ["evaluate", "verify", "verify", "verify"]


def test_the_frontier_joins_the_smallest_of_each_target(three_targets: tuple[Group, ...]):
    facts = frontier(three_targets)

    assert facts is not None
    assert facts.targets_pct == (99.0, 99.4, 99.6)
    assert [entry.row.target_pct for entry, _ in facts.smallest] == [99.0, 99.4, 99.6]
    assert len(facts.points) == 4
    drawn = frontier_picture.draw(facts, 99.4)
    assert drawn.count('class="winner"') == 2 * 3, "a name each in both layouts"


def test_two_points_make_no_chart(place: Workspace, synthetic: Any):
    made = [synthetic.evidence(synthetic.network(4, 5, size), [50] * 5) for size in (6, 8)]

    assert frontier(board(place, *made)) is None
    assert frontier(()) is None


def test_only_mnist_goes_without_a_warning():
    assert "Not MNIST" not in dataset_tag("mnist") + dataset_banner("mnist")
    for name in ("mnist-5k", "fashion-mnist"):
        assert "Not MNIST" in dataset_tag(name)
        assert "Not MNIST" in dataset_banner(name)
