"""The command ``harness verify``: what it says of a verification, as text, as JSON and as an exit code."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cli import run
from harness.data import training_images as data
from harness.data.datasets import DATASETS
from harness.evidence import ledger, record
from harness.evidence.ledger import Outcome
from harness.system.files import Workspace
from search_spaces.notation import parse_network
from tests.harness import unrun
from tests.harness.unrun import Seeds
from tests.wording import lacking

NETWORK = str(unrun.NETWORK)


@pytest.fixture
def place(workspace: Path) -> Workspace:
    return Workspace(workspace)


@pytest.fixture(autouse=True)
def seeds(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> Seeds:
    def resolve(name: str, folder: Path | None) -> Any:
        return SimpleNamespace(dataset=DATASETS["mnist" if name == "auto" else name], train_labels=range(60_000))

    monkeypatch.setattr(data, "resolve", resolve)
    return unrun.without_training(monkeypatch)


def verified(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert run(["verify", NETWORK, "--json", *arguments]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def declared(place: Workspace, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Declare a certification, commit it, and return the attempt."""
    attempt: dict[str, Any] = verified(capsys, "--certify", "--declare-only", *arguments)["attempt"]
    unrun.commit(place)
    return attempt


def test_the_teacher_s_time_is_said_recorded_and_ranked(
    seeds: Seeds, place: Workspace, capsys: pytest.CaptureFixture[str]
):
    recipe = place.root / "taught.toml"
    recipe.write_text('teacher = "gap linear(10)"\nteacher_recipe = "fast"\n', encoding="utf-8")
    seeds.teacher_seconds = 321.0

    found = verified(capsys, "--seeds", "5", "--recipe", f"@{recipe}")
    assert run(["verify", NETWORK, "--seeds", "5", "--recipe", f"@{recipe}"]) == 0
    shown = capsys.readouterr()

    assert found["teacher_seconds"] == found["row"]["teacher_seconds"] == 321.0
    assert [evidence.teacher_seconds for evidence in record.read_all(place.records)] == [321.0]
    assert "teacher: 321 s of training, once for all seeds" in shown.out.splitlines()
    assert shown.err.startswith("1 teacher of 20 parameters; ")
    assert {job.teachers for job in seeds.asked} == {place.teachers}


def test_json_has_the_documented_fields(seeds: Seeds, capsys: pytest.CaptureFixture[str]):
    seeds.errors = lambda index: 50 + index

    found = verified(capsys, "--seeds", "6")

    assert (found["architecture"], found["hash"]) == (NETWORK, unrun.NETWORK.hash)
    assert found["parameters"] == 36 + 8 + 50
    assert (found["tier"], found["target_pct"], found["passed"], found["attempt"]) == ("verified", 99.4, True, None)
    assert found["test_errors"] == [50, 51, 52, 53, 54, 55]
    accuracies = [100 - errors / 100 for errors in found["test_errors"]]
    assert found["mean_test_accuracy_pct"] == pytest.approx(statistics.mean(accuracies))
    assert found["std_test_accuracy_pct"] == pytest.approx(statistics.stdev(accuracies))
    # t(0.99, 5) is 3.36493 in the printed tables.
    bound = statistics.mean(accuracies) - 3.36493 * statistics.stdev(accuracies) / 6**0.5
    assert found["lower_bound_pct"] == pytest.approx(bound, abs=1e-6)
    assert len(set(found["seeds"])) == 6
    assert found["row"]["seeds"] == 6


def test_ten_seeds_are_run_where_no_number_is_given(seeds: Seeds, place: Workspace, capsys: pytest.CaptureFixture[str]):
    verified(capsys)

    assert seeds.indices == list(range(10))
    assert NETWORK in place.leaderboard.read_text(encoding="utf-8")


def test_the_recipe_that_nobody_asked_for_is_named(seeds: Seeds, place: Workspace, capsys: pytest.CaptureFixture[str]):
    assert run(["verify", NETWORK, "--seeds", "5"]) == 0
    assert "recipe fast, as none was given\n" in capsys.readouterr().err

    hash_ = parse_network(NETWORK).hash
    assert run(["verify", hash_, "--seeds", "5"]) == 0
    captured = capsys.readouterr()
    assert "recipe fast, the row's own\n" in captured.err
    # What is about to be done, and that what came of it changes no record.
    assert lacking(captured.err, "5 seeds of", "60,000 training images of MNIST", "10,000 test images") == []
    assert "the record stays as it is; " in captured.out

    assert run(["verify", hash_, "--seeds", "5", "--recipe", "fast"]) == 0
    assert "recipe " not in capsys.readouterr().err


