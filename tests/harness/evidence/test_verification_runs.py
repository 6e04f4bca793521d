"""Verification: the choice of seeds, the record, verdicts, and the declaration of certifications."""

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

from harness.data import user
from harness.data.datasets import DATASETS, Dataset, dataset
from harness.data.training_images import load
from harness.evidence import leaderboard_table, ledger, record, verification_runs
from harness.evidence.leaderboard_table import Verification, read_evidence
from harness.evidence.ledger import Attempt, AttemptResult, Declaration
from harness.evidence.record import Record
from harness.evidence.verification_runs import declare_attempt, recorded_verdict
from harness.spaces.notation import parse_network
from harness.studies.config import locked_folder
from harness.studies.standing import Standing
from harness.system import files, machine
from harness.system.errors import ContentError, StorageError, UsageError
from harness.system.files import Workspace
from harness.system.terminal import say_once
from harness.training.executors.base import JobEnded
from harness.training.executors.processes import Processes
from harness.training.recipe import RECIPES, NamedRecipe, Recipe
from harness.training.result import Purpose, derive_seed
from harness.training.run import Job, TrainingData, execute
from tests.factories import ENVIRONMENT
from tests.fakes import Seeds, without_training
from tests.verifications import NETWORK, commit_evidence, declare_in_git, git, make_plan, run_plan

CERTIFY = make_plan(certify=True)


@pytest.fixture
def seeds(monkeypatch: pytest.MonkeyPatch) -> Seeds:
    return without_training(monkeypatch)


def only_record(home: Workspace) -> Record:
    [evidence] = record.read_all(home.records)
    return evidence


def interrupt_at(index: int) -> Callable[[Job], None]:
    """Return a watcher of jobs that raises KeyboardInterrupt at a seed index."""

    def watch(job: Job) -> None:
        if job.seed_index == index:
            raise KeyboardInterrupt

    return watch


def run_until_interrupt(home: Workspace, seeds: Seeds, index: int, indices: range) -> None:
    """Run a verification until KeyboardInterrupt at a seed index."""
    seeds.watch = interrupt_at(index)
    with pytest.raises(KeyboardInterrupt):
        run_plan(home, make_plan(indices))
    seeds.watch = lambda job: None


def run_all_locally(waiting: list[Job], executor: Processes, workers: int, *callbacks: Any) -> Iterator[JobEnded]:
    """Stand in for ``run_all`` without worker processes, which take seconds to start."""
    training_data = TrainingData(load(executor.source.dataset, executor.source.folder, allow_download=False))
    while waiting:
        yield JobEnded(job := waiting.pop(0), execute(job, training_data))


# Choice of seeds -----------------------------------------------------------------------------------------


@pytest.mark.nightly
def test_trained_verification_runs_fixed_seeds_and_repeats_equal_bits(home: Workspace, monkeypatch: pytest.MonkeyPatch):
    network = parse_network("conv3x3(2) bn relu maxpool gap linear(10)")
    smoke = RECIPES["smoke"]
    plan = make_plan(range(2), architecture=network, named_recipe=smoke, data=DATASETS["mnist-5k"], target_pct=97.0)

    first = run_plan(home, plan)
    monkeypatch.setattr(verification_runs, "run_all", run_all_locally)
    second = run_plan(home, replace(plan, indices=(1,)))

    values = [run.seed for run in first.runs]
    assert values == [derive_seed(network.hash, smoke.recipe.hash, Purpose.VERIFY, index) for index in (0, 1)]
    purposes = (Purpose.SEARCH, Purpose.CONFIRM)
    assert not {derive_seed(network.hash, smoke.recipe.hash, use, i) for use in purposes for i in range(2)} & {*values}
    assert [repeat.identical for repeat in second.reruns] == [True]
    assert second.runs[0].weights_sha256 == first.runs[1].weights_sha256 != first.runs[0].weights_sha256
    assert second.runs[0].test_errors == first.runs[1].test_errors
    assert [run.test_size for run in only_record(home).seeds] == [500, 500]
    assert len(home.test_log.read_text(encoding="utf-8").splitlines()) == 3


# The record ------------------------------------------------------------------------------------------


