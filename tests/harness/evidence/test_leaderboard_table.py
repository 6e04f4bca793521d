"""Leaderboard: tiers, figures and order of rows, sources of rows, and the CSV table."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.cli import run
from harness.evidence import leaderboard_table, ledger, record
from harness.evidence.leaderboard_table import (
    _SCHEMA_VERSION,
    Evidence,
    LeaderboardRow,
    read,
    read_claims,
    to_csv,
)
from harness.evidence.ledger import AttemptResult
from harness.evidence.record import Record
from harness.publication.consistency import faults
from harness.publication.evidence import publish
from harness.spaces.network import Architecture
from harness.spaces.notation import parse_network
from harness.studies import config as study
from harness.studies.standing import Standing
from harness.system import files
from harness.system.errors import ContentError, UsageError
from harness.system.files import Workspace
from harness.training.result import Purpose, Result, Status
from tests.factories import CONFIG, make_claim, make_record, make_result, network_of_width
from tests.study_logs import write_runs
from tests.verifications import git

CLAIM: dict[str, Any] = {
    "name": "n",
    "architecture": "conv3x3(8) | gap | linear(10)",
    "test_accuracy_pct": 99.46,
    "metric": "best epoch on the test set",
    "runs": 1,
    "epochs": 19,
    "recipe": "its own",
    "source": "someone",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leaderboard.csv"


# Tiers, figures and order ----------------------------------------------------------------------------


def test_row_counts_attempts_at_target_and_states_confidence(home: Workspace):
    draft = make_record([52, 58] * 15)
    evidence = replace(draft, seeds=tuple(replace(run, beacon="c" * 40) for run in draft.seeds))
    ledger.declare_attempt(home.ledger, evidence.key._replace(hash="0" * 12), 0, 30)
    attempt = ledger.declare_attempt(home.ledger, evidence.key, 0, 30)
    ledger.declare_attempt(home.ledger, evidence.key._replace(target_pct=99.5), 30, 30)
    ledger.declare_attempt(home.ledger, evidence.key._replace(dataset="kmnist"), 60, 30)

    before = leaderboard_table.LeaderboardRow.of(evidence, ledger.read(home.ledger))
    ledger.close(home.ledger, attempt, outcome=AttemptResult.CERTIFIED, lower_bound_pct=attempt.result(evidence)[1])
    after = leaderboard_table.LeaderboardRow.of(evidence, ledger.read(home.ledger))

    # The attempt spends 0.8 % and is decided at 1 - 0.8 % / 4. Quantiles of Student's distribution by SciPy.
    bound_pct = 99.45 - stats.t.ppf(0.998, 29) * 0.03 * math.sqrt(30 / 29) / math.sqrt(30)
    assert (before.attempts, before.confidence) == (2, 0.984)
    assert (after.attempts, after.confidence, after.tier) == (2, 0.998, Standing.CERTIFIED)
    assert after.lower_bound_pct == pytest.approx(bound_pct)


@pytest.mark.parametrize(
    ("errors", "declared", "tier"),
    [
        # The mean of the first six is 61 errors, of all twelve 56.
        ([61] * 6 + [51] * 6, [range(6), range(6, 12)], Standing.MEASURED),
        ([61] * 6 + [51] * 6, [range(12)], Standing.VERIFIED),
        ([60, 62, 58, 60, 62, 58] + [40] * 6, [range(6), range(6, 12)], Standing.AT_TARGET),
        ([50] * 6 + [75] * 6, [range(6), range(6, 12)], Standing.MEASURED),
        # The first five seeds decide if the first declaration has fewer.
        ([61] * 4 + [51] * 8, [range(4), range(4, 12)], Standing.AT_TARGET),
        ([20] * 4 + [61] * 8, [range(4), range(4, 12)], Standing.AT_TARGET),
    ],
)
def test_tier_follows_from_first_declaration_and_all_seeds(
    errors: list[int], declared: list[range], tier: Standing, home: Workspace
):
    evidence = make_record(errors)
    for indices in declared:
        ledger.declare_seeds(home.ledger, evidence.key, indices)

    assert leaderboard_table.LeaderboardRow.of(evidence, ledger.read(home.ledger)).tier is tier


def test_row_figures_follow_from_seeds():
    evidence = make_record([50, 60, 70])
    diverged = replace(evidence.seeds[2], status=Status.DIVERGED, best_test_errors=65)
    evidence = replace(evidence, seeds=(*evidence.seeds[:2], diverged))

    row = leaderboard_table.LeaderboardRow.of(evidence)

    assert row.mean_test_accuracy_pct == pytest.approx(99.4)
    assert row.std_test_accuracy_pct == pytest.approx(0.1)
    assert row.min_test_accuracy_pct == 99.3
    assert (row.seeds_at_target, row.seeds) == (2, 3)
    # t of 0.98 with 2 degrees of freedom, by scipy.stats.
    assert row.lower_bound_pct == pytest.approx(99.4 - 4.84873 * 0.1 / 3**0.5, abs=1e-4)
    assert (row.test_errors_mean, row.diverged, row.best_epoch_test_accuracy_pct) == (60, 1, 99.35)
    assert row.train_seconds == 50
    assert row.commit == "000000000000"
    assert row.date_utc == "2026-11-20T08:02:00+00:00"


def row(**changes: Any) -> LeaderboardRow:
    values = {
        "tier": Standing.MEASURED,
        "target_pct": 99.4,
        "reached": False,
        "parameters": 900,
        "macs": 1,
        "receptive_field": 20,
        "dataset": "mnist",
        "recipe": "fast",
        "architecture": "gap | linear(10)",
        "hash": "aaaaaaaaaaaa",
        "protocol_version": 1,
    }
    return LeaderboardRow(**{**values, **changes})


def test_rows_are_ranked_by_reached_tier_size_accuracy_hash():
    expected = [
        row(reached=True, tier=Standing.CERTIFIED, parameters=9_000),
        row(reached=True, tier=Standing.VERIFIED, parameters=100, mean_test_accuracy_pct=99.4),
        row(reached=True, tier=Standing.VERIFIED, parameters=200, mean_test_accuracy_pct=99.6),
        row(reached=True, tier=Standing.VERIFIED, parameters=200, mean_test_accuracy_pct=99.5),
        row(reached=True, tier=Standing.AT_TARGET, parameters=50, mean_test_accuracy_pct=99.9),
        row(tier=Standing.MEASURED, parameters=50, mean_test_accuracy_pct=99.0),
        row(tier=Standing.MEASURED, parameters=50, mean_test_accuracy_pct=98.0, hash="aaaaaaaaaaaa"),
        row(tier=Standing.MEASURED, parameters=50, mean_test_accuracy_pct=98.0, hash="bbbbbbbbbbbb"),
        row(tier=Standing.MEASURED, parameters=50, mean_test_accuracy_pct=98.0, hash="bbbbbbbbbbbb", recipe_hash="1"),
        row(tier=Standing.SEARCHED, parameters=10, validation_accuracy_pct=99.9),
        row(tier=Standing.SEARCHED, parameters=10, validation_accuracy_pct=99.8),
        row(tier=Standing.SEARCHED, parameters=90, validation_accuracy_pct=99.4),
        row(tier=Standing.SEARCHED, parameters=80, validation_accuracy_pct=99.39),
        row(tier=Standing.SEARCHED, parameters=70, validation_accuracy_pct=99.0),
        row(tier=Standing.SEARCHED, parameters=10),
        row(tier=Standing.CLAIMED, parameters=1, mean_test_accuracy_pct=100.0),
    ]
    for seed in range(20):
        shuffled = random.Random(seed).sample(expected, len(expected))

        ranked = leaderboard_table.ranked(shuffled)

        assert [replace(item, rank=0) for item in ranked] == expected
        assert [item.rank for item in ranked] == list(range(1, len(expected) + 1))


def test_pareto_front_equals_comparison_of_all_pairs():
    draw = random.Random(1)
    rows = [
        row(parameters=draw.randint(1, 20), validation_accuracy_pct=float(draw.randint(1, 20)), hash=f"{number:012x}")
        for number in range(60)
    ]

    front = leaderboard_table.pareto_front(
        rows, lambda row: (row.parameters, -(row.validation_accuracy_pct or 0.0), row.hash)
    )

    def is_dominated(item: LeaderboardRow) -> bool:
        key = (item.validation_accuracy_pct or 0.0, -item.parameters, item.hash)
        return any(
            other.parameters <= item.parameters
            and (other.validation_accuracy_pct or 0.0) >= key[0]
            and (other.validation_accuracy_pct, -other.parameters) != key[:2]
            for other in rows
        )

    assert {(item.parameters, item.validation_accuracy_pct) for item in front} == {
        (item.parameters, item.validation_accuracy_pct) for item in rows if not is_dominated(item)
    }
    assert all(a.parameters < b.parameters for a, b in itertools.pairwise(front))


def test_validation_runs_are_fresh_seeds_if_present():
    chosen = make_result(errors=30)
    fresh = [make_result(errors=60 + index, purpose=Purpose.CONFIRM, seed_index=index) for index in range(3)]
    stopped = make_result(errors=500, purpose=Purpose.CONFIRM, seed_index=3, status=Status.PRUNED)
    diverged = make_result(errors=9_000, purpose=Purpose.CONFIRM, seed_index=4, status=Status.DIVERGED)

    assert leaderboard_table.validation_runs([chosen]) == [chosen]
    assert leaderboard_table.validation_runs([chosen, *fresh]) == fresh
    assert leaderboard_table.validation_runs([chosen, *fresh, stopped, diverged]) == [*fresh, diverged]
    assert leaderboard_table.validation_runs([stopped, diverged]) == []
    assert leaderboard_table.validation_runs([]) == []


# Sources ---------------------------------------------------------------------------------------------


def add_study(home: Workspace, name: str, results: list[Result]) -> Path:
    folder = home.study(name)
    study.open_study(folder, CONFIG, {})
    write_runs(folder, *(replace(item, study=name, trial=number) for number, item in enumerate(results)))
    return folder


def test_claim_never_counts_as_reached_and_has_own_row(home: Workspace):
    evidence = make_record([50] * 5)
    record.write(home.records, evidence)
    claim = make_claim(str(evidence.architecture), 99.99)
    (home.records / "claims.json").write_text(json.dumps([claim]), encoding="utf-8")

    first, second = leaderboard_table.collect(home)

    assert (first.tier, first.reached) == (Standing.VERIFIED, True)
    assert (second.tier, second.reached, second.note) == (Standing.CLAIMED, False, "best epoch; someone")
    assert second.mean_test_accuracy_pct == 99.99


def test_study_adds_only_pareto_front(home: Workspace):
    add_study(
        home,
        "s",
        [
            make_result(network_of_width(4), 90),
            make_result(network_of_width(5), 95),
            make_result(network_of_width(6), 70),
            make_result(network_of_width(7), 70),
            make_result(network_of_width(3), 10, status=Status.PRUNED),
            make_result(network_of_width(2), None, status=Status.CRASHED),
        ],
    )

    rows = leaderboard_table.collect(home)

    assert [(str(item.architecture), item.validation_accuracy_pct) for item in rows] == [
        (network_of_width(6), 99.3),
        (network_of_width(4), 99.1),
    ]
    assert {item.tier for item in rows} == {Standing.SEARCHED}
    assert {item.study for item in rows} == {"s"}


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in place of the shipped evidence, with a record and the row of a searched network."""
    folder = tmp_path / "clone"
    monkeypatch.setattr(files, "SHIPPED", folder)
    record.write(folder / "records", make_record([60], network_of_width(6)))
    searched = leaderboard_table._searched_row([make_result(network_of_width(4), 90)], 99.4)
    files.write_text(folder / "leaderboard.csv", leaderboard_table.to_csv([searched]))
    rows = leaderboard_table.collect(Workspace(folder))
    files.write_text(folder / "leaderboard.csv", leaderboard_table.to_csv(rows))
    git(Workspace(folder), "init", "--quiet")
    return commit(folder)


