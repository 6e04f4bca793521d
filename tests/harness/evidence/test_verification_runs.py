"""Verification: which seeds are run, how they join the record, what they prove, and how certifications are declared."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta, chi2, sem, t

from harness.data import own
from harness.data.datasets import Dataset, dataset
from harness.data.training_images import load
from harness.evidence import consistency, leaderboard_table, ledger, record, verification_runs
from harness.evidence.leaderboard_table import Tier
from harness.evidence.ledger import Attempt, AttemptOutcome, Declaration
from harness.evidence.record import Record
from harness.evidence.verification_runs import Verdict, declare_attempt, recorded_verdict
from harness.studies.config import owned
from harness.system import files
from harness.system.errors import ContentError, StorageError, UsageError
from harness.system.files import Workspace
from harness.system.terminal import say_once
from harness.training.executors.base import StretchEnded
from harness.training.executors.processes import Processes
from harness.training.recipe import RECIPES, NamedRecipe, Recipe
from harness.training.result import Purpose, derive_seed
from harness.training.run import Job, TrainingData, execute
from search_spaces.notation import parse_network
from tests.factories import ENVIRONMENT
from tests.fakes import Seeds, without_training
from tests.verifications import NETWORK, commit_evidence, declare_in_git, git, make_plan, run_plan

CERTIFY = make_plan(certify=True)


@pytest.fixture
def seeds(monkeypatch: pytest.MonkeyPatch) -> Seeds:
    return without_training(monkeypatch)


def recorded(place: Workspace) -> Record:
    [there] = record.read_all(place.records)
    return there


def interrupt_at(index: int) -> Callable[[Job], None]:
    """Return what is called with a job and presses Ctrl-C at that seed."""

    def watch(job: Job) -> None:
        if job.seed_index == index:
            raise KeyboardInterrupt

    return watch


def interrupted(place: Workspace, seeds: Seeds, at: int, indices: range) -> None:
    """Run a verification until Ctrl-C at one of its seeds."""
    seeds.watch = interrupt_at(at)
    with pytest.raises(KeyboardInterrupt):
        run_plan(place, make_plan(indices))
    seeds.watch = lambda job: None


def in_this_process(waiting: list[Job], executor: Processes, workers: int, *callbacks: Any) -> Iterator[StretchEnded]:
    """Train without a worker process, which takes a while to start."""
    bench = TrainingData(load(executor.source.dataset, executor.source.folder, allow_download=False))
    while waiting:
        yield StretchEnded(job := waiting.pop(0), execute(job, bench))


# Which seeds -----------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_a_real_verification_runs_the_fixed_seeds_and_repeats_them_bit_for_bit(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
):
    network = parse_network("conv3x3(2) bn relu maxpool gap linear(10)")
    smoke = RECIPES["smoke"]
    planned = make_plan(range(2), architecture=network, named_recipe=smoke, dataset="mnist-5k", target_pct=97.0)

    first = run_plan(place, planned)
    monkeypatch.setattr(verification_runs, "run_all", in_this_process)
    again = run_plan(place, replace(planned, indices=(1,)))

    ours = [run.seed for run in first.runs]
    assert ours == [derive_seed(network.hash, smoke.recipe.hash, Purpose.VERIFY, index) for index in (0, 1)]
    searched = (Purpose.SEARCH, Purpose.CONFIRM)
    assert not {derive_seed(network.hash, smoke.recipe.hash, use, i) for use in searched for i in range(2)} & {*ours}
    assert [repeat.identical for repeat in again.reruns] == [True]
    assert again.runs[0].weights_sha256 == first.runs[1].weights_sha256 != first.runs[0].weights_sha256
    assert again.runs[0].test_errors == first.runs[1].test_errors
    assert [run.test_size for run in recorded(place).seeds] == [500, 500]
    assert len(place.test_log.read_text(encoding="utf-8").splitlines()) == 3


# The record ------------------------------------------------------------------------------------------


def test_new_seeds_join_the_record_and_repeated_ones_stay_as_they_were_measured(place: Workspace, seeds: Seeds):
    run_plan(place, make_plan(range(2)))
    seeds.errors = lambda index: 70

    verdict = run_plan(place, make_plan(range(1, 4)))

    assert [run.test_errors for run in recorded(place).seeds] == [55, 55, 70, 70]
    assert [run.test_errors for run in verdict.runs] == [55, 70, 70]
    assert (verdict.row.seeds, verdict.row.test_errors_mean, verdict.reruns) == (4, 62.5, ())
    # Where none is missing, they are run again.
    again = run_plan(place, make_plan([1]))
    assert again.record == recorded(place) == verdict.record
    assert [(each.index, each.test_errors, each.recorded_test_errors) for each in again.reruns] == [(1, 70, 55)]
    seeds.asked.clear()
    assert run_plan(place, make_plan(range(4), repeat=False)).row == verdict.row
    assert seeds.asked == []


def test_what_a_seed_has_learned_lies_beside_the_record_and_a_repeat_that_differs_does_not_replace_it(
    place: Workspace, seeds: Seeds
):
    learned = b"first"

    def learn(job: Job) -> None:
        assert job.weights is not None
        files.write_bytes(job.weights, learned)

    seeds.watch = learn
    run_plan(place, make_plan(range(2)))
    learned, seeds.weights = b"second", lambda index: "other"
    run_plan(place, make_plan(range(1, 3)))

    row = f"{NETWORK.hash}-{RECIPES['fast'].recipe.hash}-mnist"
    kept = {path.name: path.read_bytes() for path in (place.records / "weights" / row).iterdir()}
    assert kept == {
        "seed-0000.safetensors": b"first",
        "seed-0001.safetensors": b"first",
        "seed-0002.safetensors": b"second",
    }
    assert [path.name for path in place.runs.iterdir()] == ["records"]


@pytest.mark.parametrize(
    ("weights", "changes", "identical"),
    [
        ("a", {}, True),
        ("b", {}, False),
        ("b", {"commit": "1" * 40, "dirty": True}, False),
        ("b", {"torch": "2.12.0"}, None),
        ("b", {"instructions": "x86_64 AVX512"}, None),
        ("b", {"threads": 2}, None),
        ("a", {"torch": "2.12.0"}, True),
    ],
)
def test_a_repeat_is_compared_with_the_record(
    weights: str, changes: dict[str, object], identical: bool | None, place: Workspace, seeds: Seeds
):
    seeds.weights = lambda index: "a"
    run_plan(place, make_plan(range(1)))
    seeds.weights = lambda index: weights
    seeds.environment = replace(ENVIRONMENT, **changes)  # type: ignore[arg-type]

    verdict = run_plan(place, make_plan(range(1)))

    assert [repeat.identical for repeat in verdict.reruns] == [identical]


@pytest.mark.parametrize(
    ("errors", "weights", "contradicted"),
    [
        (lambda index: 90 + index, "other", True),
        (lambda index: 90 + index, "same", False),
        (lambda index: 50 + index, "other", False),
        (lambda index: 20 + index, "other", False),
    ],
)
def test_a_rerun_that_is_worse_contradicts_the_record(
    errors: object, weights: str, contradicted: bool, place: Workspace, seeds: Seeds
):
    seeds.errors, seeds.weights = lambda index: 50 + index, lambda index: f"same {index}"
    assert run_plan(place, make_plan()).passed
    seeds.errors, seeds.weights = errors, lambda index: f"{weights} {index}"  # type: ignore[assignment]

    verdict = run_plan(place, make_plan())

    assert verdict.row.reached
    assert verdict.contradicted is contradicted
    assert verdict.passed is not contradicted


# Interruptions and broken workers --------------------------------------------------------------------


def test_what_an_interrupted_call_has_finished_is_not_run_twice(place: Workspace, seeds: Seeds):
    seeds.watch = interrupt_at(3)
    with pytest.raises(KeyboardInterrupt):
        run_plan(place, make_plan())
    assert [run.index for run in recorded(place).seeds] == [0, 1, 2]
    assert [run.index for run in recorded_verdict(make_plan([2, 3]), place).runs] == [2]
    seeds.asked.clear()
    seeds.watch = lambda job: None

    verdict = run_plan(place, make_plan())

    assert seeds.indices == [3, 4]
    assert [run.index for run in verdict.runs] == [0, 1, 2, 3, 4]
    assert (verdict.reruns, verdict.contradicted) == ((), False)
    assert [path.name for path in place.runs.iterdir()] == ["records"]


def test_two_processes_do_not_verify_the_same_row(place: Workspace, seeds: Seeds):
    with owned(verification_runs._folder_of(make_plan(), place)), pytest.raises(UsageError):
        run_plan(place, make_plan())

    assert seeds.asked == []


@pytest.mark.parametrize("call", ["mkdir", "open"])
def test_a_full_disk_is_met_before_a_seed_is_run(
    call: str, place: Workspace, seeds: Seeds, monkeypatch: pytest.MonkeyPatch
):
    def full(*arguments: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path if call == "mkdir" else os, call, full)
        with pytest.raises(StorageError):
            run_plan(place, make_plan())

    assert seeds.asked == []


# Declarations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_there", ["nothing", "another row", "no repository", "no commit", "another count"])
def test_a_certification_runs_as_a_commit_has_declared_it(is_there: str, place: Workspace, seeds: Seeds):
    if is_there == "another row":
        declare_in_git(place, make_plan(certify=True, target_pct=99.0), 20)
    elif is_there == "no repository":
        assert declare_attempt(CERTIFY, place, 20) == declare_attempt(CERTIFY, place, 30)
    elif is_there == "no commit":
        git(place, "init", "--quiet")
        declare_attempt(CERTIFY, place, 20)
    elif is_there == "another count":
        declare_in_git(place, CERTIFY, 30)
        text = place.ledger.read_text(encoding="utf-8")
        place.ledger.write_text(text.replace('"seeds": 30', '"seeds": 20'), encoding="utf-8")

    with pytest.raises(UsageError):
        run_plan(place, CERTIFY)
    assert seeds.asked == []

    declare_in_git(place, CERTIFY, 20)
    assert run_plan(place, CERTIFY).passed
    assert len(seeds.asked) == 20


def test_the_seeds_of_a_certification_depend_on_the_commit_that_declared_it(place: Workspace, seeds: Seeds):
    declare_in_git(place, CERTIFY, 20)
    declaring = (consistency.git(place.root, "rev-parse", "HEAD") or "").strip()
    commit_evidence(place)

    verdict = run_plan(place, CERTIFY)

    known = {derive_seed(NETWORK.hash, CERTIFY.named_recipe.recipe.hash, Purpose.VERIFY, index) for index in range(20)}
    assert {job.beacon for job in seeds.asked} == {run.beacon for run in verdict.record.seeds} == {declaring}
    assert not {run.seed for run in verdict.runs} & known
    # A seed that is run again is the recorded one.
    again = run_plan(place, make_plan([3]))
    assert [run.seed for run in again.runs] == [verdict.runs[3].seed]


@pytest.mark.parametrize(
    "body",
    [
        "relu relu",
        "maxpool(1) relu",
        "relu maxpool relu",
        "relu res(conv3x3(4) bn relu relu)",
        "relu gap",
        "dropout(0.000002)",
    ],
)
def test_a_network_with_an_op_that_changes_nothing_is_not_certified(body: str, place: Workspace):
    vain = parse_network(f"conv3x3(4) bn {body} | gap | linear(10)")
    for text in ("relu", "leaky", "relu dropout(0.1)", "res(conv3x3(4) bn) maxpool"):
        fine = parse_network(f"conv3x3(4) bn {text} | gap | linear(10)")
        assert declare_attempt(replace(CERTIFY, architecture=fine), place, 20).hash == fine.hash

    with pytest.raises(ContentError):
        declare_attempt(replace(CERTIFY, architecture=vain), place, 20)


def test_the_seeds_of_a_verification_are_in_the_ledger_before_the_first(place: Workspace, seeds: Seeds):
    seen: list[list[Declaration]] = []
    seeds.watch = lambda job: seen.append(ledger.read(place.ledger).declarations)

    verdict = run_plan(place, make_plan(range(3)))

    [declaration] = seen[0]
    assert (declaration.key, declaration.indices) == (verdict.record.key, (0, 1, 2))
    assert seen == [[declaration]] * 3


def test_a_row_is_only_measured_while_a_declared_seed_has_not_been_run(place: Workspace, seeds: Seeds):
    interrupted(place, seeds, 6, range(8))

    # Six seeds with a mean far above the target, but eight were promised; a second look at five of them does not help.
    some = run_plan(place, make_plan(range(5)))
    [row] = leaderboard_table.collect(place)
    assert (row.seeds, row.tier, row.reached) == (6, Tier.MEASURED, False)
    assert (some.row.tier, some.passed) == (Tier.MEASURED, False)
    assert not recorded_verdict(make_plan(range(5)), place).passed

    verdict = run_plan(place, make_plan(range(8)))
    [row] = leaderboard_table.collect(place)
    assert (row.seeds, row.tier, verdict.passed) == (8, Tier.VERIFIED, True)


def grouped_data() -> tuple[Dataset, dict[bytes, int]]:
    """Return a data set with seven test groups of ten images, and the group of each test image by its pixels."""
    source = np.random.default_rng(5)
    images = source.integers(0, 256, (190, 8, 8), dtype=np.uint8)
    labels = np.arange(190) % 4
    groups = np.arange(190) // 10
    data = own.from_arrays(
        "grouped", images[:120], labels[:120], images[120:], labels[120:], groups=groups[:120], groups_test=groups[120:]
    )
    return data, {image.tobytes(): int(group) for image, group in zip(images[120:], groups[120:], strict=True)}


def test_the_stored_groups_of_the_test_images_are_those_of_the_source(workspace: Path):
    home = Workspace(workspace)
    data, group_of = grouped_data()

    pixels = np.load(home.data(data.name) / "test.npz")["pixels"]
    stored = list(zip(data.test_groups, (group_of[image.tobytes()] for image in pixels), strict=True))

    assert len(set(stored)) == len({group for group, _ in stored}) == len({group for _, group in stored}) == 7
    assert data.test_group_sizes == (10,) * 7


@pytest.mark.parametrize("older", [False, True])
def test_the_groups_of_the_test_images_decide(older: bool, workspace: Path, seeds: Seeds):
    home = Workspace(workspace)
    data, _ = grouped_data()
    errors = np.bincount(data.test_groups[:4], minlength=7)
    if older:
        # A data set that does not state the groups: all errors may lie in one.
        facts = home.data(data.name) / "data.json"
        files.write_json(facts, json.loads(facts.read_text(encoding="utf-8")) | {"test_groups": []})
        errors = np.array([4, 0, 0, 0, 0, 0, 0])
    network = parse_network("conv3x3(4) bn relu | gap | linear(4)", data.task)
    seeds.errors = lambda index: 4

    verdict = run_plan(home, make_plan(range(6), architecture=network, dataset=data.name, target_pct=90.0))

    # Equal seeds and groups: the standard error between groups, and the bound of Korn and Graubard (1998) at 98 %.
    cases = min(70, 4 / 70 * 66 / 70 / sem(errors / 10) ** 2 + 1)
    cases *= (t.ppf(0.98, 69) / t.ppf(0.98, 6)) ** 2
    due = 100 * (1 - beta.ppf(0.98, 4 / 70 * cases + 1, 66 / 70 * cases))
    assert verdict.row.lower_bound_pct == pytest.approx(due)
    assert (verdict.row.tier, verdict.row.confidence) == (Tier.AT_TARGET, 0.98)
    assert "7 groups of test images" in verdict.row.note


def test_a_damaged_record_stops_its_own_verification_only(workspace: Path, seeds: Seeds):
    home = Workspace(workspace)
    run_plan(home, make_plan(range(6)))
    [path] = home.records.glob("*.json")
    path.write_text("{", encoding="utf-8")
    seeds.asked.clear()

    with pytest.raises(ContentError, match=path.name):
        run_plan(home, make_plan(range(6)))
    assert seeds.asked == []
    assert run_plan(home, make_plan(range(6), target_pct=99.0)).row.seeds == 6


def test_weights_that_were_tested_before_the_test_part_was_changed_are_reported(
    workspace: Path, seeds: Seeds, capsys: pytest.CaptureFixture[str]
):
    home = Workspace(workspace)
    say_once.cache_clear()
    run_plan(home, make_plan(range(6)))
    assert capsys.readouterr().err == ""

    run_plan(home, make_plan(range(6), dataset="kmnist"))

    [warning] = capsys.readouterr().err.splitlines()
    assert "tested on mnist before" in warning


def test_equal_weights_on_the_same_test_images_under_another_name_are_not_reported(
    workspace: Path, seeds: Seeds, capsys: pytest.CaptureFixture[str]
):
    home = Workspace(workspace)
    say_once.cache_clear()
    pictures = np.random.default_rng(0).integers(0, 256, (120, 8, 8), dtype=np.uint8)
    labels = np.arange(120) % 10
    names = []
    for name, test in (("first", pictures[80:]), ("renamed", pictures[80:]), ("edited", 255 - pictures[80:])):
        path = workspace / f"{name}.npz"
        np.savez(path, x_train=pictures[:80], y_train=labels[:80], x_test=test, y_test=labels[80:])
        names.append(own.data_name(str(path)))

    warnings = []
    seeds.errors = lambda index: index
    network = parse_network("conv3x3(4) | gap | linear(10)", dataset(names[0]).task)
    for name in names:
        run_plan(home, make_plan(range(6), dataset=name, architecture=network))
        warnings.append(capsys.readouterr().err.splitlines())

    assert warnings[:2] == [[], []]
    assert all("before" in line for line in warnings[2])
    assert len(warnings[2]) == 2


# Certifications --------------------------------------------------------------------------------------


def certified(place: Workspace, count: int = 20, **changes: Any) -> Verdict:
    """Declare, commit and run a certification; one that is open already goes on as it was declared."""
    planned = make_plan(certify=True, **changes)
    declare_in_git(place, planned, count)
    return run_plan(place, planned)


def only_attempt(place: Workspace) -> Attempt:
    [attempt] = ledger.read(place.ledger).attempts
    return attempt


def test_a_bound_at_the_target_certifies(place: Workspace, seeds: Seeds):
    seeds.errors = lambda index: 50 + index % 3

    verdict = certified(place)

    assert verdict.passed
    assert (verdict.row.tier, verdict.row.reached) == (Tier.CERTIFIED, True)
    attempt = only_attempt(place)
    assert attempt.outcome is AttemptOutcome.CERTIFIED
    # Twenty seeds make 19 errors more than 50 each, which is fewer than Student's bound makes of it: Garwood's counts.
    most = 50 + chi2.ppf(0.9975, 2 * (19 + 1)) / 2 / 20
    assert attempt.lower_bound_pct == pytest.approx(100 - most / 100, abs=1e-9)
    assert {run.attempt for run in verdict.record.seeds} == {1}


def test_a_certification_that_fails_has_failed_although_the_row_is_verified(place: Workspace, seeds: Seeds):
    # The last seed alone takes the certificate's bound below the target, and that of 98 %, t(0.98, 19) = 2.205, not.
    seeds.errors = lambda index: 105 if index == 19 else 50

    verdict = certified(place)

    assert (verdict.row.tier, verdict.row.reached) == (Tier.VERIFIED, True)
    assert not verdict.passed
    assert only_attempt(place).outcome is AttemptOutcome.FAILED
    assert [attempt.key for attempt in ledger.read(place.ledger).attempts].count(verdict.record.key) == 1


def test_a_verification_runs_all_that_is_declared_for_its_row(place: Workspace, seeds: Seeds):
    run_plan(place, make_plan(range(6)))
    key = record.read_all(place.records)[0].key
    # Eight workers had declared eight seeds, and were stopped after six.
    ledger.declare_verification(place.ledger, key, [6, 7])

    assert verification_runs.due_indices(make_plan(), place, 5) == (0, 1, 2, 3, 4, 6, 7)
    # Of another target these are known, of another data set they are not.
    assert verification_runs.due_indices(make_plan(target_pct=99.0), place, 5) == (8, 9, 10, 11, 12)
    assert verification_runs.due_indices(make_plan(dataset="kmnist"), place, 5) == (0, 1, 2, 3, 4)


def test_seeds_of_a_certification_that_have_not_run_hold_a_row_back(place: Workspace, seeds: Seeds):
    verdict = run_plan(place, make_plan(range(6)))
    assert verdict.row.tier is Tier.VERIFIED

    declare_attempt(make_plan(), place, 20)

    row = leaderboard_table.row_of_record(verdict.record, ledger.read(place.ledger))
    assert (row.tier, row.reached) == (Tier.MEASURED, False)


def test_seeds_are_new_even_to_other_targets_and_data_sets(place: Workspace, seeds: Seeds):
    run_plan(place, make_plan([0, 6], target_pct=99.0))
    run_plan(place, make_plan([8], dataset="kmnist", target_pct=95.0))
    other = parse_network("conv3x3(5) gap linear(10)")
    run_plan(place, make_plan([30], architecture=other))
    run_plan(place, make_plan([40], named_recipe=NamedRecipe("short", Recipe(epochs=3))))
    seeds.asked.clear()

    certified(place)

    assert seeds.indices == list(range(9, 29))


@pytest.mark.parametrize(("last", "outcome"), [(96, AttemptOutcome.CERTIFIED), (97, AttemptOutcome.FAILED)])
def test_a_second_attempt_at_a_target_needs_a_stricter_bound(
    last: int, outcome: AttemptOutcome, place: Workspace, seeds: Seeds
):
    seeds.errors = lambda index: 5_000
    certified(place, named_recipe=NamedRecipe("short", Recipe(epochs=3)))
    seeds.errors = lambda index: last if index == 19 else 50

    verdict = certified(place)

    # With d = last - 50 the mean is 50 + d / 20 errors and its standard error d / 20; at a first attempt both would
    # have passed.
    assert verdict.attempt is not None
    assert (verdict.attempt.number, verdict.attempt.outcome) == (2, outcome)
    bound = 100 - (50 + (last - 50) * (1 + t.ppf(1 - 0.008 / 4, 19)) / 20) / 100
    assert 47 * (1 + t.ppf(1 - 0.01 / 4, 19)) < 200
    assert verdict.attempt.lower_bound_pct == pytest.approx(bound, abs=1e-5)
    assert verdict.row.confidence == (0.998 if outcome is AttemptOutcome.CERTIFIED else 0.984)


@pytest.mark.parametrize(("errors", "run"), [(1200, 2), (601, 2), (600, 3), (75.5, 5)])
def test_it_stops_once_it_is_futile_and_stays_so(errors: float, run: int, place: Workspace, seeds: Seeds):
    # Twenty seeds may make 1,200 errors in all, so 1,200 at once leave room for none.
    seeds.errors = lambda index: int(errors) + (index % 2 if errors % 1 else 0)

    verdict = certified(place)

    assert len(seeds.asked) == run
    assert len(verdict.record.seeds) == run
    assert not verdict.passed
    assert only_attempt(place).outcome is AttemptOutcome.FUTILE
    lines = place.ledger.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["outcome"] for line in lines] == ["open", "futile"]


def test_a_certificate_has_seeds_that_were_never_run_and_is_declared_once(place: Workspace, seeds: Seeds):
    run_plan(place, make_plan(range(3), dataset="kmnist"))

    first = verification_runs.declare_certificate(make_plan(), place, 20)
    assert (first.indices, first.alpha) == (tuple(range(3, 23)), 0.01)
    assert verification_runs.declare_certificate(make_plan(), place, 30) == first
    # Another network on the same images shares the chance of error with it.
    other = make_plan(architecture=parse_network("conv3x3(5) gap linear(10)"))
    assert verification_runs.declare_certificate(other, place, 20).alpha == 0.008


def test_an_open_attempt_is_gone_on_with_as_it_was_declared(place: Workspace, seeds: Seeds):
    run_plan(place, make_plan(range(3)))
    seeds.asked.clear()

    def interrupt(job: Job) -> None:
        if job.seed_index == 7:
            raise KeyboardInterrupt

    seeds.watch = interrupt
    with pytest.raises(KeyboardInterrupt):
        certified(place, 20)
    assert only_attempt(place).outcome is AttemptOutcome.OPEN
    seeds.asked.clear()
    seeds.watch = lambda job: None

    verdict = certified(place, 30)

    assert seeds.indices == list(range(7, 23))
    assert [run.index for run in verdict.runs] == list(range(3, 23))
    assert verdict.passed
    assert (only_attempt(place).number, only_attempt(place).seeds) == (1, 20)


def test_seeds_in_flight_do_not_make_a_success_of_what_was_given_up(place: Workspace, seeds: Seeds):
    seeds.in_flight = 12
    # The first five say that it cannot be; the eleven that were launched beside them would carry the bound over 99.4.
    seeds.errors = lambda index: [61, 62, 61, 62, 62][index] if index < 5 else 52 + index % 4

    verdict = certified(place)

    assert len(verdict.record.seeds) == 16
    assert (verdict.passed, only_attempt(place).outcome) == (False, AttemptOutcome.FUTILE)
    assert verdict.row.tier is Tier.VERIFIED
    lines = place.ledger.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["outcome"] for line in lines] == ["open", "futile"]
