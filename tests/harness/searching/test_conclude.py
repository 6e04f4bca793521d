"""The end of a search: verification of the winner if enough time is left, and the advice how to continue."""

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
from harness.evidence.leaderboard_table import LeaderboardRow, Verification
from harness.evidence.record import Record
from harness.interface.results import Study
from harness.pages import study_charts
from harness.pages.study_facts import read_study
from harness.searching import conclude as conclude_module
from harness.searching import ending, loop
from harness.searching.answer import SearchAnswer
from harness.searching.conclude import conclude
from harness.searching.ending import search_arguments
from harness.searching.plan import SearchPlan
from harness.searching.search_state import Search
from harness.spaces.network import analyse
from harness.spaces.space import Metric, enumerate_draws
from harness.studies.candidate import NearestMiss, confirmed_front
from harness.studies.events import Advised, Entry, Postponed, RunEnded, Verified
from harness.studies.study_state import StudyState
from harness.system.files import Workspace
from harness.training.result import Purpose, Status
from harness.training.run import Job
from tests import searches
from tests.factories import make_record, make_result
from tests.fakes import Seeds, Trainer, without_processes, without_training
from tests.searches import LARGER, WINNER, Trial, finished, misses
from tests.study_logs import make_entry


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """Return a trainer whose runs all have a validation accuracy of 99.5 %."""
    trainer = without_processes(monkeypatch)
    trainer.accuracy_pct = lambda parameters, seed: 99.5
    return trainer


@pytest.fixture
def seeds(monkeypatch: pytest.MonkeyPatch) -> Seeds:
    return without_training(monkeypatch)


def answer_of(plan: SearchPlan, search: Search, verdict: Verification | None) -> SearchAnswer:
    obstacle = ending.advise(search, verdict, plan.workspace)
    return SearchAnswer(state=search.state, workspace=plan.workspace, verdict=verdict, obstacle=obstacle)