def test_one_seed_has_no_deviation_and_misses(capsys: pytest.CaptureFixture[str]):
    found = verified(capsys, "--seeds", "1", code=3)

    assert (found["tier"], found["reached"]) == ("measured", False)
    assert (found["std_test_accuracy_pct"], found["lower_bound_pct"]) == (None, None)


@pytest.mark.parametrize(
    ("count", "errors", "code", "said"),
    [
        ("1", 61, 3, ("measured", "99.4 % is not reached", "5 seeds or more", "mean")),
        ("5", 60, 0, ("verified", "lower 90 % bound", "reaches 99.4 %")),
        ("4", 40, 3, ("measured", "99.4 % is not reached", "5 seeds or more", "mean")),
        ("5", 61, 3, ("measured", "99.4 % is not reached", "5 seeds or more", "mean")),
    ],
)
def test_text_ends_with_the_verdict(
    count: str, errors: int, code: int, said: tuple[str, ...], seeds: Seeds, capsys: pytest.CaptureFixture[str]
):
    seeds.errors = lambda index: errors

    assert run(["verify", NETWORK, "--seeds", count]) == code

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"seed 0: {100 - errors / 100:.2f} % ({errors} errors), 50 s"
    seeds_run = "the only seed" if count == "1" else f"all {count} seeds"
    assert lines[-2].startswith(f"the row, {seeds_run} ever run: mean {100 - errors / 100:.3f} %")
    assert lacking(lines[-1], *said) == []


def test_a_mean_at_the_target_whose_bound_is_not_is_said_to_be_so(seeds: Seeds, capsys: pytest.CaptureFixture[str]):
    seeds.errors = lambda index: 57 + index

    assert run(["verify", NETWORK, "--seeds", "5"]) == 0

    last = capsys.readouterr().out.splitlines()[-1]
    assert lacking(last, "at the target", "mean reaches", "90 % bound", "99.399 %, does not") == []


def test_a_rerun_that_contradicts_the_record_misses(seeds: Seeds, capsys: pytest.CaptureFixture[str]):
    verified(capsys, "--seeds", "5")
    seeds.errors, seeds.weights = lambda index: 90, lambda index: "other"

    assert run(["verify", NETWORK, "--seeds", "5"]) == 3

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("; NOT the recorded weights (55 errors there) on an equal machine")
    assert lines[-1] == "this re-run is worse than the record (one-sided test, 5 %)"


def test_a_rerun_of_the_same_weights_is_said_to_be_identical(capsys: pytest.CaptureFixture[str]):
    verified(capsys, "--seeds", "5")

    found = verified(capsys, "--seeds", "5")

    assert [repeat["identical"] for repeat in found["repeats"]] == [True] * 5
    assert found["row"]["seeds"] == 5


# Certification -----------------------------------------------------------------------------------------------


def test_a_certification_that_fails_is_named_although_the_row_is_verified(
    seeds: Seeds, place: Workspace, capsys: pytest.CaptureFixture[str]
):
    seeds.errors = lambda index: 120 if index % 20 == 19 else 50
    declared(place, capsys, "--seeds", "20")

    found = verified(capsys, "--certify", code=3)

    assert (found["row"]["tier"], found["passed"]) == ("verified", False)
    assert (found["attempt"]["outcome"], found["attempt"]["number"]) == ("failed", 1)
    declared(place, capsys, "--seeds", "20")
    assert run(["verify", NETWORK, "--certify"]) == 3
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("attempt 2, 20 seeds from index 20: failed, 99.2 % lower bound 99.")
    assert last.endswith(" against 99.4 %; it stays in the ledger")
    assert [attempt.outcome for attempt in ledger.read(place.ledger).attempts] == [Outcome.FAILED] * 2


def test_a_certification_declares_thirty_seeds(seeds: Seeds, place: Workspace, capsys: pytest.CaptureFixture[str]):
    attempt = declared(place, capsys)
    assert seeds.asked == []

    found = verified(capsys, "--certify")

    assert (attempt["seeds"], attempt["alpha"]) == (30, 0.01)
    assert len(seeds.asked) == 30
    assert (found["tier"], found["attempt"]["outcome"]) == ("certified", "certified")
    assert run(["verify", NETWORK, "--seeds", "5"]) == 0
    assert lacking(capsys.readouterr().out.splitlines()[-1], "certified", "declared first", "99.4 %") == []