def test_new_seeds_join_record_and_recorded_seeds_stay_unchanged(home: Workspace, seeds: Seeds):
    run_plan(home, make_plan(range(2)))
    seeds.errors = lambda index: 70

    verdict = run_plan(home, make_plan(range(1, 4)))

    assert [run.test_errors for run in only_record(home).seeds] == [55, 55, 70, 70]
    assert [run.test_errors for run in verdict.runs] == [55, 70, 70]
    assert (verdict.row.seeds, verdict.row.test_errors_mean, verdict.reruns) == (4, 62.5, ())
    # Recorded seeds are run again if no seed of the plan is missing.
    rerun_verdict = run_plan(home, make_plan([1]))
    assert rerun_verdict.record == only_record(home) == verdict.record
    assert [(each.index, each.test_errors, each.recorded_test_errors) for each in rerun_verdict.reruns] == [(1, 70, 55)]
    seeds.jobs.clear()
    assert run_plan(home, make_plan(range(4), repeat=False)).row == verdict.row
    assert seeds.jobs == []


def test_weights_of_new_seeds_join_record_and_recorded_weights_stay(home: Workspace, seeds: Seeds):
    content = b"first"

    def write_weights(job: Job) -> None:
        assert job.weights is not None
        files.write_bytes(job.weights, content)

    seeds.watch = write_weights
    run_plan(home, make_plan(range(2)))
    content, seeds.weights = b"second", lambda index: "other"
    run_plan(home, make_plan(range(1, 3)))

    folder_name = f"{NETWORK.hash}-{RECIPES['fast'].recipe.hash}-mnist"
    weight_files = {path.name: path.read_bytes() for path in (home.records / "weights" / folder_name).iterdir()}
    assert weight_files == {
        "seed-0000.safetensors": b"first",
        "seed-0001.safetensors": b"first",
        "seed-0002.safetensors": b"second",
    }
    assert [path.name for path in home.runs.iterdir()] == ["records"]


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
def test_rerun_states_whether_weights_equal_record(
    weights: str, changes: dict[str, object], identical: bool | None, home: Workspace, seeds: Seeds
):
    seeds.weights = lambda index: "a"
    run_plan(home, make_plan(range(1)))
    seeds.weights = lambda index: weights
    seeds.environment = replace(ENVIRONMENT, **changes)  # type: ignore[arg-type]

    verdict = run_plan(home, make_plan(range(1)))

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
def test_worse_rerun_with_other_weights_contradicts_record(
    errors: object, weights: str, contradicted: bool, home: Workspace, seeds: Seeds
):
    seeds.errors, seeds.weights = lambda index: 50 + index, lambda index: f"same {index}"
    assert run_plan(home, make_plan()).passed
    seeds.errors, seeds.weights = errors, lambda index: f"{weights} {index}"  # type: ignore[assignment]

    verdict = run_plan(home, make_plan())

    assert verdict.row.reached
    assert verdict.is_contradicted is contradicted
    assert verdict.passed is not contradicted


# Interruptions and broken workers --------------------------------------------------------------------


def test_seeds_of_interrupted_call_are_not_run_twice(home: Workspace, seeds: Seeds):
    seeds.watch = interrupt_at(3)
    with pytest.raises(KeyboardInterrupt):
        run_plan(home, make_plan())
    assert [run.index for run in only_record(home).seeds] == [0, 1, 2]
    assert [run.index for run in recorded_verdict(make_plan([2, 3]), read_evidence(home)).runs] == [2]
    seeds.jobs.clear()
    seeds.watch = lambda job: None

    verdict = run_plan(home, make_plan())

    assert seeds.indices == [3, 4]
    assert [run.index for run in verdict.runs] == [0, 1, 2, 3, 4]
    assert (verdict.reruns, verdict.is_contradicted) == ((), False)
    assert [path.name for path in home.runs.iterdir()] == ["records"]


def test_row_cannot_be_verified_by_two_processes(home: Workspace, seeds: Seeds):
    with locked_folder(verification_runs._folder_of(make_plan(), home)), pytest.raises(UsageError):
        run_plan(home, make_plan())

    assert seeds.jobs == []


@pytest.mark.parametrize("call", ["mkdir", "open"])
def test_full_disk_is_reported_before_first_seed(
    call: str, home: Workspace, seeds: Seeds, monkeypatch: pytest.MonkeyPatch
):
    def raise_disk_full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path if call == "mkdir" else os, call, raise_disk_full)
        with pytest.raises(StorageError):
            run_plan(home, make_plan())

    assert seeds.jobs == []


