"""The end of a search: its winner is verified once, where there is one and the time for it."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.evidence import record
from harness.evidence.bounds import ErrorRatio
from harness.evidence.leaderboard_table import row_of_record
from harness.evidence.record import Record
from harness.evidence.verification_runs import Verdict
from harness.interface.results import Study
from harness.searching import conclude as conclude_module
from harness.searching import loop
from harness.searching.advice import SearchOutcome, outcome_of
from harness.searching.conclude import conclude
from harness.searching.search_state import Search
from harness.studies.candidate import NearestMiss, confirmed_front
from harness.studies.config import StudyObjective
from harness.studies.events import Advised, Entry, Postponed, RunEnded, Verified
from harness.studies.study_state import StudyState
from harness.training.executors.base import Limits
from harness.training.result import Purpose, Status
from harness.training.run import Job
from reports import charts
from reports.study_facts import read_study
from search_spaces.network import analyse
from search_spaces.notation import parse_space
from search_spaces.space import Metric, enumerate_draws
from tests import searches
from tests.factories import make_record, make_result
from tests.fakes import Seeds, Trainer, without_processes, without_training
from tests.searches import LARGER, WINNER, Trial, finished, misses
from tests.study_logs import make_entry


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """All runs of the search reach 99.5 % on validation."""
    made = without_processes(monkeypatch)
    made.accuracy_pct = lambda parameters, seed: 99.5
    return made


@pytest.fixture
def seeds(monkeypatch: pytest.MonkeyPatch) -> Seeds:
    return without_training(monkeypatch)


def test_without_a_winner_nothing_is_verified(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    trainer.accuracy_pct = lambda parameters, seed: 98.0
    plan, search = finished(tmp_path)

    assert conclude(plan, search) is None

    assert seeds.asked == []
    assert not plan.workspace.test_log.exists()
    assert record.read_all(plan.workspace.records) == []
    assert searches.events(plan.folder, "postponed", "verified") == []
    assert plan.workspace.leaderboard.exists()


@pytest.mark.parametrize(("workers", "count"), [(1, 5), (2, 6), (4, 8)])
def test_the_winner_is_verified_on_seeds_that_keep_all_workers_busy(
    workers: int, count: int, trainer: Trainer, seeds: Seeds, tmp_path: Path
):
    plan, search = finished(tmp_path, workers=workers)

    verdict = conclude(plan, search)

    assert verdict is not None
    assert verdict.passed
    assert seeds.indices == list(range(count))
    assert {job.architecture for job in seeds.asked} == {WINNER}
    [event] = searches.events(plan.folder, "verified")
    assert (event["hash"], event["tier"], event["seeds"], event["passed"]) == (WINNER.hash, "verified", count, True)
    assert event["mean_test_accuracy_pct"] == pytest.approx(99.45)
    assert WINNER.hash in plan.workspace.leaderboard.read_text(encoding="utf-8")


def test_the_record_says_how_the_network_was_found_with_its_length_and_is_made_once(
    trainer: Trainer, seeds: Seeds, tmp_path: Path
):
    plan, search = finished(tmp_path, lengths=(20,))

    first, again = conclude(plan, search), conclude(plan, search)

    longer = replace(searches.RECIPE, epochs=20)
    assert [job.recipe for job in seeds.asked] == [longer] * 5
    [there] = record.read_all(plan.workspace.records)
    assert (there.recipe, there.recipe_name, there.recipe_hash) == (longer, "short-20ep", longer.hash)
    assert there.found is not None
    assert (there.found.study, there.found.space, there.found.sampler) == ("a-study", "widths", "tpe")
    assert there.found.validation_accuracy_pct == pytest.approx(99.5)
    assert (there.found.validation_seeds, there.found.trained, there.found.workers) == (2, 2, 1)
    assert first is not None
    assert again is not None
    assert (again.runs, again.row) == (first.runs, first.row)
    assert len(searches.events(plan.folder, "verified")) == 1


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("half_way", [False, True])
def test_a_search_that_is_killed_after_its_verification_repeats_no_seed(
    half_way: bool, trainer: Trainer, seeds: Seeds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plan, search = finished(tmp_path)
    with monkeypatch.context() as patch:

        def rmtree(folder: Path, ignore_errors: bool = False) -> None:
            for path in sorted(folder.glob("*.json"))[: 2 if half_way else None]:
                path.unlink()
            raise Killed

        patch.setattr(shutil, "rmtree", rmtree)
        with pytest.raises(Killed):
            conclude(plan, search)
    seeds.asked.clear()

    verdict = conclude(plan, search)

    assert verdict is not None
    assert verdict.passed
    assert seeds.asked == []
    assert len(searches.events(plan.folder, "verified")) == 1
    assert list(plan.workspace.runs.glob(".verify-*")) == []
    assert WINNER.hash in plan.workspace.leaderboard.read_text(encoding="utf-8")


def test_a_winner_whose_record_is_gone_is_verified_again(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    plan, search = finished(tmp_path)
    conclude(plan, search)
    seeds.asked.clear()
    for path in plan.workspace.records.glob("*.json"):
        path.unlink()

    conclude(plan, search)

    assert seeds.indices == [0, 1, 2, 3, 4]


# Five runs of 8 s, each a fifth longer than in the search, take 48 s.
@pytest.mark.parametrize(("seconds", "postponed"), [(40.0, True), (60.0, False)])
def test_what_there_is_no_time_for_is_postponed(
    seconds: float, postponed: bool, trainer: Trainer, seeds: Seeds, tmp_path: Path
):
    plan, search = finished(tmp_path)
    search.effort = replace(search.effort, seconds=search.elapsed + seconds)

    verdict = conclude(plan, search)

    assert (verdict is None) is postponed
    last = searches.events(plan.folder)[-1]
    assert last["event"] == ("postponed" if postponed else "verified")
    assert last["hash"] == WINNER.hash
    assert (seeds.asked == []) is postponed
    if postponed:
        assert last["seconds"] == pytest.approx(1.1 * 48 + 12, rel=0.01)
        assert not plan.workspace.test_log.exists()


def test_of_two_that_are_minimised_the_whole_front_is_found_and_verified(
    trainer: Trainer, seeds: Seeds, tmp_path: Path
):
    text = "net = <conv3x3({8, 12, 16}) / conv3x3({16, 20, 24}, stride=2)> bn relu gap linear(10);"
    plan, search = finished(tmp_path, front_of=text)

    verdict = conclude(plan, search)

    analyses = [analyse(each.architecture, plan.space.task) for each in enumerate_draws(plan.space)]
    costs = {(each.parameters, each.macs) for each in analyses}
    front = {a for a in costs if not any(b != a and b[0] <= a[0] and b[1] <= a[1] for b in costs)}
    assert len(front) == 2
    assert {each.costs for each in confirmed_front(search.state.candidates.values())} == front
    passed = {trial for trial, each in search.state.verdicts.items() if each.passed}
    assert {search.state.candidates[trial].costs for trial in passed} == front
    assert verdict is not None
    shown = outcome_of(plan, search, verdict, {}).document(tmp_path)
    assert {(each["parameters"], each["macs"], each["tier"]) for each in shown["front"]} == {
        (*each, "verified") for each in front
    }
    info = read_study(plan.folder, plan.workspace)
    assert len(charts.study_charts(info, charts.networks_rows(info))["front"].layer) == 2


# A second verification --------------------------------------------------------------------------------------


def test_where_the_winner_misses_the_next_network_that_stands_is_verified(
    trainer: Trainer, seeds: Seeds, tmp_path: Path
):
    misses(seeds, WINNER)
    plan, search = finished(tmp_path)
    said: list[str] = []

    verdict = conclude(plan, search, say=said.append)

    assert verdict is not None
    assert (verdict.record.architecture, verdict.passed) == (LARGER, True)
    assert [job.architecture for job in seeds.asked] == [WINNER] * 5 + [LARGER] * 5
    events = searches.events(plan.folder, "verified")
    assert [(event["hash"], event["passed"]) for event in events] == [(WINNER.hash, False), (LARGER.hash, True)]
    assert [words.partition(" parameters")[0] for words in said] == [
        "verifying: 86",
        "target missed: 86",
        "verifying: 162",
    ]
    kept = {there.hash: there for there in record.read_all(plan.workspace.records)}
    assert kept.keys() == {WINNER.hash, LARGER.hash}
    assert [found.attempt for key in (WINNER, LARGER) if (found := kept[key.hash].found) is not None] == [1, 2]
    outcome = outcome_of(plan, search, verdict, {})
    document = json.loads(json.dumps(outcome.document(tmp_path / "report.html")))
    assert read_study(plan.folder, plan.workspace).ending == outcome.ending
    assert (document["reached"], document["winner"]["hash"], document["last_words"]) == (True, LARGER.hash, None)
    assert [(each["hash"], each["passed"]) for each in document["missed"]] == [(WINNER.hash, False)]
    # The same command finds all done.
    seeds.asked.clear()
    again = conclude(plan, search)
    assert again is not None
    assert (again.row, seeds.asked) == (verdict.row, [])


def test_where_all_that_stand_miss_each_is_verified_once(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    misses(seeds, WINNER, LARGER)
    plan, search = finished(tmp_path)

    for _ in range(2):
        verdict = conclude(plan, search)

        assert verdict is not None
        assert (verdict.record.architecture, verdict.passed) == (LARGER, False)
        assert [job.architecture for job in seeds.asked] == [WINNER] * 5 + [LARGER] * 5
        assert len(searches.events(plan.folder, "winner", "verified")) == 4
    assert (search.state.incumbent, search.state.answer) == (None, None)


@pytest.mark.parametrize("workers", [1, 4])
def test_a_search_runs_what_one_of_more_workers_has_declared(
    workers: int, trainer: Trainer, seeds: Seeds, tmp_path: Path
):
    def interrupt(job: Job) -> None:
        if job.seed_index == 3:
            raise Killed

    plan, search = finished(tmp_path, workers=4)
    seeds.watch = interrupt
    with pytest.raises(Killed):
        conclude(plan, search)
    seeds.watch = lambda job: None

    resumed = replace(plan, effort=replace(plan.effort, workers=workers))
    verdict = conclude(resumed, search)

    assert verdict is not None
    assert (verdict.record.architecture, verdict.passed, verdict.row.seeds) == (WINNER, True, 8)


def test_a_record_belongs_to_every_study_whose_network_it_is(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    plan, search = finished(tmp_path)
    assert conclude(plan, search) is not None
    other = replace(plan, folder=plan.workspace.study("another"))
    assert conclude(other, searches.run(other.folder, other.config, other.effort)) is not None

    assert len(seeds.asked) == 5
    for folder in (plan.folder, other.folder):
        study = Study(folder, plan.workspace)
        assert study.answer is not None
        assert study.verdict_of(study.answer) is not None
        assert [each.hash for each in study.records] == [study.answer.hash] == [WINNER.hash]


def test_a_further_network_for_which_there_is_no_time_is_postponed(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    misses(seeds, WINNER)
    missing = seeds.watch
    plan, search = finished(tmp_path)

    def spending(job: Job) -> None:
        missing(job)
        search.before += 12.0

    seeds.watch = spending
    search.effort = replace(search.effort, seconds=search.elapsed + 70.0)

    verdict = conclude(plan, search)

    assert verdict is not None
    assert (verdict.record.architecture, verdict.passed) == (WINNER, False)
    assert [job.architecture for job in seeds.asked] == [WINNER] * 5
    last = searches.events(plan.folder)[-1]
    assert (last["event"], last["hash"]) == ("postponed", LARGER.hash)
    # With more time it goes on there.
    search.effort = replace(search.effort, seconds=None)
    seeds.watch = missing
    verdict = conclude(plan, search)
    assert verdict is not None
    assert (verdict.record.architecture, verdict.passed) == (LARGER, True)
    assert [job.architecture for job in seeds.asked] == [WINNER] * 5 + [LARGER] * 5


@pytest.mark.parametrize("noted", [False, True])
def test_a_search_that_is_killed_between_two_verifications_goes_on_with_the_second(
    noted: bool, trainer: Trainer, seeds: Seeds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    misses(seeds, WINNER)
    plan, search = finished(tmp_path)

    def killed(search: Search) -> None:
        if noted:
            loop.choose(search)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(conclude_module, "choose", killed)
        with pytest.raises(Killed):
            conclude(plan, search)
    assert [job.architecture for job in seeds.asked] == [WINNER] * 5

    verdict = conclude(plan, search)

    assert verdict is not None
    assert (verdict.record.architecture, verdict.passed) == (LARGER, True)
    assert [job.architecture for job in seeds.asked] == [WINNER] * 5 + [LARGER] * 5


# What is said -----------------------------------------------------------------------------------------------


def test_a_smaller_network_that_was_confirmed_and_had_no_time_is_named_after_the_answer(
    trainer: Trainer, seeds: Seeds, tmp_path: Path
):
    plan, search = finished(tmp_path)
    small = next(each for each in search.state.candidates.values() if each.proposal.hash == WINNER.hash)
    slow = [replace(run, train_seconds=1_000.0) for run in small.fresh]
    small.first, small.fresh = replace(slow[0], purpose=Purpose.SEARCH), slow
    search.effort = replace(search.effort, seconds=search.elapsed + 300.0)
    # Now that less time is left.
    assert loop.choose(search) is not None

    end = outcome_of(plan, search, conclude(plan, search), {})

    assert end.verdict is not None
    assert (end.verdict.record.hash, end.verdict.passed) == (LARGER.hash, True)
    assert end.waiting is not None
    assert end.waiting.hash == WINNER.hash
    assert "is confirmed" in words(end).sentences[0]


def test_a_smaller_network_that_misses_after_an_answer_leaves_the_answer(
    trainer: Trainer, seeds: Seeds, tmp_path: Path
):
    misses(seeds, WINNER)
    plan, search = finished(tmp_path)
    trial = next(each.proposal.trial for each in search.state.candidates.values() if each.proposal.hash == LARGER.hash)
    search.state.verdicts[trial] = Verified(hash=LARGER.hash, recipe_hash=searches.RECIPE_HASH, passed=True)

    conclude(plan, search)

    there = {each.hash: each for each in record.read_all(plan.workspace.records)}
    found = there[WINNER.hash].found
    assert found is not None
    assert found.attempt == 2
    assert searches.events(plan.folder, "winner")[-1]["hash"] == LARGER.hash


OFFSET = ErrorRatio(dataset="mnist", errors_ratio=0.8, relative_error=None, protocol="made up")
GIVEN = {"--budget": "4000", "--space": "tiny", "--study": "mine"}
CONFIG = searches.config(budget=4000, target_pct=99.4, threshold_pct=OFFSET.threshold_pct(99.4), space="tiny")
EFFORT = searches.effort(seconds=600.0, trials=None, limits=Limits(seconds=90.0, memory_mb=64.0))
# 99.4 % on the test images are 75 errors on validation.
NEAREST = NearestMiss(
    trial=3, hash="0" * 12, parameters=2140, epochs=30, errors=77, runs=1, allowed=75, size=10_000, cost=2140
)

ENDS = [Status.COMPLETE] * 38


@pytest.fixture
def end(tmp_path: Path) -> Callable[..., SearchOutcome]:
    """Return an outcome for the reason of the last session's end, at so many seconds, and other facts."""

    def made(reason: str, elapsed: float = 250.0, allowed: float | None = 600.0, **changes: Any) -> SearchOutcome:
        config = replace(CONFIG, **changes.pop("config", {}))
        effort = replace(EFFORT, **changes.pop("effort", {}))
        space = parse_space(f"net = conv3x3(1..400) gap linear(10);{changes.pop('where', '')}", "widths")
        plan = replace(searches.plan(tmp_path), config=config, effort=effort, error_ratio=OFFSET, space=space)
        state = StudyState(tmp_path, config)
        runs = [make_result(errors=95, status=status) for status in changes.pop("ends", ENDS)]
        entries: list[Entry[Any]] = [
            make_entry("session", seconds=allowed),
            *(Entry(0.0, RunEnded(run=replace(run, trial=trial))) for trial, run in enumerate(runs)),
            make_entry("ended", elapsed, reason=reason, seconds=allowed, message=changes.pop("message", "full")),
        ]
        for entry in entries:
            state.apply(entry)
        facts: dict[str, Any] = {"stated_options": GIVEN, "nearest": NEAREST, "verdict": None}
        facts |= changes
        stated_options = {flag: (value,) for flag, value in facts.pop("stated_options").items()}
        return SearchOutcome(plan=plan, state=state, stated_options=stated_options, **facts)

    return made


