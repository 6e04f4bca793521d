"""State of a search derived from events: jobs, pace, contenders and incumbent."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from harness.searching import loop, scheduler
from harness.searching.loop import _on_worker_events
from harness.searching.scheduler import Turn, next_rung
from harness.searching.search_state import Search
from harness.searching.surrogate.model import NO_PRIOR
from harness.searching.surrogate.prior import prior_of_package, write_prior
from harness.spaces.space import Metric
from harness.studies.candidate import confirmed_by_cost, nearest_miss
from harness.studies.events import Entry, Event, Proposal, Repeated, RunEnded
from harness.training.executors.base import WorkerEvent
from harness.training.result import Purpose
from tests import searches
from tests.factories import make_job_result, make_proposal, make_result
from tests.fakes import Trainer, by_size
from tests.harness.searching.conftest import PROPOSAL
from tests.searches import Trial


def test_first_run_stops_at_each_rung_and_fresh_seeds_do_not(search: Search):
    candidate = search.state.candidates[0]

    first = search.job(candidate, Purpose.SEARCH, 0)
    fresh = search.job(candidate, Purpose.CONFIRM, 4)

    assert (first.until_epoch, fresh.until_epoch) == (2, None)
    assert first.checkpoint == search.folder / "checkpoints" / "trial-00000-search-0.pt"
    assert fresh.checkpoint == search.folder / "checkpoints" / "trial-00000-confirm-4.pt"
    assert [next_rung(search.config, 8, epoch) for epoch in (0, 2, 3, 4, 8)] == [2, 4, 4, None, None]


def test_network_with_different_epochs_has_scaled_recipe_and_rungs(search: Search):
    searches.apply(search, replace(PROPOSAL, trial=1, epochs=20))

    first = search.job(search.state.candidates[1], Purpose.SEARCH, 0)
    fresh = search.job(search.state.candidates[1], Purpose.CONFIRM, 0)

    assert (first.recipe.epochs, first.recipe_name, first.until_epoch) == (20, "short-20ep", 5)
    assert (fresh.recipe, fresh.recipe_name, fresh.until_epoch) == (first.recipe, "short-20ep", None)
    assert replace(first.recipe, epochs=8) == searches.RECIPE


def test_measured_pace_is_pace_of_slowest_node(search: Search):
    candidate, pace = search.state.candidates[0], search.timing.measured_pace.seconds_an_image
    estimated = search.run_seconds(candidate)
    for index, (node, factor) in enumerate((("near", 1.0), ("far", 3.0), ("near", 2.0))):
        run = make_job_result(search.job(candidate, Purpose.CONFIRM, index), by_size, 8)
        searches.apply(search, RunEnded(run=replace(run, node=node, train_seconds=factor * estimated)))

    assert search.timing.measured_pace.seconds_an_image == pytest.approx(3 * pace)


def test_refuted_candidate_becomes_contender_again_after_good_late_seeds(trainer: Trainer, tmp_path: Path):
    search = searches.with_trials(tmp_path, [Trial(20, fresh=(98.5,))])
    assert search.state.contenders == {}

    for index in (1, 2, 3):
        searches.add_run(search, 0, Purpose.CONFIRM, index, 99.6)

    assert search.state.contenders == search.state.candidates


@pytest.mark.parametrize("seed", range(5))
def test_scheduler_gives_same_answers_for_contenders_as_for_all_candidates(seed: int, trainer: Trainer, tmp_path: Path):
    rng, search = random.Random(seed), searches.with_trials(tmp_path, [])
    candidates = search.state.candidates
    turn = Turn(Metric.PARAMETERS, 5_000)

    def event() -> Event:
        if not candidates or rng.random() < 0.4:
            proposal: Proposal = make_proposal(len(candidates), parameters=rng.randrange(100, 3_000))
            return proposal
        candidate = rng.choice(list(candidates.values()))
        trial = candidate.proposal.trial
        if candidate.first_run is not None and rng.random() < 0.2:
            return Repeated(trial=trial)
        purpose = Purpose.SEARCH if candidate.first_run is None else Purpose.CONFIRM
        run = make_result(
            errors=round(rng.gauss(95, 12)), purpose=purpose, seed_index=len(candidate.fresh_runs), trial=trial
        )
        return RunEnded(run=run)

    for _ in range(300):
        search.state.apply(Entry(0.0, event()))
        all_candidates, contenders = list(candidates.values()), list(search.state.contenders.values())

        assert confirmed_by_cost(contenders) == confirmed_by_cost(all_candidates)
        assert search.state.incumbent is next(iter(confirmed_by_cost(all_candidates)), None)
        assert scheduler.next_to_confirm(contenders, turn, {}) is scheduler.next_to_confirm(all_candidates, turn, {})
    assert len(search.state.contenders) < len(candidates)


@pytest.mark.parametrize("workers", [1, 20])
def test_incumbent_and_nearest_miss_follow_from_all_candidates(
    workers: int, trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    kinds: set[str] = set()

    def handle_and_check(search: Search, events: list[WorkerEvent]) -> None:
        _on_worker_events(search, events)
        candidates = list(search.state.candidates.values())
        incumbent = next(iter(confirmed_by_cost(candidates)), None)
        assert search.state.incumbent is incumbent
        assert search.state.nearest == (nearest_miss(candidates) if incumbent is None else None)
        kinds.add("incumbent" if incumbent else "nearest" if search.state.nearest else "neither")

    monkeypatch.setattr(loop, "_on_worker_events", handle_and_check)
    config = searches.config(sampler="surrogate")

    searches.run(tmp_path, config, searches.effort(workers=workers, trials=12))
    searches.run(tmp_path, config, searches.effort(workers=workers, trials=24))

    assert kinds == {"neither", "nearest", "incumbent"}


def test_resumed_study_uses_trainings_of_stored_prior(trainer: Trainer, tmp_path: Path):
    past = tuple(item for item in prior_of_package("mnist") if item.learning_rate == searches.RECIPE.learning_rate)[:5]
    write_prior(tmp_path, (*past, replace(past[0], learning_rate=0.5)))

    with_past, without_past = (
        searches.resume(folder, searches.config(), searches.effort()) for folder in (tmp_path, tmp_path / "new")
    )

    assert len(searches.proposer_of(with_past).prior.observations) == 5
    # Earlier trainings replace the ladder.
    assert searches.proposer_of(with_past).ladder == []
    assert (searches.proposer_of(without_past).prior, bool(searches.proposer_of(without_past).ladder)) == (
        NO_PRIOR,
        True,
    )


def test_next_session_logs_decision_lost_by_kill_after_run(trainer: Trainer, tmp_path: Path):
    searches.run(tmp_path, searches.config(), searches.effort(trials=8))
    lines = (tmp_path / "log.jsonl").read_text().splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if '"confirmed"' in line)
    (tmp_path / "log.jsonl").write_text("".join(lines[:last]))

    searches.resume(tmp_path, searches.config(), searches.effort())

    assert (tmp_path / "log.jsonl").read_text().splitlines()[-1].partition('"utc"')[2].partition(",")[2] == lines[
        last
    ].rstrip("\n").partition('"utc"')[2].partition(",")[2]