# Declarations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("declaration", ["nothing", "another row", "no repository", "no commit", "another count"])
def test_certification_needs_committed_declaration(declaration: str, home: Workspace, seeds: Seeds):
    if declaration == "another row":
        declare_in_git(home, make_plan(certify=True, target_pct=99.0), 20)
    elif declaration == "no repository":
        assert declare_attempt(CERTIFY, home, 20) == declare_attempt(CERTIFY, home, 30)
    elif declaration == "no commit":
        git(home, "init", "--quiet")
        declare_attempt(CERTIFY, home, 20)
    elif declaration == "another count":
        declare_in_git(home, CERTIFY, 30)
        text = home.ledger.read_text(encoding="utf-8")
        home.ledger.write_text(text.replace('"seeds": 30', '"seeds": 20'), encoding="utf-8")

    with pytest.raises(UsageError):
        run_plan(home, CERTIFY)
    assert seeds.jobs == []

    declare_in_git(home, CERTIFY, 20)
    assert run_plan(home, CERTIFY).passed
    assert len(seeds.jobs) == 20


def test_certification_seeds_depend_on_declaring_commit(home: Workspace, seeds: Seeds):
    declare_in_git(home, CERTIFY, 20)
    commit = (machine.git(home.root, "rev-parse", "HEAD") or "").strip()
    commit_evidence(home)

    verdict = run_plan(home, CERTIFY)

    values = {derive_seed(NETWORK.hash, CERTIFY.named_recipe.recipe.hash, Purpose.VERIFY, index) for index in range(20)}
    assert {job.beacon for job in seeds.jobs} == {run.beacon for run in verdict.record.seeds} == {commit}
    assert not {run.seed for run in verdict.runs} & values
    # A rerun uses the recorded seed.
    assert [run.seed for run in run_plan(home, make_plan([3])).runs] == [verdict.runs[3].seed]


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
def test_network_with_op_without_effect_cannot_be_declared(body: str, home: Workspace):
    vain_network = parse_network(f"conv3x3(4) bn {body} | gap | linear(10)")
    for text in ("relu", "leaky", "relu dropout(0.1)", "res(conv3x3(4) bn) maxpool"):
        network = parse_network(f"conv3x3(4) bn {text} | gap | linear(10)")
        assert declare_attempt(replace(CERTIFY, architecture=network), home, 20).hash == network.hash

    with pytest.raises(ContentError):
        declare_attempt(replace(CERTIFY, architecture=vain_network), home, 20)


def test_verification_seeds_are_declared_before_first_training(home: Workspace, seeds: Seeds):
    declarations: list[list[Declaration]] = []
    seeds.watch = lambda job: declarations.append(ledger.read(home.ledger).declarations)

    verdict = run_plan(home, make_plan(range(3)))

    [declaration] = declarations[0]
    assert (declaration.key, declaration.indices) == (verdict.record.key, (0, 1, 2))
    assert declarations == [[declaration]] * 3


def test_row_is_measured_while_a_declared_seed_is_missing(home: Workspace, seeds: Seeds):
    run_until_interrupt(home, seeds, 6, range(8))

    # Six seeds reach the target, but eight are declared. A verification of five recorded seeds changes nothing.
    partial_verdict = run_plan(home, make_plan(range(5)))
    [row] = leaderboard_table.collect(home)
    assert (row.seeds, row.tier, row.reached) == (6, Standing.MEASURED, False)
    assert (partial_verdict.row.tier, partial_verdict.passed) == (Standing.MEASURED, False)
    assert not recorded_verdict(make_plan(range(5)), read_evidence(home)).passed

    verdict = run_plan(home, make_plan(range(8)))
    [row] = leaderboard_table.collect(home)
    assert (row.seeds, row.tier, verdict.passed) == (8, Standing.VERIFIED, True)


def grouped_data() -> tuple[Dataset, dict[bytes, int]]:
    """Return a data set with seven test groups of ten images, and the groups by the pixels of the test images."""
    images = np.random.default_rng(5).integers(0, 256, (190, 8, 8), dtype=np.uint8)
    labels = np.arange(190) % 4
    groups = np.arange(190) // 10
    data = user.Data.from_arrays(
        "grouped", images[:120], labels[:120], images[120:], labels[120:], groups=groups[:120], groups_test=groups[120:]
    )
    return data, {image.tobytes(): int(group) for image, group in zip(images[120:], groups[120:], strict=True)}


