"""Network arguments of commands: texts, names, hashes, files and studies, and the choice of a row."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.evidence import record
from harness.evidence.leaderboard_table import refresh
from harness.interface import verification
from harness.interface.lookup import (
    KnownRow,
    NetworkArgument,
    network_argument,
    only_row,
    read_studies,
    recipe_of,
)
from harness.interface.results import Study
from harness.searching.start_networks import StartNetworks
from harness.spaces.catalog import PRESETS, network_name
from harness.spaces.network import MNIST, analyse
from harness.spaces.notation import parse_network
from harness.spaces.space_errors import NotationError
from harness.studies import config as study
from harness.studies.names import study_folder
from harness.system.errors import ContentError, UsageError
from harness.system.files import Workspace
from harness.training.recipe import RECIPES, NamedRecipe, Recipe
from harness.training.result import Result
from tests import searches
from tests.factories import make_record, make_result
from tests.fakes import without_training
from tests.study_logs import write_runs
from tests.verifications import make_plan, run_plan

NETWORK = parse_network("conv3x3(8) bn relu | maxpool | conv3x3(8) bn relu | gap | conv1x1(10)")
OTHER = "conv3x3(9) bn relu | gap | conv1x1(10)"
EMPTY_ROW = KnownRow(None, "", None, None)


def write_study(home: Workspace, *results: Result, name: str = "a-study") -> None:
    """Write a study with these runs to the workspace."""
    folder = home.study(name)
    study.open_study(folder, searches.config(), {})
    write_runs(folder, *results)


def test_leaderboard_of_auto_is_leaderboard_of_mnist(home: Workspace):
    record.write(home.records, make_record([60] * 5, str(NETWORK)))
    record.write(home.records, make_record([3] * 5, str(NETWORK), dataset="mnist-5k"))

    assert harness.leaderboard("auto")["dataset"].unique().tolist() == ["mnist"]


@pytest.mark.parametrize("name", ["course", "my net 2", "bn"])
def test_row_name_selects_network(home: Workspace, name: str):
    record.write(home.records, make_record([60] * 5, str(NETWORK), name=name))

    assert network_argument(name, home, MNIST).architecture == NETWORK


def test_shared_name_selects_best_ranked_network(home: Workspace, capsys: pytest.CaptureFixture[str]):
    texts = [f"conv3x3(8) bn relu | {pool} | conv3x3(8) bn relu | gap | conv1x1(10)" for pool in ("maxpool", "avgpool")]
    networks = [parse_network(text) for text in texts]
    [name] = {network_name(each, analyse(each, MNIST).parameters) for each in networks}
    for network, errors in zip(networks, ([90] * 5, [40, 41, 42, 41, 40]), strict=True):
        record.write(home.records, make_record(errors, str(network)))
    refresh(home)

    assert network_argument(name, home, MNIST).architecture == networks[1]
    assert networks[0].hash[:6] in capsys.readouterr().err


def test_trial_selects_network_and_study_without_answer_is_refused(home: Workspace):
    write_study(home, make_result(str(NETWORK)))
    study_ = Study(home.study("a-study"), home)

    with pytest.raises(UsageError, match="has no answer"):
        network_argument(study_, home, MNIST)
    [trial] = study_.trials
    argument = network_argument(trial, home, MNIST)
    assert (argument.architecture, argument.rows[0].recipe) == (NETWORK, trial.recipe)
    # A verification on a different data set uses the recipe of the trial.
    request = verification.VerifyRequest(network=trial, dataset="fashion-mnist", target_pct=90.0)
    _, row = verification._network_and_row(request, MNIST, home)
    assert row is not None
    assert row.recipe == trial.recipe


# Forms of the argument ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "text", "name"),
    [
        ("-", "gap linear(10)", ""),
        ("@net.txt", "gap linear(10)", ""),
        ("seed4", PRESETS["seed4"], "seed4"),
        ("gap linear(10)", "gap linear(10)", ""),
    ],
)
def test_network_is_read_from_stdin_file_preset_or_text(
    argument: str, text: str, name: str, home: Workspace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "stdin", io.StringIO("gap |\n linear(10)\n"))
    (home.root / "net.txt").write_text("gap linear(10)", encoding="utf-8-sig")

    result = network_argument(argument, home, MNIST)

    assert (result.architecture.hash, result.name, result.rows) == (parse_network(text).hash, name, ())


@pytest.mark.parametrize(
    ("text", "notes"), [("relu", 0), ("leaky", 0), ("LeakyReLU(0.01)", 0), ("leakyrelu # (0.01)", 1)]
)
def test_leakyrelu_without_slope_prints_note_and_bom_is_ignored(
    text: str, notes: int, home: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"\ufeffconv3x3(4) {text}\n gap linear(10)"))

    network_argument("-", home, MNIST)

    assert capsys.readouterr().err.count("PyTorch") == notes


@pytest.mark.parametrize(
    ("argument", "error", "hint"),
    [
        *((argument, UsageError, "") for argument in ("@none.txt", "@bytes.txt", "@/dev/zero")),
        ("sed4", NotationError, "'seed4'"),
        ("quux", NotationError, "leaderboard --all"),
        ("net.txt", NotationError, "@net.txt"),
        ("net.py", NotationError, "net.py:Net or net.py:small"),
        ("nb.ipynb:Net", UsageError, "jupyter nbconvert --to script"),
        ("my folder/nb.ipynb:Net", UsageError, "jupyter nbconvert --to script"),
        *((argument, ContentError, "") for argument in ("2f6e0", "abc", "7", "abcdef", "plain-77")),
    ],
)
def test_text_that_names_no_network_is_refused_with_hint(argument: str, error: Any, hint: str, home: Workspace):
    (home.root / "bytes.txt").write_bytes(b"\xff\xfe")
    (home.root / "net.txt").touch()
    text = "import torch\nclass Net: ...\ndef small(): ...\ndef _own(): ...\n1 / 0\n"
    (home.root / "net.py").write_text(text, encoding="utf-8")

    with pytest.raises(error) as caught:
        network_argument(argument, home, MNIST)
    assert hint in (caught.value.hint or "")


# Sources of known networks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", [6, 12])
def test_hash_is_looked_up_in_records(digits: int, home: Workspace):
    record.write(home.records, make_record([55], name="mine"))

    argument = network_argument(NETWORK.hash[:digits], home, MNIST)

    assert argument == NetworkArgument(NETWORK, "mine", (KnownRow(Recipe(), "fast", "mnist", 99.4),))


def test_network_is_selected_by_generated_name(home: Workspace):
    evidence = make_record([60])
    record.write(home.records, evidence)
    refresh(home)
    name = network_name(evidence.architecture, evidence.parameters)

    for argument in (name, f"{name}-{evidence.hash[:4]}"):
        assert network_argument(argument, home, MNIST).architecture.hash == evidence.hash
    with pytest.raises(ContentError) as caught:
        network_argument(f"{name}9", home, MNIST)
    assert caught.value.hint == f"did you mean {name!r}?"


@pytest.mark.parametrize("ranked", [False, True])
def test_hash_without_record_is_looked_up_in_studies(ranked: bool, home: Workspace):
    write_study(home, make_result())
    if ranked:
        assert NETWORK.hash in {row.hash for row in refresh(home)}

    argument = network_argument(NETWORK.hash, home, MNIST)

    assert (argument.architecture, argument.rows) == (
        NETWORK,
        (KnownRow(Recipe(), "fast", "mnist", searches.TARGET_PCT),),
    )


@pytest.mark.parametrize("measured", [None, {"test_errors": [50], "best_test_errors": [49], "test_size": 10_000}])
def test_hash_of_claim_selects_network_without_recipe(measured: dict[str, Any] | None, home: Workspace):
    claim = {"name": "theirs", "architecture": OTHER, "test_accuracy_pct": 99.5, "metric": "best epoch", "runs": 1}
    claim |= {"epochs": 20, "recipe": "their own", "source": "a paper", "measured": measured}
    home.records.mkdir(parents=True)
    (home.records / "claims.json").write_text(json.dumps([claim]), encoding="utf-8")
    refresh(home)

    argument = network_argument(parse_network(OTHER).hash, home, MNIST)

    assert (argument.architecture, argument.rows) == (parse_network(OTHER), (EMPTY_ROW,))


MINE = Recipe(epochs=3, momentum=0.5)
SMALL = RECIPES["small"].recipe


@pytest.mark.parametrize(
    ("name", "recipe", "is_known"),
    [
        ("small", SMALL, True),
        ("small-120ep", replace(SMALL, epochs=120), True),
        ("small", MINE, False),
        # The recipe of a record.
        ("mine", Recipe(momentum=0.7), True),
    ],
)
def test_row_of_missing_study_has_recipe_of_recorded_name(
    name: str, recipe: Recipe, is_known: bool, home: Workspace, monkeypatch: pytest.MonkeyPatch
):
    if name == "mine":
        without_training(monkeypatch)
        row = NamedRecipe("mine", recipe)
        run_plan(home, make_plan(range(1), architecture=parse_network(OTHER), named_recipe=row))
    write_study(home, replace(make_result(), recipe=recipe, recipe_name=name, recipe_hash=recipe.hash))
    refresh(home)
    (home.runs / "a-study" / "config.json").unlink()

    rows = network_argument(NETWORK.hash, home, MNIST).rows

    assert rows == (KnownRow(recipe if is_known else None, name, "mnist", None),)


def test_shared_name_of_unranked_networks_lists_hashes(home: Workspace):
    texts = ("conv3x3(8) bn relu | gap | linear(10)", "conv3x3(8) bn swish | gap | linear(10)")
    for text in texts:
        record.write(home.records, make_record([55], text))

    with pytest.raises(ContentError) as caught:
        network_argument("plain-178", home, MNIST)
    assert all(parse_network(text).hash in caught.value.message for text in texts)


def test_study_is_selected_by_name_path_or_latest(home: Workspace):
    with pytest.raises(UsageError):
        study_folder(None, home)
    write_study(home, name="one")

    for argument in (None, "one", "runs/one", "runs/one/", "./runs/../runs/one", "runs/one/report.html"):
        assert study_folder(argument, home).name == "one"
    (home.runs / "link").symlink_to("one")
    Path("shortcut").symlink_to("runs/one")
    assert [study_folder(argument, home).name for argument in ("runs/link", "./shortcut")] == ["link", "one"]
    for argument in ("two", "../one", "a/b", "..", "", "x" * 201):
        with pytest.raises(UsageError):
            study_folder(argument, home)


# The recipe of a row -----------------------------------------------------------------------------------------


def test_recipe_of_prefers_named_recipe_over_recipe_of_row(home: Workspace):
    own, unknown = KnownRow(SMALL, "small", "mnist", 99.4), KnownRow(None, "mine", "mnist", None)

    assert recipe_of(own, None, None, home).name == "small"
    assert recipe_of(own, "smoke", None, home).name == "smoke"
    assert recipe_of(None, None, 3, home).name == recipe_of(EMPTY_ROW, None, 3, home).name == "fast-3ep"
    assert recipe_of(unknown, "small-120ep", None, home) == recipe_of(unknown, "small", 120, home)
    for row, epochs in ((unknown, None), (own, 60)):
        with pytest.raises(UsageError):
            recipe_of(row, None, epochs, home)


# Choice of a row ---------------------------------------------------------------------------------------------

FAST = KnownRow(Recipe(), "fast", "mnist", 99.4)
ROWS = {
    "target": replace(FAST, target_pct=99.0),
    "dataset": replace(FAST, dataset="kmnist"),
    "recipe": replace(FAST, recipe=Recipe(epochs=3), recipe_name="fast-3ep"),
}
UNVERIFIED = replace(FAST, target_pct=None)


def choose_row(
    *rows: KnownRow, dataset: str | None = None, target_pct: float | None = None, recipe: str | None = None
) -> KnownRow | None:
    argument = NetworkArgument(NETWORK, rows=rows)
    return only_row(argument, dataset=dataset, target_pct=target_pct, recipe=recipe)


@pytest.mark.parametrize("differs", ROWS)
def test_several_rows_need_choice(differs: str):
    with pytest.raises(ContentError) as caught:
        choose_row(FAST, ROWS[differs])
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(f"choose by --{differs} ")


def test_options_choose_row():
    assert choose_row(FAST, ROWS["target"], target_pct=99.0) == ROWS["target"]
    assert choose_row(FAST, ROWS["dataset"], dataset="kmnist") == ROWS["dataset"]
    for recipe in ("fast-3ep", Recipe(epochs=3).hash):
        assert choose_row(FAST, ROWS["recipe"], recipe=recipe) == ROWS["recipe"]
    assert choose_row(FAST, ROWS["recipe"], recipe="small") in (FAST, ROWS["recipe"])
    # Without a row for the target, rows with different targets count.
    assert choose_row(FAST, target_pct=99.5) == UNVERIFIED
    assert choose_row(UNVERIFIED, UNVERIFIED, dataset="mnist", target_pct=98.0) == UNVERIFIED
    assert choose_row(FAST, dataset="kmnist") is choose_row() is None


def test_search_starts_from_leaderboard_networks_that_reached_target(home: Workspace):
    reached = make_record([50] * 6)
    for evidence in (reached, make_record([90] * 6, OTHER)):
        record.write(home.records, evidence)
    refresh(home)
    assert StartNetworks.read("leaderboard", home).networks == (reached.architecture,)


def test_damaged_study_is_skipped(home: Workspace, capsys: pytest.CaptureFixture[str]):
    write_study(home, make_result(str(NETWORK)))
    write_study(home, make_result(OTHER), name="damaged")
    log = home.study("damaged") / "log.jsonl"
    log.write_text("{}\n" + log.read_text())

    assert network_argument(NETWORK.hash, home, MNIST).architecture == NETWORK
    assert [study_.folder.name for study_ in read_studies(home)] == ["a-study"]
    assert {row.study for row in refresh(home) if row.study} == {"a-study"}
    assert capsys.readouterr().err.count("left out: line 1 of") == 1