def commit(folder: Path) -> Path:
    git(Workspace(folder), "add", "--all")
    git(Workspace(folder), "commit", "--quiet", "--message", "evidence")
    return folder


def test_shipped_evidence_is_ranked_in_workspace_and_stays_unchanged(clone: Path, home: Workspace):
    before = {path: path.read_bytes() for path in clone.rglob("*") if path.is_file()}
    add_study(home, "s", [make_result(network_of_width(5), 80)])
    record.write(home.records, make_record([70], network_of_width(6), first=1))

    rows = leaderboard_table.refresh(home)

    # The seed of the workspace joins the shipped seed.
    assert {(str(row.architecture), row.tier, row.test_errors_mean) for row in rows} == {
        (network_of_width(6), Standing.MEASURED, 65),
        (network_of_width(5), Standing.SEARCHED, None),
        (network_of_width(4), Standing.SEARCHED, None),
    }
    assert leaderboard_table.read(home.leaderboard) == rows
    assert {path: path.read_bytes() for path in clone.rglob("*") if path.is_file()} == before
    assert faults(home) == []


def test_row_is_published_with_evidence_and_all_attempts(clone: Path, home: Workspace, monkeypatch: pytest.MonkeyPatch):
    verified, unpublished = make_record([50] * 5), make_record([55], network_of_width(9))
    failed = make_record([90] * 20, network_of_width(7), beacon="1" * 40)
    for evidence in (verified, unpublished, failed):
        record.write(home.records, evidence)
        files.append_line(
            home.test_log, json.dumps({"dataset": "mnist", "purpose": f"verify {evidence.hash} fast seed 0"})
        )
        files.write_bytes(evidence.weights_path(home.records, 0), evidence.hash.encode())
    ledger.declare_seeds(home.ledger, verified.key, range(5))
    ledger.declare_seeds(home.ledger, unpublished.key, range(1))
    attempt = ledger.declare_attempt(home.ledger, failed.key, 0, 20)
    ledger.close(home.ledger, attempt, outcome=AttemptResult.FAILED, lower_bound_pct=attempt.result(failed)[1])

    publish(home, verified.hash)
    publish(home, verified.hash)

    published = Workspace(clone)
    assert {evidence.hash for evidence in record.read_all(published.records)} == {
        make_record([60], network_of_width(6)).hash, verified.hash, failed.hash
    }  # fmt: skip
    entries = ledger.read(published.ledger)
    assert [[line.hash for line in each] for each in (entries.attempts, entries.declarations)] == [
        [failed.hash],
        [verified.hash],
    ]
    for name, hashes in (
        ("test_reads.jsonl", [verified.hash, failed.hash]),
        ("ledger.jsonl", [verified.hash, *[failed.hash] * 2]),
    ):
        lines = (clone / "records" / name).read_text(encoding="utf-8").splitlines()
        assert [next(each for each in {*hashes} if each in line) for line in lines] == hashes
    assert sorted(path.read_text() for path in clone.rglob("*.safetensors")) == sorted([verified.hash, failed.hash])
    assert leaderboard_table.read(clone / "leaderboard.csv") == leaderboard_table.collect(published)
    assert len(leaderboard_table.read(clone / "leaderboard.csv")) == 4

    monkeypatch.setattr(files, "SHIPPED", home.root / "installed")
    with pytest.raises(UsageError):
        publish(home, verified.hash)