def words(end: SearchOutcome) -> Advised:
    found = end.advice()
    assert found is not None
    return found


def options(end: SearchOutcome) -> dict[str, str]:
    """Return the options of the command that is advised, and their values."""
    program, command, *rest = shlex.split(words(end).command)
    assert (program, command) == ("harness", "search")
    return dict(zip(rest[::2], rest[1::2], strict=True))


SMALL, FAR = replace(NEAREST, cost=1900), replace(NEAREST, cost=1900, errors=200)


@pytest.mark.parametrize(
    ("facts", "why", "advised"),
    [
        # More time, more than was used by all sessions.
        ({"reason": "time", "elapsed": 603.0}, "time", GIVEN | {"--time": "20m"}),
        ({"reason": "time", "elapsed": 1650.0, "effort": {"seconds": 60.0}}, "time", GIVEN | {"--time": "40m"}),
        ({"reason": "trials", "effort": {"trials": 38}}, "trials", GIVEN | {"--trials": "76"}),
        # In the second half of the time slower networks were not proposed.
        ({"reason": "exhausted", "elapsed": 301.0, "nearest": FAR}, "time", GIVEN | {"--time": "20m"}),
        # A larger budget where it binds, as a study of another name.
        ({"reason": "exhausted"}, "space", {"--budget": "8000", "--space": "tiny"}),
        ({"reason": "exhausted", "nearest": None}, "space", {"--budget": "8000", "--space": "tiny"}),
        ({"reason": "exhausted", "nearest": None, "config": {"objectives": (StudyObjective(Metric.MACS, 300_000),)},
          "stated_options": {"--minimise": "macs", "--limit": "receptive_field >= 20,macs <= 300000"}}, "space",
         {"--minimise": "macs", "--limit": "receptive_field >= 20,macs<=600000"}),
        # What binds is raised, be it a limit; not beyond the space's conditions, and not where the space has no more.
        ({"reason": "exhausted", "stated_options": {"--limit": "parameters<=4000,macs>=9"},
          "where": "where parameters <= 4000, macs >= 9;"}, "space",
         {"--limit": "macs >= 9,parameters<=8000", "--budget": "8000"}),
        ({"reason": "exhausted", "stated_options": {}, "where": "where parameters <= 5000;"}, "space",
         {"--budget": "5000"}),
        ({"reason": "exhausted", "stated_options": {}, "where": "where parameters <= 4000;", "nearest": FAR}, "target",
         {"--target": "98.27"}),
        # A lower target: 200 errors and 8 % are 216 on validation, 0.8 times as many on the test images.
        ({"reason": "exhausted", "nearest": FAR, "stated_options": {}}, "target", {"--target": "98.27"}),
        # 80 errors on the test images for each hundred on validation: 20 % asks for 0 % there.
        ({"reason": "exhausted", "nearest": replace(FAR, errors=10_000), "stated_options": {}}, "target",
         {"--target": "20"}),
    ],
)  # fmt: skip
def test_more_time_or_trials_else_a_larger_budget_else_a_lower_target(
    facts: dict[str, Any], why: str, advised: dict[str, str], end: Callable[..., SearchOutcome]
):
    found = end(**facts)

    assert words(found).why == why
    assert list(options(found).items()) == list(advised.items())