def test_a_certification_of_fewer_than_twenty_seeds_is_refused(
    seeds: Seeds, place: Workspace, capsys: pytest.CaptureFixture[str]
):
    for more in ([], ["--declare-only"]):
        assert run(["verify", NETWORK, "--certify", "--seeds", "19", *more]) == 2
        assert "--seeds 19: a certification takes at least 20 seeds" in capsys.readouterr().err

    assert seeds.asked == []
    assert not place.ledger.exists()


def test_a_declaration_says_what_was_declared_and_what_to_do(
    seeds: Seeds, place: Workspace, capsys: pytest.CaptureFixture[str]
):
    assert run(["verify", NETWORK, "--certify", "--declare-only", "--seeds", "25"]) == 0

    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"attempt 1: {unrun.NETWORK.hash} with recipe ")
    assert first.endswith(", mnist, target 99.4 %, seeds 0 to 24, 99 % lower bound")
    assert second.startswith(f"commit {place.ledger}, then ")
    assert [attempt.seeds for attempt in ledger.read(place.ledger).attempts] == [25]
    assert seeds.asked == []

    assert run(["verify", NETWORK, "--certify"]) == 2
    assert "is in no git repository" in capsys.readouterr().err


def test_a_row_with_seeds_that_were_promised_says_what_is_lacking(
    seeds: Seeds, place: Workspace, capsys: pytest.CaptureFixture[str]
):
    key = verified(capsys, "--seeds", "5")["row"]
    ledger.declare_verification(place.ledger, (key["hash"], key["recipe_hash"], "mnist", 99.4, 1), [5])

    assert run(["verify", NETWORK, "--seeds", "5"]) == 3

    last = capsys.readouterr().out.splitlines()[-1]
    assert lacking(last, "measured", "99.4 % is not reached", "all seeds", "declared") == []


# What is verified --------------------------------------------------------------------------------------------


def test_a_hash_brings_its_recipe_its_data_set_and_its_target(seeds: Seeds, capsys: pytest.CaptureFixture[str]):
    verified(capsys, "--recipe", "smoke", "--dataset", "kmnist", "--target", "90", "--seeds", "5", "--name", "mine")

    assert run(["verify", unrun.NETWORK.hash, "--seeds", "6", "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert (found["recipe"], found["dataset"], found["target_pct"]) == ("smoke", "kmnist", 90.0)
    assert (found["row"]["name"], found["row"]["seeds"]) == ("mine", 6)


def test_a_network_with_several_rows_needs_a_choice(seeds: Seeds, place: Workspace, capsys: pytest.CaptureFixture[str]):
    verified(capsys, "--seeds", "5")
    verified(capsys, "--seeds", "5", "--target", "99")
    given = ["verify", unrun.NETWORK.hash, "--seeds", "5"]

    assert run(given) == 4
    assert "has several rows: fast on mnist, target 99.0; fast on mnist, target 99.4" in capsys.readouterr().err
    assert run([*given, "--target", "99"]) == 0
    assert len(record.read_all(place.records)) == 2


def test_ctrl_c_says_how_to_go_on(seeds: Seeds, capsys: pytest.CaptureFixture[str]):
    def interrupt(job: object) -> None:
        raise KeyboardInterrupt

    seeds.watch = interrupt

    assert run(["verify", NETWORK]) == 130

    assert "resume with the same command" in capsys.readouterr().err


def test_one_seed_is_told_without_a_deviation(capsys: pytest.CaptureFixture[str]):
    run(["verify", NETWORK, "--seeds", "1"])

    assert "nan" not in capsys.readouterr().out


def test_a_recipe_that_leaves_a_bn_without_variance_is_refused_before_a_seed_is_run(
    seeds: Seeds, place: Workspace, capsys: pytest.CaptureFixture[str]
):
    (place.root / "one.toml").write_text("batch_size = 1\n", encoding="utf-8")

    assert run(["verify", "gap bn linear(10)", "--recipe", "@one.toml"]) == 4

    assert capsys.readouterr().err.startswith("error: recipe: batch_size is 1, and a bn of the network stands where")
    assert seeds.asked == []