def test_stored_test_groups_equal_groups_of_source(workspace: Path):
    home = Workspace(workspace)
    data, group_of = grouped_data()

    pixels = np.load(home.data(data.name) / "test.npz")["pixels"]
    pairs = list(zip(data.test_groups, (group_of[image.tobytes()] for image in pixels), strict=True))

    assert len(set(pairs)) == len({group for group, _ in pairs}) == len({group for _, group in pairs}) == 7
    assert data.test_group_sizes == (10,) * 7


@pytest.mark.parametrize("lacks_groups", [False, True])
def test_bound_over_groups_decides_verdict(lacks_groups: bool, workspace: Path, seeds: Seeds):
    home = Workspace(workspace)
    data, _ = grouped_data()
    errors = np.bincount(data.test_groups[:4], minlength=7)
    if lacks_groups:
        # Data sets of earlier versions do not state the group of each image: all errors may lie in one group.
        path = home.data(data.name) / "data.json"
        files.write_json(path, json.loads(path.read_text(encoding="utf-8")) | {"test_groups": [], "facts_sha256": ""})
        errors = np.array([4, 0, 0, 0, 0, 0, 0])
    network = parse_network("conv3x3(4) bn relu | gap | linear(4)", data.task)
    seeds.errors = lambda index: 4

    verdict = run_plan(home, make_plan(range(6), architecture=network, data=data, target_pct=90.0))

    # With equal seeds and equal group sizes: the standard error between groups, and Korn and Graubard (1998) at 98 %.
    cases = min(70, 4 / 70 * 66 / 70 / sem(errors / 10) ** 2 + 1)
    cases *= (t.ppf(0.98, 69) / t.ppf(0.98, 6)) ** 2
    expected_pct = 100 * (1 - beta.ppf(0.98, 4 / 70 * cases + 1, 66 / 70 * cases))
    assert verdict.row.lower_bound_pct == pytest.approx(expected_pct)
    assert (verdict.row.tier, verdict.row.confidence) == (Standing.AT_TARGET, 0.98)
    assert "7 groups of test images" in verdict.row.note


def test_damaged_record_stops_verification_of_same_row_only(workspace: Path, seeds: Seeds):
    home = Workspace(workspace)
    run_plan(home, make_plan(range(6)))
    [path] = home.records.glob("*.json")
    path.write_text("{", encoding="utf-8")
    seeds.jobs.clear()

    with pytest.raises(ContentError, match=path.name):
        run_plan(home, make_plan(range(6)))
    assert seeds.jobs == []
    assert run_plan(home, make_plan(range(6), target_pct=99.0)).row.seeds == 6


def test_warning_names_earlier_data_set_of_equal_weights(
    workspace: Path, seeds: Seeds, capsys: pytest.CaptureFixture[str]
):
    home = Workspace(workspace)
    say_once.cache_clear()
    run_plan(home, make_plan(range(6)))
    assert capsys.readouterr().err == ""

    run_plan(home, make_plan(range(6), data=DATASETS["kmnist"]))

    [warning] = capsys.readouterr().err.splitlines()
    assert "tested on mnist before" in warning


def test_warning_names_data_set_of_equal_weights_tested_meanwhile(
    workspace: Path, seeds: Seeds, capsys: pytest.CaptureFixture[str]
):
    home = Workspace(workspace)
    say_once.cache_clear()
    run_plan(home, make_plan(range(6)))
    [path] = home.records.glob("*.json")
    document = path.read_bytes()
    path.unlink()
    seeds.watch = lambda job: files.write_bytes(path, document)

    run_plan(home, make_plan(range(6), data=DATASETS["kmnist"]))

    assert "tested on mnist before" in capsys.readouterr().err