def test_a_postponed_network_is_called_confirmed_only_if_it_is(end: Callable[..., SearchOutcome]):
    waiting = Postponed(hash=WINNER.hash, parameters=86, seconds=700.0)

    assert "is confirmed" not in words(end("time", waiting=waiting)).sentences[0]


def test_a_space_without_a_network_is_looked_at_not_widened(end: Callable[..., SearchOutcome]):
    found = words(
        end("exhausted", nearest=None, stated_options={"--space": "@a.space"}, where="where parameters <= 4000;")
    )
    assert (found.why, found.arguments) == ("space", ("spaces", "check", "@a.space"))


def test_an_answer_that_came_long_before_its_time_says_why_nothing_followed(end: Callable[..., SearchOutcome]):
    verdict = verdict_of(make_record([50, 52, 54, 50, 51]))
    assert "stopped after 15 s of 10 min 0 s: full" in end("exhausted", 15.0, verdict=verdict).text()
    assert (
        "stopped after 9 min 59 s of 10 min 0 s: the time limit"
        in end("time", 599.0, verdict=verdict, message="").text()
    )


# A verification ---------------------------------------------------------------------------------------------


def verdict_of(record: Record, **changes: Any) -> Verdict:
    return replace(Verdict(record, row_of_record(record), record.seeds, (), False), **changes)