def test_declared_attempt_is_published_by_hash(clone: Path, workspace: Path):
    evidence = make_record([50] * 20, network_of_width(8))
    ledger.declare_attempt(Workspace(workspace).ledger, evidence.key, 0, 20)

    assert run(["leaderboard", "--publish", evidence.hash[:8]]) == 0
    assert run(["leaderboard", "--publish", "0" * 8]) == 4

    [attempt] = ledger.read(Workspace(clone).ledger).attempts
    assert attempt.hash == evidence.hash


def test_concurrent_refreshes_leave_complete_table(home: Workspace):
    for width in range(3, 9):
        record.write(home.records, make_record([50], network_of_width(width)))
    leaderboard_table.refresh(home)

    def refresh(number: int) -> int:
        record.write(home.records, make_record([60 + number], network_of_width(10 + number)))
        return len(leaderboard_table.refresh(home)) if number % 2 else len(leaderboard_table.read(home.leaderboard))

    with ThreadPoolExecutor(4) as pool:
        lengths = list(pool.map(refresh, range(8)))

    assert min(lengths) >= 6
    assert len(leaderboard_table.refresh(home)) == 14
    assert [path.name for path in home.runs.glob("*.csv*")] == ["leaderboard.csv"]


def test_torn_ledger_line_removes_only_certification(home: Workspace):
    first, second = make_record([40] * 30, beacon="1" * 40), make_record([60], network_of_width(6))
    record.write(home.records, first)
    record.write(home.records, second)
    ledger.close(
        home.ledger,
        ledger.declare_attempt(home.ledger, first.key, 0, 30),
        outcome=ledger.AttemptResult.CERTIFIED,
        # All 30 seeds have 40 errors; the Poisson bound allows -ln(0.0025) / 30 further errors per seed.
        lower_bound_pct=100 - (40 - math.log(0.0025) / 30) / 100,
    )
    assert leaderboard_table.survey(home).rows[0].tier is Standing.CERTIFIED
    home.ledger.write_bytes(home.ledger.read_bytes()[:-50])

    survey = leaderboard_table.survey(home)

    assert [(row.hash, row.tier) for row in survey.rows] == [
        (first.hash, Standing.VERIFIED),
        (second.hash, Standing.MEASURED),
    ]
    [damage] = survey.damage
    assert f"{home.ledger}, line 2: " in damage.message
    assert leaderboard_table.refresh(home) == list(survey.rows)