def test_equal_weights_on_renamed_test_images_cause_no_warning(
    workspace: Path, seeds: Seeds, capsys: pytest.CaptureFixture[str]
):
    home = Workspace(workspace)
    say_once.cache_clear()
    images = np.random.default_rng(0).integers(0, 256, (120, 8, 8), dtype=np.uint8)
    labels = np.arange(120) % 10
    names = []
    for name, test_images in (("first", images[80:]), ("renamed", images[80:]), ("edited", 255 - images[80:])):
        path = workspace / f"{name}.npz"
        np.savez(path, x_train=images[:80], y_train=labels[:80], x_test=test_images, y_test=labels[80:])
        names.append(user.data_name(str(path)))

    warnings = []
    seeds.errors = lambda index: index
    network = parse_network("conv3x3(4) | gap | linear(10)", dataset(names[0]).task)
    for name in names:
        run_plan(home, make_plan(range(6), data=dataset(name), architecture=network))
        warnings.append(capsys.readouterr().err.splitlines())

    assert warnings[:2] == [[], []]
    assert all("before" in line for line in warnings[2])
    assert len(warnings[2]) == 2


# Certifications --------------------------------------------------------------------------------------


def certify(home: Workspace, count: int = 20, **changes: Any) -> Verification:
    """Declare, commit and run a certification; an open attempt continues as declared."""
    plan = make_plan(certify=True, **changes)
    declare_in_git(home, plan, count)
    return run_plan(home, plan)


def only_attempt(home: Workspace) -> Attempt:
    [attempt] = ledger.read(home.ledger).attempts
    return attempt


def test_bound_that_reaches_target_certifies(home: Workspace, seeds: Seeds):
    seeds.errors = lambda index: 50 + index % 3

    verdict = certify(home)

    assert verdict.passed
    assert (verdict.row.tier, verdict.row.reached) == (Standing.CERTIFIED, True)
    attempt = only_attempt(home)
    assert attempt.outcome is AttemptResult.CERTIFIED
    # Twenty seeds have 19 errors above the least number, 50. Garwood's bound is lower than Student's bound here.
    garwood_errors = 50 + chi2.ppf(0.9975, 2 * (19 + 1)) / 2 / 20
    assert attempt.lower_bound_pct == pytest.approx(100 - garwood_errors / 100, abs=1e-9)
    assert {run.attempt for run in verdict.record.seeds} == {1}


def test_failed_certification_fails_although_row_is_verified(home: Workspace, seeds: Seeds):
    # The last seed lowers the bound of the certification below the target, not the bound at 98 % (t(0.98, 19) = 2.205).
    seeds.errors = lambda index: 105 if index == 19 else 50

    verdict = certify(home)

    assert (verdict.row.tier, verdict.row.reached) == (Standing.VERIFIED, True)
    assert not verdict.passed
    assert only_attempt(home).outcome is AttemptResult.FAILED
    assert [attempt.key for attempt in ledger.read(home.ledger).attempts].count(verdict.record.key) == 1


def test_due_indices_include_all_declared_seeds(home: Workspace, seeds: Seeds):
    run_plan(home, make_plan(range(6)))
    key = record.read_all(home.records)[0].key
    # A verification of eight seeds was stopped after six.
    ledger.declare_seeds(home.ledger, key, [6, 7])

    assert verification_runs.due_indices(make_plan(), read_evidence(home), 5) == (0, 1, 2, 3, 4, 6, 7)
    # Results of these seeds are known for a further target, but not for a further data set.
    assert verification_runs.due_indices(make_plan(target_pct=99.0), read_evidence(home), 5) == (8, 9, 10, 11, 12)
    assert verification_runs.due_indices(make_plan(data=DATASETS["kmnist"]), read_evidence(home), 5) == (0, 1, 2, 3, 4)


def test_row_is_measured_while_certification_seeds_are_missing(home: Workspace, seeds: Seeds):
    verdict = run_plan(home, make_plan(range(6)))
    assert verdict.row.tier is Standing.VERIFIED

    declare_attempt(make_plan(), home, 20)

    row = leaderboard_table.LeaderboardRow.of(verdict.record, ledger.read(home.ledger))
    assert (row.tier, row.reached) == (Standing.MEASURED, False)


def test_certification_uses_seeds_unused_by_all_rows_of_network_and_recipe(home: Workspace, seeds: Seeds):
    run_plan(home, make_plan([0, 6], target_pct=99.0))
    run_plan(home, make_plan([8], data=DATASETS["kmnist"], target_pct=95.0))
    other_network = parse_network("conv3x3(5) gap linear(10)")
    run_plan(home, make_plan([30], architecture=other_network))
    run_plan(home, make_plan([40], named_recipe=NamedRecipe("short", Recipe(epochs=3))))
    seeds.jobs.clear()

    certify(home)

    assert seeds.indices == list(range(9, 29))