def test_conclude_verifies_no_network_without_winner(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    trainer.accuracy_pct = lambda parameters, seed: 98.0
    plan, search = finished(tmp_path)

    assert conclude(plan, search) is None

    assert seeds.jobs == []
    assert not plan.workspace.test_log.exists()
    assert record.read_all(plan.workspace.records) == []
    assert searches.events(plan.folder, "postponed", "verified") == []
    assert plan.workspace.leaderboard.exists()


@pytest.mark.parametrize(("workers", "count"), [(1, 5), (2, 6), (4, 8)])
def test_conclude_verifies_winner_on_seeds_that_keep_all_workers_busy(
    workers: int, count: int, trainer: Trainer, seeds: Seeds, tmp_path: Path
):
    plan, search = finished(tmp_path, workers=workers)

    verdict = conclude(plan, search)

    assert verdict is not None
    assert verdict.passed
    assert seeds.indices == list(range(count))
    assert {job.architecture for job in seeds.jobs} == {WINNER}
    [event] = searches.events(plan.folder, "verified")
    assert (event["hash"], event["tier"], event["seeds"], event["passed"]) == (WINNER.hash, "verified", count, True)
    assert event["mean_test_accuracy_pct"] == pytest.approx(99.45)
    assert WINNER.hash in plan.workspace.leaderboard.read_text(encoding="utf-8")


def test_conclude_writes_record_with_facts_of_search_and_recipe_once(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    plan, search = finished(tmp_path, lengths=(20,))

    verdict, second_verdict = conclude(plan, search), conclude(plan, search)

    longer = replace(searches.RECIPE, epochs=20)
    assert [job.recipe for job in seeds.jobs] == [longer] * 5
    [evidence] = record.read_all(plan.workspace.records)
    assert (evidence.recipe, evidence.recipe_name, evidence.recipe_hash) == (longer, "short-20ep", longer.hash)
    assert (summary := evidence.search_summary) is not None
    assert (summary.study, summary.space, summary.sampler) == ("a-study", "widths", "tpe")
    assert summary.validation_accuracy_pct == pytest.approx(99.5)
    assert (summary.validation_seeds, summary.trained, summary.workers) == (2, 2, 1)
    assert verdict is not None
    assert second_verdict is not None
    assert (second_verdict.runs, second_verdict.row) == (verdict.runs, verdict.row)
    assert len(searches.events(plan.folder, "verified")) == 1


class Killed(BaseException):
    """Simulates SIGKILL."""


@pytest.mark.parametrize("half_way", [False, True])
def test_conclude_repeats_no_seed_after_kill_during_deletion_of_seed_files(
    half_way: bool, trainer: Trainer, seeds: Seeds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plan, search = finished(tmp_path)
    with monkeypatch.context() as patch:

        def rmtree(folder: Path | str, **options: object) -> None:
            for path in sorted(Path(folder).glob("*.json"))[: 2 if half_way else None]:
                path.unlink()
            raise Killed

        patch.setattr(shutil, "rmtree", rmtree)
        with pytest.raises(Killed):
            conclude(plan, search)
    seeds.jobs.clear()

    verdict = conclude(plan, search)

    assert verdict is not None
    assert verdict.passed
    assert seeds.jobs == []
    assert len(searches.events(plan.folder, "verified")) == 1
    assert list(plan.workspace.runs.glob(".verify-*")) == []
    assert WINNER.hash in plan.workspace.leaderboard.read_text(encoding="utf-8")


def test_conclude_verifies_winner_again_after_deletion_of_record(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    plan, search = finished(tmp_path)
    conclude(plan, search)
    seeds.jobs.clear()
    for path in plan.workspace.records.glob("*.json"):
        path.unlink()

    conclude(plan, search)

    assert seeds.indices == [0, 1, 2, 3, 4]


# A verification trains on the validation images too, so each of the five runs takes a fifth more than 8 s.
@pytest.mark.parametrize(("seconds", "is_postponed"), [(40.0, True), (60.0, False)])
def test_conclude_postpones_verification_without_enough_time(
    seconds: float, is_postponed: bool, trainer: Trainer, seeds: Seeds, tmp_path: Path
):
    plan, search = finished(tmp_path)
    search.effort = replace(search.effort, seconds=search.elapsed + seconds)

    verdict = conclude(plan, search)

    assert (verdict is None) is is_postponed
    last_event = searches.events(plan.folder)[-1]
    assert last_event["event"] == ("postponed" if is_postponed else "verified")
    assert last_event["hash"] == WINNER.hash
    assert (seeds.jobs == []) is is_postponed
    if is_postponed:
        assert last_event["seconds"] == pytest.approx(1.1 * 48 + 12, rel=0.01)
        assert not plan.workspace.test_log.exists()


def test_search_with_two_objectives_finds_and_verifies_complete_front(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    text = "net = <conv3x3({8, 12, 16}) / conv3x3({16, 20, 24}, stride=2)> bn relu gap linear(10);"
    plan, search = finished(tmp_path, front_of=text)

    verdict = conclude(plan, search)

    analyses = [analyse(each.architecture, plan.space.task) for each in enumerate_draws(plan.space)]
    costs = {(each.parameters, each.macs) for each in analyses}
    front = {a for a in costs if not any(b != a and b[0] <= a[0] and b[1] <= a[1] for b in costs)}
    assert len(front) == 2
    assert {each.costs for each in confirmed_front(search.state.candidates.values())} == front
    passed_trials = {trial for trial, each in search.state.verdicts.items() if each.passed}
    assert {search.state.candidates[trial].costs for trial in passed_trials} == front
    assert verdict is not None
    document = answer_of(plan, search, verdict).document(tmp_path)
    assert {(each["parameters"], each["macs"], each["tier"]) for each in document["front"]} == {
        (*each, "verified") for each in front
    }
    info = read_study(plan.folder, plan.workspace)
    assert len(study_charts.charts_of(info, study_charts.networks_rows(info))["front"].layer) == 2


# A second verification after a miss -------------------------------------------------------------------------


def check_second_verification(verdict: Verification | None, seeds: Seeds) -> Verification:
    """Check that ``LARGER`` reached the target after the miss of ``WINNER``."""
    assert verdict is not None
    assert (verdict.record.architecture, verdict.passed) == (LARGER, True)
    assert [job.architecture for job in seeds.jobs] == [WINNER] * 5 + [LARGER] * 5
    return verdict


def test_conclude_verifies_next_confirmed_network_after_miss_of_winner(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    misses(seeds, WINNER)
    plan, search = finished(tmp_path)
    lines: list[str] = []

    verdict = check_second_verification(conclude(plan, search, say=lines.append), seeds)

    events = searches.events(plan.folder, "verified")
    assert [(event["hash"], event["passed"]) for event in events] == [(WINNER.hash, False), (LARGER.hash, True)]
    assert [line.split(" parameters")[0] for line in lines] == ["verifying: 86", "target missed: 86", "verifying: 162"]
    records = {each.hash: each for each in record.read_all(plan.workspace.records)}
    assert records.keys() == {WINNER.hash, LARGER.hash}
    assert [
        summary.attempt for key in (WINNER, LARGER) if (summary := records[key.hash].search_summary) is not None
    ] == [1, 2]
    outcome = answer_of(plan, search, verdict)
    document = json.loads(json.dumps(outcome.document(tmp_path / "report.html")))
    assert read_study(plan.folder, plan.workspace).ending == outcome.ending
    assert (document["reached"], document["winner"]["hash"], document["last_words"]) == (True, LARGER.hash, None)
    assert [(each["hash"], each["passed"]) for each in document["missed"]] == [(WINNER.hash, False)]
    # A second call trains nothing.
    seeds.jobs.clear()
    second_verdict = conclude(plan, search)
    assert second_verdict is not None
    assert (second_verdict.row, seeds.jobs) == (verdict.row, [])


def test_conclude_verifies_each_confirmed_network_once_if_all_miss(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    misses(seeds, WINNER, LARGER)
    plan, search = finished(tmp_path)

    for _ in range(2):
        verdict = conclude(plan, search)

        assert verdict is not None
        assert (verdict.record.architecture, verdict.passed) == (LARGER, False)
        assert [job.architecture for job in seeds.jobs] == [WINNER] * 5 + [LARGER] * 5
        assert len(searches.events(plan.folder, "winner", "verified")) == 4
    standing = search.state.standing()
    assert (search.state.incumbent, standing.outcome, standing.tier) == (None, "not reached", "missed")
    assert standing.network is not None
    assert standing.network.hash == LARGER.hash
    # The text names a single network; the document lists the further miss.
    outcome = answer_of(plan, search, verdict)
    assert LARGER.hash in outcome.text()
    assert WINNER.hash[:6] not in outcome.text()
    document = outcome.document(tmp_path)
    assert (document["winner"]["hash"], [each["hash"] for each in document["missed"]]) == (LARGER.hash, [WINNER.hash])


@pytest.mark.parametrize("workers", [1, 4])
def test_conclude_runs_all_declared_seeds_with_any_number_of_workers(
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

    verdict = conclude(replace(plan, effort=replace(plan.effort, workers=workers)), search)

    assert verdict is not None
    assert (verdict.record.architecture, verdict.passed, verdict.row.seeds) == (WINNER, True, 8)


def test_record_belongs_to_every_study_with_the_network(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    plan, search = finished(tmp_path)
    assert conclude(plan, search) is not None
    other_plan = replace(plan, folder=plan.workspace.study("another"))
    assert conclude(other_plan, searches.run(other_plan.folder, other_plan.config, other_plan.effort)) is not None

    assert len(seeds.jobs) == 5
    for folder in (plan.folder, other_plan.folder):
        study = Study(folder, plan.workspace)
        assert study.answer is not None
        assert study.verdict_of(study.answer) is not None
        assert [each.hash for each in study.records] == [study.answer.hash] == [WINNER.hash]


def test_conclude_postpones_second_verification_without_enough_time(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    misses(seeds, WINNER)
    let_winner_miss = seeds.watch
    plan, search = finished(tmp_path)

    def spend_time(job: Job) -> None:
        let_winner_miss(job)
        search.earlier_seconds += 12.0

    seeds.watch = spend_time
    search.effort = replace(search.effort, seconds=search.elapsed + 70.0)

    verdict = conclude(plan, search)

    assert verdict is not None
    assert (verdict.record.architecture, verdict.passed) == (WINNER, False)
    assert [job.architecture for job in seeds.jobs] == [WINNER] * 5
    last_event = searches.events(plan.folder)[-1]
    assert (last_event["event"], last_event["hash"]) == ("postponed", LARGER.hash)
    outcome = answer_of(plan, search, verdict)
    assert (outcome.ending.outcome, outcome.document(tmp_path)["winner"]) == ("probable", None)
    assert advice_of(outcome).why == "time"
    # Without a time limit, the next call verifies the postponed network.
    search.effort = replace(search.effort, seconds=None)
    seeds.watch = let_winner_miss
    check_second_verification(conclude(plan, search), seeds)


@pytest.mark.parametrize("is_logged", [False, True])
def test_conclude_goes_on_with_second_verification_after_kill_between_verifications(
    is_logged: bool, trainer: Trainer, seeds: Seeds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    misses(seeds, WINNER)
    plan, search = finished(tmp_path)

    def kill(search: Search) -> None:
        if is_logged:
            loop.choose(search)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(conclude_module, "choose", kill)
        with pytest.raises(Killed):
            conclude(plan, search)
    assert [job.architecture for job in seeds.jobs] == [WINNER] * 5

    check_second_verification(conclude(plan, search), seeds)


# Advice at the end of a search ------------------------------------------------------------------------------


def test_outcome_names_smaller_confirmed_network_without_time_for_verification(
    trainer: Trainer, seeds: Seeds, tmp_path: Path
):
    plan, search = finished(tmp_path)
    smaller = next(each for each in search.state.candidates.values() if each.proposal.hash == WINNER.hash)
    slow_runs = [replace(run, train_seconds=1_000.0) for run in smaller.fresh_runs]
    smaller.first_run, smaller.fresh_runs = replace(slow_runs[0], purpose=Purpose.SEARCH), slow_runs
    search.effort = replace(search.effort, seconds=search.elapsed + 300.0)
    # The time left is too short for the smaller network, so ``choose`` returns the larger network.
    assert loop.choose(search) is not None

    outcome = answer_of(plan, search, conclude(plan, search))

    assert outcome.verdict is not None
    assert (outcome.verdict.record.hash, outcome.verdict.passed) == (LARGER.hash, True)
    assert isinstance(outcome.obstacle, Postponed)
    assert outcome.obstacle.hash == WINNER.hash
    assert WINNER.hash in advice_of(outcome).sentences[0]


def test_answer_remains_after_miss_of_smaller_network(trainer: Trainer, seeds: Seeds, tmp_path: Path):
    misses(seeds, WINNER)
    plan, search = finished(tmp_path)
    trial = next(each.proposal.trial for each in search.state.candidates.values() if each.proposal.hash == LARGER.hash)
    search.state.verdicts[trial] = Verified(hash=LARGER.hash, recipe_hash=searches.RECIPE_HASH, passed=True)

    conclude(plan, search)

    records = {each.hash: each for each in record.read_all(plan.workspace.records)}
    assert (summary := records[WINNER.hash].search_summary) is not None
    assert summary.attempt == 2
    assert searches.events(plan.folder, "winner")[-1]["hash"] == LARGER.hash


OPTIONS = {"--budget": "4000", "--space": "tiny", "--study": "mine"}
OFFSET = ErrorRatio(dataset="mnist", errors_ratio=0.8, relative_error=None, protocol="made up")
CONFIG = searches.config(budget=4000, target_pct=99.4, space="tiny")
NEAREST = NearestMiss(
    trial=3, hash="0" * 12, parameters=2140, epochs=30, errors=77, runs=1, allowed=75, size=10_000, cost=2140
)

ENDS = [Status.COMPLETE] * 38


@pytest.fixture
def make_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SearchAnswer]:
    """Return a function that builds an answer from the reason and time of the session's end and further facts."""
    monkeypatch.setattr(ErrorRatio, "of", lambda *_: OFFSET)

    def build(reason: str, elapsed: float = 250.0, allowed: float | None = 600.0, **changes: Any) -> SearchAnswer:
        text = f"net = conv3x3(1..400) gap linear(10);{changes.pop('where', '')}"
        config = replace(CONFIG, space_text=text, **changes.pop("config", {}))
        state = StudyState(tmp_path, config)
        runs = [make_result(errors=95, status=status) for status in changes.pop("ends", ENDS)]
        options = {flag: (value,) for flag, value in changes.pop("stated_options", OPTIONS).items()}
        limits = {"seconds": allowed, "trials": changes.pop("trials", None)}
        entries: list[Entry[Any]] = [
            make_entry("session", seconds=allowed, command=("harness", *search_arguments(options))),
            *(Entry(0.0, RunEnded(run=replace(run, trial=trial))) for trial, run in enumerate(runs)),
            make_entry("ended", elapsed, reason=reason, message=changes.pop("message", "full"), **limits),
        ]
        for entry in entries:
            state.apply(entry)
        verdict = changes.pop("verdict", None)
        obstacle = changes.pop("nearest", NEAREST)
        workspace = Workspace(tmp_path)
        advice = ending._advice_at_end(state, verdict, obstacle, workspace)
        assert advice is not None
        state.apply(Entry(elapsed, advice))
        return SearchAnswer(state=state, workspace=workspace, verdict=verdict, obstacle=obstacle)

    return build


def advice_of(answer: SearchAnswer) -> Advised:
    advice = answer.state.of_kind(Advised)[-1].event
    assert isinstance(advice, Advised)
    return advice


def options_of(outcome: SearchAnswer) -> dict[str, str]:
    """Return the options of the advised search command, as values by flag."""
    program, command, *rest = shlex.split(advice_of(outcome).command)
    assert (program, command) == ("harness", "search")
    return dict(zip(rest[::2], rest[1::2], strict=True))


def test_words_of_logged_command_that_form_no_option_are_left_out(tmp_path: Path):
    state = StudyState(tmp_path, CONFIG)
    words = ("odd", "--plan", "--limit", "macs<=9", "--seed", "-1", "odd", "--limit", "parameters<=9", "--last")
    state.apply(make_entry("session", command=("harness", "search", *words)))

    assert ending._stated_options(state) == {"--limit": ("macs<=9", "parameters<=9"), "--seed": ("-1",)}


FAR = replace(NEAREST, cost=1900, errors=200)


@pytest.mark.parametrize(
    ("facts", "why", "options"),
    [
        # More time than all sessions have used.
        ({"reason": "time", "elapsed": 603.0}, "time", OPTIONS | {"--time": "20m"}),
        ({"reason": "time", "elapsed": 1650.0, "allowed": 60.0}, "time", OPTIONS | {"--time": "40m"}),
        ({"reason": "trials", "trials": 38}, "trials", OPTIONS | {"--trials": "76"}),
        # In the second half of the time, networks with long trainings were not proposed.
        ({"reason": "exhausted", "elapsed": 301.0, "nearest": FAR}, "time", OPTIONS | {"--time": "20m"}),
        # A larger budget if the budget binds; a new study, so without --study.
        ({"reason": "exhausted"}, "space", {"--budget": "8000", "--space": "tiny"}),
        ({"reason": "exhausted", "nearest": None}, "space", {"--budget": "8000", "--space": "tiny"}),
        ({"reason": "exhausted", "nearest": None, "config": {"minimise": Metric.MACS, "most": 300_000},
          "stated_options": {"--minimise": "macs", "--limit": "receptive_field >= 20,macs <= 300000"}}, "space",
         {"--minimise": "macs", "--limit": "receptive_field >= 20,macs<=600000"}),
        # A binding --limit is raised too, up to the conditions of the space; else the target is lowered.
        ({"reason": "exhausted", "stated_options": {"--limit": "parameters<=4000,macs>=9"},
          "where": "where parameters <= 4000, macs >= 9;"}, "space",
         {"--limit": "macs >= 9,parameters<=8000", "--budget": "8000"}),
        ({"reason": "exhausted", "stated_options": {}, "where": "where parameters <= 5000;"}, "space",
         {"--budget": "5000"}),
        ({"reason": "exhausted", "stated_options": {}, "where": "where parameters <= 4000;", "nearest": FAR}, "target",
         {"--target": "98.27"}),
        # A lower target: 200 validation errors and 8 % are 216, and 0.8 * 216 errors are expected on the test images.
        ({"reason": "exhausted", "nearest": FAR, "stated_options": {}}, "target", {"--target": "98.27"}),
        # 80 test errors are expected for 100 validation errors: all validation images wrong give a target of 20 %.
        ({"reason": "exhausted", "nearest": replace(FAR, errors=10_000), "stated_options": {}}, "target",
         {"--target": "20"}),
    ],
)  # fmt: skip
def test_advice_is_more_time_or_trials_else_larger_budget_else_lower_target(
    facts: dict[str, Any], why: str, options: dict[str, str], make_outcome: Callable[..., SearchAnswer]
):
    outcome = make_outcome(**facts)

    assert advice_of(outcome).why == why
    assert list(options_of(outcome).items()) == list(options.items())


def test_advice_after_short_search_states_that_longer_search_chooses_augmentation(
    make_outcome: Callable[..., SearchAnswer],
):
    outcomes = [make_outcome("time", stated_options={}, config={"dataset": name}) for name in ("kmnist", "mnist")]

    assert ["augmentation" in advice_of(each).advice for each in outcomes] == [True, False]


def test_advice_for_space_without_network_is_to_check_space(make_outcome: Callable[..., SearchAnswer]):
    facts = {"stated_options": {"--space": "@a.space"}, "where": "where parameters <= 4000;"}
    advice = advice_of(make_outcome("exhausted", nearest=None, **facts))
    assert (advice.why, advice.arguments) == ("space", ("spaces", "check", "@a.space"))


def test_outcome_with_answer_states_when_and_why_search_stopped(make_outcome: Callable[..., SearchAnswer]):
    verdict = verdict_of(make_record([50, 52, 54, 50, 51]))
    assert "stopped after 15 s of 10 min 0 s: full" in make_outcome("exhausted", 15.0, verdict=verdict).text()
    assert (
        "stopped after 9 min 59 s of 10 min 0 s: the time limit"
        in make_outcome("time", 599.0, verdict=verdict, message="").text()
    )


# Advice after a verification ---------------------------------------------------------------------------------


ROW = ("--recipe", "fast", "--dataset", "mnist", "--target", "99.4")


def verdict_of(record: Record, **changes: Any) -> Verification:
    return replace(Verification(record, LeaderboardRow.of(record), record.seeds), **changes)


@pytest.mark.parametrize(
    ("errors", "is_contradicted", "arguments"),
    [
        ([62, 64, 66, 60, 63], False, ("search", "--seed", "1")),
        ([59, 57, 59], False, ("verify", "HASH", *ROW, "--seeds", "10")),
        ([58, 57, 59], True, ("search", "--seed", "1")),
    ],
)
def test_advice_after_miss_is_more_seeds_if_undecided_else_search_with_next_seed(
    errors: list[int], is_contradicted: bool, arguments: tuple[str, ...], make_outcome: Callable[..., SearchAnswer]
):
    record = make_record(errors)

    advice = advice_of(
        make_outcome("time", verdict=verdict_of(record, is_contradicted=is_contradicted), stated_options={})
    )

    assert advice.why == "verification"
    assert advice.arguments == tuple(record.hash if word == "HASH" else word for word in arguments)


@pytest.mark.parametrize("errors", [[57, 58, 59, 57, 58, 59], [62, 64, 66, 60, 63, 61]])
def test_advice_without_declaration_in_ledger_is_no_further_seeds(
    errors: list[int], make_outcome: Callable[..., SearchAnswer]
):
    draft = make_record(errors)
    runs = tuple(replace(run, started_utc=f"2026-11-25T08:00:0{run.index}+00:00") for run in draft.seeds)
    record = replace(draft, seeds=runs)

    lost_verdict = verdict_of(record, lacks_declaration=True)
    [lost_advice, waiting_advice] = [
        advice_of(make_outcome("time", verdict=verdict, stated_options={}))
        for verdict in (lost_verdict, verdict_of(record, lacks_seeds=True))
    ]

    assert (lost_verdict.row.reached, lost_verdict.is_open, lost_verdict.event.passed) == (False, True, None)
    assert lost_advice.arguments == ("leaderboard", "--dataset", "mnist", "--target", "99.4")
    [sentence] = lost_advice.sentences
    assert "ledger" in sentence
    assert waiting_advice.arguments[0] == "verify"
    outcome = make_outcome("time", verdict=lost_verdict, stated_options={})
    assert sentence in outcome.text()
    assert "have not been run" not in outcome.text()


def test_advice_is_more_time_if_smaller_network_passed_first_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of the networks smaller than the confirmed network, only trials 2 and 4 have passed 99 % and are not refuted."""
    without_processes(monkeypatch)
    confirmed_pct = (99.4,) * 6
    networks = [
        Trial(12, fresh=confirmed_pct),
        Trial(14, first=99.5),
        Trial(10, first=99.3),
        Trial(8, first=98.9),
        Trial(6, first=99.3, fresh=(99.3,)),
        Trial(4, first=99.1, fresh=(97.0, 97.0)),
        Trial(2, first=None),
    ]
    search = searches.with_trials(tmp_path, networks)
    for entry in (make_entry("session", command=("harness", "search")), make_entry("ended", 90.0, reason="time")):
        search.state.apply(entry)
    search.earlier_seconds = 93.0  # the advice is written 3 s after the end
    plan = replace(searches.plan(tmp_path), folder=tmp_path)
    verdict = verdict_of(make_record([50, 52, 54, 50, 51], "conv3x3(12) gap linear(10)"))

    outcome = answer_of(plan, search, verdict)

    assert search.state.seconds == 90.0
    assert isinstance(outcome.obstacle, NearestMiss)
    assert outcome.obstacle.trial in (2, 4)
    assert advice_of(outcome).why == "time"