@pytest.mark.parametrize(
    ("field", "value"),
    [("parameters", 46), ("macs", 46), ("hash", "0" * 12), ("receptive_field", 1), ("reached", True),
     ("mean_test_accuracy_pct", 99.9), ("stored_numbers", 3)],
)  # fmt: skip
def test_figures_of_searched_network_are_recomputed(field: str, value: object, clone: Path, home: Workspace):
    path = clone / "leaderboard.csv"
    rows = leaderboard_table.read(path)
    assert rows[1].tier is Standing.SEARCHED
    files.write_text(path, leaderboard_table.to_csv([rows[0], replace(rows[1], **{field: value})]))  # type: ignore[arg-type]

    assert [getattr(row, field) for row in leaderboard_table.collect(home)] == [getattr(row, field) for row in rows]
    assert any(fault.startswith(f"{path}: ") for fault in faults(home))


@pytest.mark.parametrize("attempt_in_ledger", ["", "another target"])
def test_seeds_of_missing_attempt_are_not_ranked(attempt_in_ledger: str, home: Workspace):
    evidence = make_record([50, 55])
    record.write(home.records, replace(evidence, seeds=tuple(replace(run, attempt=1) for run in evidence.seeds)))
    if attempt_in_ledger:
        ledger.declare_attempt(home.ledger, replace(evidence, target_pct=99.0).key, 0, 20)

    survey = leaderboard_table.survey(home)

    assert [*survey.rows, *survey.records] == []
    assert "attempt 1: lacking" in survey.damage[0].message
    assert leaderboard_table.collect(home) == []

    home.ledger.unlink(missing_ok=True)
    ledger.declare_attempt(home.ledger, evidence.key, 0, 20)
    assert len(leaderboard_table.survey(home).rows) == 1