@pytest.mark.parametrize(("last", "outcome"), [(96, AttemptResult.CERTIFIED), (97, AttemptResult.FAILED)])
def test_second_attempt_needs_stricter_bound(last: int, outcome: AttemptResult, home: Workspace, seeds: Seeds):
    seeds.errors = lambda index: 5_000
    certify(home, named_recipe=NamedRecipe("short", Recipe(epochs=3)))
    seeds.errors = lambda index: last if index == 19 else 50

    verdict = certify(home)

    # With d = last - 50 the mean is 50 + d / 20 errors and the standard error d / 20. A first attempt would pass with
    # both values of ``last``.
    assert verdict.attempt is not None
    assert (verdict.attempt.number, verdict.attempt.outcome) == (2, outcome)
    bound_pct = 100 - (50 + (last - 50) * (1 + t.ppf(1 - 0.008 / 4, 19)) / 20) / 100
    assert 47 * (1 + t.ppf(1 - 0.01 / 4, 19)) < 200
    assert verdict.attempt.lower_bound_pct == pytest.approx(bound_pct, abs=1e-5)
    assert verdict.row.confidence == (0.998 if outcome is AttemptResult.CERTIFIED else 0.984)


@pytest.mark.parametrize(("errors", "seeds_run"), [(1200, 2), (601, 2), (600, 3), (75.5, 5)])
def test_certification_stops_once_futile(errors: float, seeds_run: int, home: Workspace, seeds: Seeds):
    # Twenty seeds may have 1,200 errors in total; a first seed with 1,200 errors leaves none for later seeds.
    seeds.errors = lambda index: int(errors) + (index % 2 if errors % 1 else 0)

    verdict = certify(home)

    assert len(seeds.jobs) == seeds_run
    assert len(verdict.record.seeds) == seeds_run
    assert not verdict.passed
    assert only_attempt(home).outcome is AttemptResult.FUTILE
    lines = home.ledger.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["outcome"] for line in lines] == ["open", "futile"]


def test_certificate_declares_unused_seeds_once(home: Workspace, seeds: Seeds):
    run_plan(home, make_plan(range(3), data=DATASETS["kmnist"]))

    declaration = verification_runs.declare_certificate(make_plan(), home, 20)
    assert (declaration.indices, declaration.alpha) == (tuple(range(3, 23)), 0.01)
    assert verification_runs.declare_certificate(make_plan(), home, 30) == declaration
    # Certificates on the same images share the probability of error.
    other_plan = make_plan(architecture=parse_network("conv3x3(5) gap linear(10)"))
    assert verification_runs.declare_certificate(other_plan, home, 20).alpha == 0.008


def test_open_attempt_continues_as_declared(home: Workspace, seeds: Seeds):
    run_plan(home, make_plan(range(3)))
    seeds.jobs.clear()

    def interrupt(job: Job) -> None:
        if job.seed_index == 7:
            raise KeyboardInterrupt

    seeds.watch = interrupt
    with pytest.raises(KeyboardInterrupt):
        certify(home, 20)
    assert only_attempt(home).outcome is AttemptResult.OPEN
    seeds.jobs.clear()
    seeds.watch = lambda job: None

    verdict = certify(home, 30)

    assert seeds.indices == list(range(7, 23))
    assert [run.index for run in verdict.runs] == list(range(3, 23))
    assert verdict.passed
    assert (only_attempt(home).number, only_attempt(home).seeds) == (1, 20)


def test_seeds_in_flight_do_not_revive_futile_attempt(home: Workspace, seeds: Seeds):
    seeds.in_flight = 12
    # The first five seeds make the attempt futile; with the eleven seeds in flight the bound would exceed 99.4 %.
    seeds.errors = lambda index: [61, 62, 61, 62, 62][index] if index < 5 else 52 + index % 4

    verdict = certify(home)

    assert len(verdict.record.seeds) == 16
    assert (verdict.passed, only_attempt(home).outcome) == (False, AttemptResult.FUTILE)
    assert verdict.row.tier is Standing.VERIFIED
    lines = home.ledger.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["outcome"] for line in lines] == ["open", "futile"]
