"""The command ``harness evaluate``, end to end: a verification keeps weights, and they make the recorded mistakes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from safetensors.numpy import load_file

from harness.cli import run
from harness.evidence import record
from harness.evidence.record import Record
from harness.evidence.weight_file import Repeat, add_repeat, path_of
from harness.system.files import Workspace
from tests.harness.commands.conftest import NETWORK, ROW, Trainer


def refused(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """Return the one line of a refusal."""
    assert run(["evaluate", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def edit(place: Workspace, change: Callable[[dict[str, Any]], None]) -> None:
    """Edit the first seed of the record by hand, so that it still holds together."""
    [path] = place.records.glob("*.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document["seeds"][0])
    document["seeds"][0]["test_errors"] = len(document["seeds"][0]["wrong"])
    path.write_text(json.dumps(document), encoding="utf-8")


# What a verification keeps --------------------------------------------------------------------------------------


def test_a_verification_keeps_the_weights_of_each_seed(place: Workspace, evidence: Record):
    assert len(evidence.seeds) == 2
    for run_of_seed in evidence.seeds:
        kept = load_file(path_of(place.records, evidence, run_of_seed.index))
        # By torch's order, which is that of the network; the tied kernel is in the digest a second time.
        order = ["0.weight", *(f"1.{name}" for name in ("weight", "bias", "running_mean", "running_var"))]
        order += ["4.weight", *(f"5.{name}" for name in ("weight", "bias", "running_mean", "running_var"))]
        order += ["4.weight", *(f"6.ops.1.{name}" for name in ("weight", "bias", "running_mean", "running_var"))]
        order += ["8.weight", "8.bias"]
        assert sorted(kept) == sorted({f"ops.{name}" for name in order})
        whole = b"".join(kept[f"ops.{name}"].tobytes() for name in order)
        assert hashlib.sha256(whole).hexdigest() == run_of_seed.weights_sha256


def test_a_repeat_fills_in_weights_that_are_missing_or_damaged(
    place: Workspace, evidence: Record, trainer: Trainer, capsys: pytest.CaptureFixture[str]
):
    first, second = (path_of(place.records, evidence, index) for index in (0, 1))
    whole = first.read_bytes(), second.read_bytes()
    first.unlink()
    second.write_bytes(b"cut")
    before = record.read_all(place.records)

    run(["verify", NETWORK, *ROW, "--seeds", "2"])

    assert (first.read_bytes(), second.read_bytes()) == whole
    assert record.read_all(place.records) == before
    assert capsys.readouterr().out.count("identical to the record, bit for bit") == 2


@pytest.mark.parametrize("there", [True, False])
def test_a_repeat_that_came_out_otherwise_leaves_no_weights(
    there: bool, place: Workspace, evidence: Record, trainer: Trainer
):
    path = path_of(place.records, evidence, 0)
    whole = path.read_bytes()
    if not there:
        path.unlink()
    trainer.shift = 5

    run(["verify", NETWORK, *ROW, "--seeds", "1"])

    assert (path.read_bytes() if path.exists() else None) == (whole if there else None)
    assert record.read_all(place.records) == [evidence]


# Against the record -------------------------------------------------------------------------------------------------


def test_weights_of_a_repeat_are_said_to_have_other_bits_as_expected_and_what_is_compared(
    place: Workspace, evidence: Record, capsys: pytest.CaptureFixture[str]
):
    kept = evidence.seeds[0]
    edit(place, lambda seed: seed.update(weights_sha256="0" * 64))
    repeat = Repeat(
        hash=evidence.hash,
        recipe_hash=evidence.recipe_hash,
        dataset=evidence.dataset,
        seed_index=0,
        recorded_sha256="0" * 64,
        weights_sha256=kept.weights_sha256 or "",
        environment=kept.environment,
        trained_utc=kept.started_utc,
    )
    add_repeat(place.records, repeat)

    assert run(["evaluate", NETWORK]) == 0

    assert "repeats.jsonl" in capsys.readouterr().out
    assert run(["export", evidence.hash[:8], "--seed", "0", "--safetensors", "kept.safetensors", "--json"]) == 0
    exported = json.loads(capsys.readouterr().out)
    assert (exported["match"], exported["trained"]) == ("repeated", False)
    assert exported["weights_sha256"] == kept.weights_sha256
    assert exported["recorded_weights_sha256"] == "0" * 64


def test_all_kept_seeds_as_json(evidence: Record, evaluated: Callable[..., dict[str, Any]]):
    found = evaluated("--seed", "all")

    assert (found["hash"], found["recipe"], found["dataset"]) == (evidence.hash, "smoke", "mnist-5k")
    assert [seed["index"] for seed in found["seeds"]] == [0, 1]
    for seed, recorded in zip(found["seeds"], evidence.seeds, strict=True):
        assert tuple(map(tuple, seed["wrong"])) == recorded.wrong
        assert (seed["errors"], seed["images"], seed["as_recorded"]) == (recorded.test_errors, 500, True)
        assert seed["accuracy_pct"] == pytest.approx(100 - recorded.test_errors / 5)
    accuracies = [100 - seed.test_errors / 5 for seed in evidence.seeds]
    assert found["mean_accuracy_pct"] == pytest.approx(sum(accuracies) / 2)
    # t(0.99, 1) is 31.8205 in the printed tables; the standard error of two values is half their distance.
    bound = sum(accuracies) / 2 - 31.8205 * abs(accuracies[0] - accuracies[1]) / 2
    assert found["lower_bound_pct"] == pytest.approx(bound, abs=1e-3)
    assert found["lower_bound_images_pct"] <= found["lower_bound_pct"] + 1e-9


def test_all_are_those_that_are_kept(
    place: Workspace, evidence: Record, evaluated: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    path_of(place.records, evidence, 0).unlink()

    assert [seed["index"] for seed in evaluated("--seed", "all")["seeds"]] == [1]
    path_of(place.records, evidence, 1).unlink()
    assert "none are kept" in refused(capsys, 4, NETWORK, "--seed", "all")


def test_the_read_of_the_test_images_is_entered_with_its_purpose(
    place: Workspace, evidence: Record, evaluated: Callable[..., dict[str, Any]]
):
    before = place.test_log.read_text(encoding="utf-8")

    evaluated("--seed", "all")

    after = place.test_log.read_text(encoding="utf-8")
    assert after.startswith(before)
    [entry] = [json.loads(line) for line in after.removeprefix(before).splitlines()]
    assert (entry["dataset"], entry["purpose"]) == ("mnist-5k", f"evaluate {evidence.hash} smoke seeds 0, 1")


def other_class(seed: dict[str, Any]) -> None:
    seed["wrong"][3][1] = (seed["wrong"][3][1] + 1) % 10


def one_less(seed: dict[str, Any]) -> None:
    del seed["wrong"][3]


def all_gone(seed: dict[str, Any]) -> None:
    seed["wrong"] = []


@pytest.mark.parametrize("change", [other_class, one_less, all_gone])
def test_a_record_that_was_edited_by_hand_is_found_out(
    change: Callable[[dict[str, Any]], None], place: Workspace, evidence: Record, capsys: pytest.CaptureFixture[str]
):
    edit(place, change)

    assert run(["evaluate", NETWORK]) == 3

    assert "NOT as recorded" in capsys.readouterr().out.splitlines()[1]


def test_one_seed_that_is_not_as_recorded_is_enough(place: Workspace, evaluated: Callable[..., dict[str, Any]]):
    edit(place, other_class)

    found = evaluated("--seed", "all", code=3)

    assert [seed["as_recorded"] for seed in found["seeds"]] == [False, True]
    assert len(found["seeds"][0]["differing"]) == 1


# What is refused ------------------------------------------------------------------------------------------------


def test_a_seed_that_is_not_kept_is_refused_before_the_test_images_are_read(
    place: Workspace, evidence: Record, capsys: pytest.CaptureFixture[str]
):
    before = place.test_log.read_bytes()

    refused(capsys, 4, NETWORK, "--seed", "7")
    path_of(place.records, evidence, 1).unlink()
    refused(capsys, 4, NETWORK, "--seed", "1")
    assert place.test_log.read_bytes() == before


@pytest.mark.parametrize("position", [200, -1])
def test_damaged_weights_are_refused_before_the_test_images_are_read(
    position: int, place: Workspace, evidence: Record, capsys: pytest.CaptureFixture[str]
):
    path, before = path_of(place.records, evidence, 0), place.test_log.read_bytes()
    content = bytearray(path.read_bytes())
    content[position] ^= 0x80
    path.write_bytes(content)

    assert path.name in refused(capsys, 4, NETWORK, "--seed", "all")
    assert place.test_log.read_bytes() == before


def test_several_recipes_need_a_choice_and_several_targets_do_not(
    place: Workspace, evidence: Record, evaluated: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
):
    record.write(place.records, replace(evidence, target_pct=50.0, seeds=evidence.seeds[:1]))
    assert len(evaluated("--seed", "all")["seeds"]) == 2
    recipe = replace(evidence.recipe, epochs=2)
    other = replace(evidence, recipe=recipe, recipe_hash=recipe.hash, recipe_name="longer", seeds=())
    record.write(place.records, other)

    assert "choose with --recipe" in refused(capsys, 4, NETWORK)
    assert len(evaluated("--seed", "all", "--recipe", "smoke")["seeds"]) == 2
    refused(capsys, 4, NETWORK, "--recipe", "longer")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([NETWORK, "--seed", "first"], 2),
        ([NETWORK, "--on", "qmnist-50k", "--images", "x.png"], 2),
        ([NETWORK, "--on", "qmnist"], 2),
        ([NETWORK, "--images", "none.png"], 2),
        ([NETWORK, "--images", "leaderboard.csv"], 5),
        ([NETWORK, "--recipe", "fast"], 4),
        ([NETWORK, "--dataset", "kmnist"], 4),
        (["gap | linear(10)"], 4),
    ],
)
def test_what_cannot_be_is_refused_and_no_test_image_read(
    arguments: list[str], code: int, place: Workspace, capsys: pytest.CaptureFixture[str]
):
    before = place.test_log.read_bytes(), place.ledger.read_bytes()

    refused(capsys, code, *arguments)

    assert (place.test_log.read_bytes(), place.ledger.read_bytes()) == before
