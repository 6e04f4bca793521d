"""Where rows come from: records, claims, local studies, and the table that is there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.evidence import leaderboard, ledger, record, study
from harness.evidence.leaderboard import Tier
from harness.evidence.record import Found, Record
from harness.system import files
from harness.system.errors import ContentError
from harness.system.files import Workspace
from harness.training import result
from harness.training.recipe import Recipe
from harness.training.result import Purpose, Result, Status
from tests.harness import unrun
from tests.harness.some_study import CONFIG

NewRecord = Callable[..., Record]
NewResult = Callable[..., Result]


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def network(width: int) -> str:
    return f"conv3x3({width}) bn relu | maxpool | conv3x3(8) bn relu | gap | conv1x1(10)"


def add_study(place: Workspace, name: str, results: list[Result]) -> Path:
    folder = place.study(name)
    study.open_study(folder, CONFIG, {})
    for number, item in enumerate(results):
        made = replace(item, study=name, trial=number)
        result.write(study.result_path(folder, number, made.purpose, made.seed_index), made)
    return folder


def test_an_empty_workspace_has_no_rows(place: Workspace):
    assert leaderboard.collect(place) == []


def test_a_claim_never_counts_as_reached_and_never_shares_a_row(place: Workspace, new_record: NewRecord):
    made = new_record([50] * 5)
    record.write(place.records, made)
    claim = {
        "name": "n",
        "architecture": str(made.architecture),
        "test_accuracy_pct": 99.99,
        "metric": "best epoch",
        "runs": 1,
        "epochs": 20,
        "recipe": "its own",
        "source": "someone",
    }
    (place.records / "claims.json").write_text(json.dumps([claim]), encoding="utf-8")

    first, second = leaderboard.collect(place)

    assert (first.tier, first.reached) == (Tier.VERIFIED, True)
    assert (second.tier, second.reached, second.note) == (Tier.CLAIMED, False, "best epoch; someone")
    assert second.mean_test_accuracy_pct == 99.99


def test_a_study_gives_its_pareto_front_alone(place: Workspace, new_result: NewResult):
    folder = add_study(
        place,
        "s",
        [
            new_result(network(4), 90),
            new_result(network(5), 95),
            new_result(network(6), 70),
            new_result(network(7), 70),
            new_result(network(3), 10, status=Status.PRUNED),
            new_result(network(2), None, status=Status.CRASHED),
        ],
    )

    rows = leaderboard.rows_of_study(folder)

    assert [(str(item.architecture), item.validation_accuracy_pct) for item in rows] == [
        (network(4), 99.1),
        (network(6), 99.3),
    ]
    assert {item.tier for item in rows} == {Tier.SEARCHED}
    assert {item.study for item in rows} == {"s"}


def test_each_length_of_a_networks_training_is_judged_by_its_own_runs(place: Workspace, new_result: NewResult):
    recipe = Recipe(epochs=5)
    short = {"recipe": recipe, "recipe_name": "fast-5ep", "recipe_hash": recipe.hash}
    found = [new_result(errors=90), new_result(errors=50, purpose=Purpose.CONFIRM), new_result(errors=200, **short)]

    rows = leaderboard.rows_of_study(add_study(place, "s", found))

    assert [(row.validation_accuracy_pct, row.recipe, row.validation_seeds) for row in rows] == [(99.5, "fast", 1)]
    only_short = add_study(place, "t", [new_result(errors=200, **short), new_result(errors=90, status=Status.PRUNED)])
    assert [(row.recipe, row.epochs) for row in leaderboard.rows_of_study(only_short)] == [("fast-5ep", 5)]


def test_a_longer_training_that_is_worse_does_not_take_the_row(place: Workspace, new_result: NewResult):
    recipe = Recipe(epochs=30)
    long = {"recipe": recipe, "recipe_name": "fast-30ep", "recipe_hash": recipe.hash}
    folder = add_study(place, "s", [new_result(errors=90, **long), new_result(errors=50)])

    assert [(row.recipe, row.validation_accuracy_pct) for row in leaderboard.rows_of_study(folder)] == [("fast", 99.5)]


def test_a_measured_row_stands_in_place_of_the_searched_one(
    place: Workspace, new_record: NewRecord, new_result: NewResult
):
    add_study(place, "s", [new_result(errors=50)])
    assert [item.tier for item in leaderboard.collect(place)] == [Tier.SEARCHED]
    record.write(place.records, new_record([50]))

    assert [item.tier for item in leaderboard.collect(place)] == [Tier.MEASURED]


def test_rows_of_studies_on_another_machine_are_kept(
    place: Workspace, new_result: NewResult, new_record: NewRecord, new_found: Callable[..., Found]
):
    elsewhere = add_study(place, "elsewhere", [new_result(network(4), 90)])
    here = add_study(place, "here", [new_result(network(5), 80)])
    record.write(place.records, new_record([50], network(6), found=new_found()))
    leaderboard.refresh(place)
    os.rename(elsewhere, place.root / "gone")
    (here / "results").rename(place.root / "results-gone")
    for path in place.records.glob("*.json"):
        path.unlink()

    rows = leaderboard.refresh(place)

    # What a local study no longer says is dropped, and so is a row whose record is gone.
    assert [(item.study, str(item.architecture)) for item in rows] == [("elsewhere", network(4))]
    assert leaderboard.read(place.leaderboard) == rows


def test_the_same_sources_give_the_same_bytes(place: Workspace, new_result: NewResult, new_record: NewRecord):
    add_study(place, "s", [new_result(network(width), 90 - width) for width in (3, 4, 5)])
    record.write(place.records, new_record([50, 55]))
    leaderboard.refresh(place)
    first = place.leaderboard.read_bytes()

    leaderboard.refresh(place)

    assert place.leaderboard.read_bytes() == first


def test_refreshes_at_once_leave_a_whole_file_and_readers_never_see_half_of_one(
    place: Workspace, new_record: NewRecord
):
    for width in range(3, 9):
        record.write(place.records, new_record([50], network(width)))
    leaderboard.refresh(place)

    def refresh(number: int) -> int:
        record.write(place.records, new_record([60 + number], network(10 + number)))
        return len(leaderboard.refresh(place)) if number % 2 else len(leaderboard.read(place.leaderboard))

    with ThreadPoolExecutor(4) as pool:
        lengths = list(pool.map(refresh, range(8)))

    assert min(lengths) >= 6
    assert len(leaderboard.refresh(place)) == 14
    assert [path.name for path in place.root.iterdir() if path.is_file()] == ["leaderboard.csv"]


def test_a_damaged_table_is_refused_and_left_as_it_is(place: Workspace, new_record: NewRecord):
    record.write(place.records, new_record([50]))
    place.leaderboard.write_text("something else\n", encoding="utf-8")

    with pytest.raises(ContentError, match="move it away, and it is made anew"):
        leaderboard.refresh(place)
    assert place.leaderboard.read_text(encoding="utf-8") == "something else\n"


def test_a_torn_ledger_costs_a_row_its_certificate_and_no_more(place: Workspace, new_record: NewRecord):
    made, other = new_record([40] * 30), new_record([60], network(6))
    record.write(place.records, made)
    record.write(place.records, other)
    ledger.close(place.ledger, ledger.declare(place.ledger, made.key, 0, 30), ledger.Outcome.CERTIFIED, 99.6)
    assert leaderboard.survey(place).rows[0].tier is Tier.CERTIFIED
    place.ledger.write_bytes(place.ledger.read_bytes()[:-50])

    found = leaderboard.survey(place)

    assert [(row.hash, row.tier) for row in found.rows] == [(made.hash, Tier.VERIFIED), (other.hash, Tier.MEASURED)]
    [damage] = found.damage
    assert f"the ledger {place.ledger}, line 2: " in damage.message
    with pytest.raises(ContentError, match="line 2: "):
        leaderboard.refresh(place, publish=True)


def test_searched_rows_of_an_old_table_gain_their_stored_numbers(place: Workspace, new_result: NewResult):
    elsewhere = add_study(place, "elsewhere", [new_result(network(4), 90)])
    [row] = leaderboard.refresh(place)
    os.rename(elsewhere, place.root / "gone")
    files.write_text(place.leaderboard, leaderboard.to_csv([replace(row, stored_numbers=None)]))

    # Two statistics for each of 4 + 8 channels.
    assert [item.stored_numbers for item in leaderboard.collect(place)] == [row.parameters + 24]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parameters": 46}, "states parameters of the searched network"),
        ({"macs": 46}, "states macs of the searched network"),
        ({"hash": "0" * 12}, "states hash of the searched network 000000000000"),
        ({"receptive_field": 1}, "states receptive_field"),
        ({"reached": True}, "states reached"),
        ({"mean_test_accuracy_pct": 99.9}, "states mean_test_accuracy_pct"),
        ({"architecture": "conv3x3(4) | gap | linear(11)"}, "the network of "),
    ],
)
def test_a_searched_row_that_contradicts_its_network_is_left_out_and_named(
    changes: dict[str, Any], said: str, place: Workspace, new_result: NewResult
):
    elsewhere = add_study(place, "elsewhere", [new_result(network(4), 90), new_result(network(5), 80)])
    rows = leaderboard.refresh(place)
    os.rename(elsewhere, place.root / "gone")
    forged = [replace(rows[0], **changes), rows[1]]
    files.write_text(place.leaderboard, leaderboard.to_csv(forged))

    found = leaderboard.survey(place)

    assert [row.architecture for row in found.rows] == [rows[1].architecture]
    [damage] = found.damage
    assert damage.message.startswith(f"{place.leaderboard}")
    assert said in damage.message


@pytest.mark.parametrize("left", ["", "another target"])
def test_seeds_of_an_attempt_that_the_ledger_lacks_are_not_ranked(left: str, place: Workspace, new_record: NewRecord):
    made = new_record([50, 55])
    record.write(place.records, replace(made, seeds=tuple(replace(run, attempt=1) for run in made.seeds)))
    if left:
        ledger.declare(place.ledger, replace(made, target_pct=99.0).key, 0, 20)

    found = leaderboard.survey(place)

    assert [*found.rows, *found.records] == []
    assert f"lacks attempt 1, for which seeds of {made.hash} were run" in found.damage[0].message
    with pytest.raises(ContentError, match="an attempt is never taken out of the ledger"):
        leaderboard.collect(place)

    place.ledger.unlink(missing_ok=True)
    ledger.declare(place.ledger, made.key, 0, 20)
    assert len(leaderboard.survey(place).rows) == 1


def test_in_a_clone_what_is_tried_out_does_not_change_what_is_published(place: Workspace, new_record: NewRecord):
    record.write(place.records, new_record([60]))
    leaderboard.refresh(place)
    published = place.leaderboard.read_bytes()
    unrun.git(place, "init", "--quiet")
    unrun.git(place, "add", "leaderboard.csv")
    record.write(place.records, new_record([60], target_pct=99.0))

    assert len(leaderboard.refresh(place)) == 2
    assert place.leaderboard.read_bytes() == published
    assert len(leaderboard.read(place.local_leaderboard)) == 2

    leaderboard.refresh(place, publish=True)
    assert len(leaderboard.read(place.leaderboard)) == 2
