"""What people write where a command wants a network, and which of its rows they mean."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import run
from harness.commands.shared import network_argument
from harness.commands.shared.network_argument import (
    _NETWORK_ALONE,
    KnownRow,
    NetworkArgument,
    only_row,
    read_network,
    recipe_of,
)
from harness.evidence import record, study
from harness.evidence.leaderboard import refresh
from harness.evidence.record import Record
from harness.system.errors import ContentError, UsageError
from harness.system.files import Workspace
from harness.training import result
from harness.training.recipe import RECIPES, NamedRecipe, Recipe
from harness.training.result import Result
from search_spaces.catalog import PRESETS, network_name
from search_spaces.errors import NotationError, SearchSpaceError
from search_spaces.notation import parse_network
from search_spaces.task import MNIST
from tests.harness import scripted, unrun

NETWORK = parse_network("conv3x3(8) bn relu | maxpool | conv3x3(8) bn relu | gap | conv1x1(10)")
OTHER = "conv3x3(9) bn relu | gap | conv1x1(10)"
SHORT = Recipe(epochs=3)
NewRecord = Callable[..., Record]
NewResult = Callable[..., Result]


@pytest.fixture
def place(workspace: Path) -> Workspace:
    return Workspace(workspace)


# How it is written -------------------------------------------------------------------------------------------


def test_a_dash_is_the_standard_input(place: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("gap |\n linear(10)\n"))

    found = read_network("-", place, MNIST)

    assert (str(found.architecture), found.text) == ("gap | linear(10)", "gap |\n linear(10)\n")
    assert (found.name, found.rows) == ("", ())


def test_an_at_sign_names_a_file(place: Workspace):
    (place.root / "net.txt").write_text("gap linear(10)", encoding="utf-8")

    assert str(read_network("@net.txt", place, MNIST).architecture) == "gap linear(10)"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_a_usage_error(content: bytes | None, place: Workspace):
    if content is not None:
        (place.root / "net.txt").write_bytes(content)

    with pytest.raises(UsageError, match=r"cannot read the network file net\.txt: ") as caught:
        read_network("@net.txt", place, MNIST)
    assert caught.value.exit_code == 2


def test_a_file_without_end_is_a_usage_error(place: Workspace):
    with pytest.raises(UsageError, match="the network file /dev/zero holds more than 1,000,000 characters"):
        read_network("@/dev/zero", place, MNIST)


def test_a_preset_comes_with_its_name(place: Workspace):
    found = read_network("seed4", place, MNIST)

    assert (found.architecture, found.name) == (parse_network(PRESETS["seed4"].text), "seed4")


def test_the_notation_is_read_as_it_stands(place: Workspace):
    found = read_network("gap linear(10)", place, MNIST)

    assert (str(found.architecture), found.text, found.name) == ("gap linear(10)", "gap linear(10)", "")


@pytest.mark.parametrize(
    ("word", "hint"), [("sed4", "did you mean 'seed4'?"), ("quux", "leaderboard --all' shows hashes")]
)
def test_a_word_that_names_no_network_gets_what_is_near_or_the_place_of_names(word: str, hint: str, place: Workspace):
    with pytest.raises(NotationError, match=f"'{word}' is no preset, hash, name or op; presets are seed0,") as caught:
        read_network(word, place, MNIST)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["conv3x3(8) bnn gap linear(10)", "conv3x3(", ""])
def test_wrong_notation_keeps_its_own_message(text: str, place: Workspace):
    with pytest.raises(SearchSpaceError) as ours:
        read_network(text, place, MNIST)
    with pytest.raises(SearchSpaceError) as theirs:
        parse_network(text)
    assert ours.value.message == theirs.value.message


# A hash ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", [6, 12])
def test_a_hash_is_looked_up_in_the_records(digits: int, place: Workspace, new_record: NewRecord):
    record.write(place.records, new_record([55], name="mine"))

    found = read_network(NETWORK.hash[:digits], place, MNIST)

    assert (found.architecture, found.name) == (NETWORK, "mine")
    assert found.rows == (KnownRow(Recipe(), "fast", "mnist", 99.4),)


def test_a_network_is_found_by_its_name_too(place: Workspace, new_record: NewRecord):
    made = new_record([60])
    record.write(place.records, made)
    refresh(place)
    name = network_name(made.architecture, made.parameters)

    for given in (name, f"{name}-{made.hash[:4]}"):
        assert read_network(given, place, MNIST).architecture.hash == made.hash
    with pytest.raises(ContentError, match=f"no network of this workspace has the name '{name}9'") as other:
        read_network(f"{name}9", place, MNIST)
    with pytest.raises(NotationError, match=f"'P{name}' is no preset, hash, name or op") as misspelt:
        read_network(f"P{name}", place, MNIST)
    assert other.value.hint == misspelt.value.hint == f"did you mean {name!r}?"


def test_a_hash_of_no_record_is_looked_up_in_the_studies(place: Workspace, new_result: NewResult):
    keep_study(place, new_result())

    found = read_network(NETWORK.hash, place, MNIST)

    assert found.architecture == NETWORK
    assert found.rows == (KnownRow(Recipe(), "fast", "mnist", None),)


def test_a_network_of_a_study_and_of_the_leaderboard_has_one_row(place: Workspace, new_result: NewResult):
    keep_study(place, new_result())
    assert NETWORK.hash in {row.hash for row in refresh(place)}

    found = read_network(NETWORK.hash, place, MNIST)

    assert only_row(found, dataset=None, target_pct=None, recipe_given=False) == KnownRow(
        Recipe(), "fast", "mnist", None
    )


def test_a_hash_of_a_claim_names_the_network_alone(place: Workspace):
    claim = {"name": "theirs", "architecture": OTHER, "test_accuracy_pct": 99.5, "metric": "best epoch", "runs": 1}
    claim |= {"epochs": 20, "recipe": "their own", "source": "a paper"}
    place.records.mkdir()
    (place.records / "claims.json").write_text(json.dumps([claim]), encoding="utf-8")
    refresh(place)

    found = read_network(parse_network(OTHER).hash, place, MNIST)

    assert (found.architecture, found.rows) == (parse_network(OTHER), (_NETWORK_ALONE,))


@pytest.mark.parametrize(
    ("name", "recipe", "known"),
    [
        ("small", RECIPES["small"].recipe, RECIPES["small"].recipe),
        ("small-120ep", replace(RECIPES["small"].recipe, epochs=120), replace(RECIPES["small"].recipe, epochs=120)),
        ("fast, 3 epochs", Recipe(epochs=3), Recipe(epochs=3)),
        ("small", Recipe(epochs=3, momentum=0.5), None),
        ("mine", Recipe(momentum=0.5), None),
    ],
)
def test_a_row_of_the_leaderboard_that_was_trained_elsewhere_brings_the_recipe_that_it_names(
    name: str, recipe: Recipe, known: Recipe | None, place: Workspace, new_result: NewResult
):
    keep_study(place, replace(new_result(), recipe=recipe, recipe_name=name, recipe_hash=recipe.hash))
    refresh(place)
    (place.runs / "a-study" / "config.json").unlink()

    assert read_network(NETWORK.hash, place, MNIST).rows == (KnownRow(known, name, "mnist", None),)


def test_a_recipe_that_no_catalog_has_is_looked_up_in_the_records(
    place: Workspace, new_result: NewResult, monkeypatch: pytest.MonkeyPatch
):
    mine = Recipe(epochs=3, momentum=0.5)
    unrun.without_training(monkeypatch)
    unrun.run(place, unrun.plan(range(1), architecture=parse_network(OTHER), recipe=NamedRecipe("mine", mine)))
    keep_study(place, replace(new_result(), recipe=mine, recipe_name="mine", recipe_hash=mine.hash))
    refresh(place)
    (place.runs / "a-study" / "config.json").unlink()

    assert read_network(NETWORK.hash, place, MNIST).rows == (KnownRow(mine, "mine", "mnist", None),)


# The recipe of a row -----------------------------------------------------------------------------------------


def test_a_row_is_trained_with_its_own_recipe_unless_another_is_asked_for():
    own = KnownRow(RECIPES["small"].recipe, "small", "mnist", 99.4)

    assert recipe_of(own, None, None).name == "small"
    assert recipe_of(own, "smoke", None).name == "smoke"
    assert recipe_of(None, None, 3).name == recipe_of(_NETWORK_ALONE, None, 3).name == "fast-3ep"


def test_a_recipe_that_is_known_by_name_alone_is_not_replaced_by_another():
    row = KnownRow(None, "mine", "mnist", None)

    with pytest.raises(UsageError, match="the row was trained with recipe 'mine', which nothing here describes"):
        recipe_of(row, None, None)
    assert recipe_of(row, "small", None).name == "small"


def test_epochs_do_not_change_the_recipe_of_a_row():
    with pytest.raises(UsageError, match="--epochs changes a recipe, so name it too"):
        recipe_of(KnownRow(RECIPES["small"].recipe, "small", "mnist", 99.4), None, 60)


def test_an_unknown_hash_is_a_content_error(place: Workspace):
    with pytest.raises(ContentError, match="no network of this workspace has a hash that begins with 'abcdef'"):
        read_network("abcdef", place, MNIST)


def test_an_ambiguous_hash_lists_what_it_may_mean(
    place: Workspace, new_record: NewRecord, monkeypatch: pytest.MonkeyPatch
):
    record.write(place.records, new_record([55]))
    record.write(place.records, new_record([55], OTHER))
    entries = network_argument._recorded
    # Six equal digits are too rare to be found here, so every prefix fits.
    monkeypatch.setattr(network_argument, "_recorded", lambda place, prefix: entries(place, ""))

    hashes = ", ".join(sorted((NETWORK.hash, parse_network(OTHER).hash)))
    with pytest.raises(ContentError, match=f"'000000' is ambiguous: {hashes}") as caught:
        read_network("000000", place, MNIST)
    assert caught.value.hint == "give more digits"


@pytest.mark.parametrize("text", ["2f6e0", "abc", "7"])
def test_a_hash_of_fewer_than_six_digits_is_refused(text: str, place: Workspace):
    with pytest.raises(ContentError, match=f"'{text}' is too short for a hash: give at least 6 digits"):
        read_network(text, place, MNIST)


@pytest.mark.parametrize(
    ("argument", "code", "message"),
    [
        ("@none.txt", 2, "cannot read the network file none.txt"),
        ("abcdef", 4, "no network of this workspace has a hash that begins with 'abcdef'"),
        ("abcde", 4, "'abcde' is too short for a hash: give at least 6 digits"),
        ("sed4", 4, "'sed4' is no preset, hash, name or op"),
    ],
)
def test_a_command_ends_with_the_exit_code_of_the_error(
    argument: str, code: int, message: str, place: Workspace, capsys: pytest.CaptureFixture[str]
):
    assert run(["explain", argument]) == code

    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


# Which row is meant ------------------------------------------------------------------------------------------


def given(*rows: KnownRow) -> NetworkArgument:
    return NetworkArgument(NETWORK, str(NETWORK), rows=rows)


FAST = KnownRow(Recipe(), "fast", "mnist", 99.4)
ROWS = {
    "target": replace(FAST, target_pct=99.0),
    "dataset": replace(FAST, dataset="kmnist"),
    "recipe": replace(FAST, recipe=SHORT, recipe_name="fast-3ep"),
}


@pytest.mark.parametrize("differs", ROWS)
def test_several_rows_need_a_choice(differs: str):
    other = ROWS[differs]

    with pytest.raises(ContentError, match=f"^{NETWORK.hash} has several rows: ") as caught:
        only_row(given(FAST, other), dataset=None, target_pct=None, recipe_given=False)

    for row in (FAST, other):
        assert f"{row.recipe_name} on {row.dataset}, target {row.target_pct}" in caught.value.message
    assert caught.value.hint == f"choose with --{differs}"


def test_the_target_chooses():
    rows = given(FAST, ROWS["target"])

    assert only_row(rows, dataset=None, target_pct=99.0, recipe_given=False) == ROWS["target"]
    assert only_row(rows, dataset=None, target_pct=99.4, recipe_given=False) == FAST


def test_a_target_that_no_row_has_leaves_the_recipe_of_the_rows():
    small = replace(FAST, recipe=RECIPES["small"].recipe, recipe_name="small")

    assert only_row(given(small), dataset=None, target_pct=99.5, recipe_given=False) == replace(small, target_pct=None)
    assert only_row(given(small), dataset="kmnist", target_pct=99.5, recipe_given=False) is None
    with pytest.raises(ContentError, match="has several rows"):
        only_row(given(small, FAST), dataset=None, target_pct=99.5, recipe_given=False)


def test_the_data_set_chooses():
    rows = given(FAST, ROWS["dataset"])

    assert only_row(rows, dataset="kmnist", target_pct=None, recipe_given=False) == ROWS["dataset"]


def test_rows_that_differ_in_their_recipe_alone_are_one_where_a_recipe_is_given():
    found = only_row(given(FAST, ROWS["recipe"]), dataset=None, target_pct=None, recipe_given=True)

    assert found is not None
    assert (found.dataset, found.target_pct) == ("mnist", 99.4)


def test_where_no_row_fits_there_is_none():
    assert only_row(given(FAST), dataset="kmnist", target_pct=None, recipe_given=False) is None
    assert only_row(given(), dataset=None, target_pct=None, recipe_given=False) is None


def test_a_row_without_a_target_fits_every_target():
    searched = replace(FAST, target_pct=None)

    assert only_row(given(searched, searched), dataset="mnist", target_pct=98.0, recipe_given=False) == searched


def keep_study(place: Workspace, *results: Result) -> None:
    """Leave a study with these runs in the workspace."""
    folder = place.study("a-study")
    study.open_study(folder, scripted.config(), {})
    for made in results:
        assert made.trial is not None
        result.write(study.result_path(folder, made.trial, made.purpose, made.seed_index), made)