# The certification goes on while the records are read, from the start or from a record with half of the seeds.
@pytest.mark.parametrize(("steps", "is_before_records"), [(0, True), (2, False)])
def test_certification_during_survey_is_no_damage(
    steps: int, is_before_records: bool, home: Workspace, monkeypatch: pytest.MonkeyPatch
):
    draft = make_record([50] * 20, beacon="c" * 40)
    runs = [replace(run, started_utc="2026-11-25T08:00:00+00:00", attempt=1) for run in draft.seeds]

    def certify() -> Iterator[None]:
        attempt = ledger.declare_attempt(home.ledger, draft.key, 0, 20)
        for count in (10, 20):
            yield
            evidence = replace(draft, seeds=tuple(runs[:count]))
            record.write(home.records, evidence)
        outcome, bound = attempt.result(evidence)
        ledger.close(home.ledger, attempt, outcome=outcome, lower_bound_pct=bound)

    certification = certify()

    def read_all(*arguments: Any) -> list[Record]:
        list(itertools.islice(certification, 9 if is_before_records else 0))
        records = record.read_all(*arguments)
        list(certification)
        return records

    list(itertools.islice(certification, steps))
    monkeypatch.setattr(leaderboard_table, "read_all", read_all)

    survey = leaderboard_table.survey(home)

    assert (survey.damage, [row.tier for row in survey.rows]) == ((), [Standing.CERTIFIED])