@pytest.mark.parametrize(
    ("errors", "contradicted", "arguments"),
    [
        ([62, 64, 66, 60, 63], False, ("search", "--seed", "1")),
        ([59, 57, 59], False, ("verify", "HASH", "--seeds", "10")),
        ([58, 57, 59], True, ("search", "--seed", "1")),
    ],
)
def test_a_winner_that_missed_its_verification(
    errors: list[int], contradicted: bool, arguments: tuple[str, ...], end: Callable[..., SearchOutcome]
):
    record = make_record(errors)

    found = words(end("time", verdict=verdict_of(record, contradicted=contradicted), stated_options={}))

    assert found.why == "verification"
    assert found.arguments == tuple(record.hash if word == "HASH" else word for word in arguments)


@pytest.mark.parametrize("errors", [[57, 58, 59, 57, 58, 59], [62, 64, 66, 60, 63, 61]])
def test_no_seeds_are_advised_for_a_row_whose_declaration_the_ledger_lacks(
    errors: list[int], end: Callable[..., SearchOutcome]
):
    draft = make_record(errors)
    runs = tuple(replace(run, started_utc=f"2026-11-25T08:00:0{run.index}+00:00") for run in draft.seeds)
    record = replace(draft, seeds=runs)

    lost = verdict_of(record, lacks_declaration=True)
    [lost_words, waiting_words] = [
        words(end("time", verdict=verdict, stated_options={}))
        for verdict in (lost, verdict_of(record, lacks_seeds=True))
    ]

    assert (lost.row.reached, lost.is_held_back, lost.has_missed) == (False, True, False)
    assert lost_words.arguments == ("leaderboard", "--dataset", "mnist", "--target", "99.4")
    [sentence] = lost_words.sentences
    assert "ledger" in sentence
    assert waiting_words.arguments[0] == "verify"
    outcome = end("time", verdict=lost, stated_options={})
    assert sentence in outcome.text()
    assert "have not been run" not in outcome.text()


def test_smaller_networks_that_passed_once_wait_for_more_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Threshold 99 %: one is confirmed, and of the smaller ones two have passed and were not given up."""
    without_processes(monkeypatch)
    confirmed = (99.4,) * 6
    networks = [
        Trial(12, fresh=confirmed),
        Trial(14, first=99.5),
        Trial(10, first=99.3),
        Trial(8, first=98.9),
        Trial(6, first=99.3, fresh=(99.3,)),
        Trial(4, first=99.1, fresh=(97.0, 97.0)),
        Trial(2, first=None),
    ]
    search = searches.opened(tmp_path, networks)
    search.state.apply(make_entry("ended", 90.0, reason="time"))
    plan = replace(searches.plan(tmp_path), folder=tmp_path)
    verdict = verdict_of(make_record([50, 52, 54, 50, 51], "conv3x3(12) gap linear(10)"))

    outcome = outcome_of(plan, search, verdict, {})

    assert outcome.waiting is None
    assert outcome.nearest is not None
    assert outcome.nearest.trial in (2, 4)
    assert words(outcome).why == "time"