def test_row_without_declaration_is_measured_and_reported_once(workspace: Path, capsys: pytest.CaptureFixture[str]):
    home = Workspace(workspace)
    draft = make_record([50] * 6)
    runs = [replace(run, started_utc=f"2026-11-25T08:00:0{run.index}+00:00") for run in draft.seeds]
    evidence = replace(draft, seeds=tuple(runs))
    record.write(home.records, evidence)
    ledger.declare_seeds(home.ledger, evidence.key, range(6))
    [declared_row] = leaderboard_table.collect(home)
    home.ledger.unlink()

    [row] = leaderboard_table.collect(home)
    leaderboard_table.refresh(home)

    assert (declared_row.tier, declared_row.reached) == (Standing.VERIFIED, True)
    assert (row.tier, row.reached, row.seeds) == (Standing.MEASURED, False, 6)
    [warning] = capsys.readouterr().err.splitlines()
    assert str(home.ledger) in warning
    assert evidence.hash in warning
    # Seeds that are older than declarations need no declaration.
    record.write(home.records, make_record([50] * 6, network_of_width(5)))
    assert [each.tier for each in leaderboard_table.survey(home).rows] == [Standing.VERIFIED, Standing.MEASURED]


def test_certified_row_with_undeclared_seed_is_measured(workspace: Path):
    home = Workspace(workspace)
    draft = make_record([50] * 20, beacon="a" * 40)
    attempt = ledger.declare_attempt(home.ledger, draft.key, 0, 20)
    runs = [replace(run, attempt=attempt.number) for run in draft.seeds]
    undeclared_run = replace(make_record([50], first=20).seeds[0], started_utc="2026-11-25T08:00:00+00:00")
    outcome, bound = attempt.result(replace(draft, seeds=tuple(runs)))
    ledger.close(home.ledger, attempt, outcome=outcome, lower_bound_pct=bound)
    tiers = []
    for seeds in (runs, [*runs, undeclared_run]):
        record.write(home.records, replace(draft, seeds=tuple(seeds)))
        survey = leaderboard_table.survey(home)
        tiers.append(
            (
                survey.rows[0].tier,
                survey.rows[0].reached,
                len(leaderboard_table._undeclared_seeds(survey.records[0], survey.entries)),
            )
        )

    assert tiers == [(Standing.CERTIFIED, True, 0), (Standing.MEASURED, False, 1)]


def test_tested_before_finds_weights_tested_on_earlier_test_part():
    def make(dataset: str, minute: int, *weights: str | None) -> Record:
        draft = make_record([50] * len(weights), dataset=dataset)
        pairs = zip(draft.seeds, weights, strict=True)
        start = f"2026-11-20T08:{minute:02d}:00+00:00"
        return replace(draft, seeds=tuple(replace(run, weights_sha256=sha, started_utc=start) for run, sha in pairs))

    original = make("mnist", 0, "a", "b")
    edited = make("kmnist", 9, "c", "b")
    unrelated = make("fashion-mnist", 9, "d", None)
    records = [original, edited, unrelated, make("mnist-5k", 9, None, "e")]

    evidence = Evidence(Workspace(Path()), tuple(records), ledger.Ledger())

    assert evidence.tested_before(edited) == ["mnist"]
    assert [evidence.tested_before(each) for each in (original, unrelated)] == [[], []]


# The table -------------------------------------------------------------------------------------------


OLD_COLUMNS = (
    "rank,name,tier,target_pct,reached,parameters,macs,receptive_field,mean_test_accuracy_pct,std_test_accuracy_pct,"
    "min_test_accuracy_pct,lower_bound_pct,test_errors_mean,best_epoch_test_accuracy_pct,seeds,seeds_at_target,diverged,"
    "attempts,holds_corrected,validation_accuracy_pct,validation_seeds,epochs,train_seconds,teacher_seconds,"
    "search_seconds,dataset,recipe,recipe_hash,device,architecture,hash,study,commit,date_utc,note,protocol_version,"
    "schema_version"
)
OTHER_COLUMNS = (("holds_corrected", "holds_otherwise"), ("parameters,", "macs,"), (",seeds,", ",seeds,seeds,"))
ROW = LeaderboardRow(
    rank=1, tier=Standing.VERIFIED, target_pct=99.4, reached=True, parameters=12_088, macs=400_000, receptive_field=20,
    mean_test_accuracy_pct=99.41000000000001, dataset="mnist", recipe="fast",
    architecture=parse_network("conv3x3(8) | gap | linear(10)"), hash="0123456789ab", protocol_version=1,
)  # fmt: skip


TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.sampled_from("=+-@\t\r\n'\",;a"), max_size=6),
    st.sampled_from(
        ["=1+1", "+1", "-1", "@SUM(A1)", "'=1", "''", "'", "\r", "a\rb", "\n", 'say "hi", you', " ", "\x00"]
    ),
)


NUMBER = st.floats(allow_nan=False, allow_infinity=False)


VALUES = {
    "str": TEXT,
    "int": st.integers(-(10**12), 10**12),
    "float": NUMBER,
    "bool": st.booleans(),
    "Standing": st.sampled_from(Standing),
    "WrittenNetwork": st.from_type(Architecture),
    "float | None": st.none() | NUMBER,
    "int | None": st.none() | st.integers(0, 10**6),
}


ROWS = st.builds(LeaderboardRow, **{item.name: VALUES[str(item.type)] for item in fields(LeaderboardRow)})


@given(rows=st.lists(ROWS, max_size=4))
def test_read_returns_written_rows(rows: list[LeaderboardRow], tmp_path_factory: Any):
    path = tmp_path_factory.getbasetemp() / "round-trip.csv"
    path.write_bytes(to_csv(rows).encode("utf-8"))

    assert read(path) == [replace(row, schema_version=_SCHEMA_VERSION) for row in rows]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"rank,name\n",
        *(OLD_COLUMNS.replace(old, new, 1).encode() for old, new in OTHER_COLUMNS),
        b"\xff\xfe",
        to_csv([]).replace("rank", "place", 1).encode(),
        b'"unended',
    ],
)
def test_file_that_is_not_a_leaderboard_is_refused(path: Path, content: bytes):
    path.write_bytes(content)

    with pytest.raises(ContentError):
        read(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (",99.4,", ",nan,"),
        (",true,", ",perhaps,"),
        (",verified,", ",splendid,"),
        (",12088,", ",many,"),
        ("conv3x3(8)", "conv3x4(8)"),
        ("mnist,fast", "mnist"),
    ],
)
def test_invalid_value_is_refused_with_line_number(path: Path, old: str, new: str):
    path.write_text(to_csv([ROW]).replace(old, new), encoding="utf-8")

    with pytest.raises(ContentError) as caught:
        read(path)
    assert f"{path}, line 2: " in caught.value.message


@pytest.mark.parametrize(
    "claims",
    [
        3,
        [3],
        {"name": 1},
        [{"name": "n"}],
        [{**CLAIM, "extra": 1}],
        [CLAIM, {**CLAIM, "architecture": "conv3x4(8)"}],
        [{**CLAIM, "architecture": "conv3x3(8) | gap | linear(3)"}],
        *([{**CLAIM, "test_accuracy_pct": value}] for value in ("99.4", None, True)),
    ],
)
def test_invalid_claims_are_refused(claims: Any, tmp_path: Path):
    path = tmp_path / "claims.json"
    assert read_claims(path) == []
    path.write_text(json.dumps(claims), encoding="utf-8")

    with pytest.raises(ContentError) as caught:
        read_claims(path)
    assert str(path) in caught.value.message


def test_measured_claim_has_measured_row_that_is_not_reached(tmp_path: Path):
    errors = [40, 41, 39, 40, 50]
    measurement = {"test_errors": errors, "best_test_errors": [30, 31, 32, 33, 34], "test_size": 10_000}
    path = tmp_path / "claims.json"
    path.write_text(json.dumps([{**CLAIM, "measured": measurement}]), encoding="utf-8")

    claim, row = read_claims(path)

    accuracies = 100 - np.array(errors) / 100
    assert (claim.tier, claim.mean_test_accuracy_pct) == (Standing.CLAIMED, CLAIM["test_accuracy_pct"])
    assert (row.tier, row.reached, row.seeds, row.lower_bound_pct) == (Standing.MEASURED, False, 5, None)
    assert row.mean_test_accuracy_pct == pytest.approx(accuracies.mean())
    assert row.std_test_accuracy_pct == pytest.approx(accuracies.std(ddof=1))
    assert row.best_epoch_test_accuracy_pct == pytest.approx(99.68)
    assert row.hash == claim.hash
    assert row.key != claim.key


def test_committed_claims_equal_source_documents(seed_documents: dict[str, Any]):
    expected = {
        network["name"]: network["claim"]["test_acc"] for network in seed_documents["networks"] if network["claim"]
    }
    claims = read_claims(Path(__file__).parents[3] / "records" / "claims.json")

    assert {item.name: item.mean_test_accuracy_pct for item in claims if item.name.startswith("seed")} == expected
