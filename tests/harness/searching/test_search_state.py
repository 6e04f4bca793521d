"""What follows from a study's events: jobs, the pace, and that settled networks may be left out."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from harness.searching import loop, race
from harness.searching.loop import on_worker_events
from harness.searching.race import next_rung
from harness.searching.search_state import Search
from harness.searching.surrogate.model import NO_PAST
from harness.searching.surrogate.past import shipped, write_prior
from harness.searching.turn import Turn
from harness.studies.candidate import confirmed_by_cost, nearest_miss
from harness.studies.events import Entry, Event, Proposal, Repeated, RunEnded
from harness.training.executors.base import Event as WorkerEvent
from harness.training.result import Purpose
from search_spaces.space import Metric
from tests import searches
from tests.factories import make_job_result, make_proposal, make_result
from tests.fakes import Trainer, by_size
from tests.harness.searching.conftest import PROPOSAL
from tests.searches import Trial


def test_the_first_run_stops_at_every_rung_and_fresh_seeds_do_not(opened: Search):
    candidate = opened.state.candidates[0]

    first = opened.job(candidate, Purpose.SEARCH, 0)
    fresh = opened.job(candidate, Purpose.CONFIRM, 4)

    assert (first.until_epoch, fresh.until_epoch) == (2, None)
    assert first.checkpoint == opened.folder / "checkpoints" / "trial-00000-search-0.pt"
    assert fresh.checkpoint == opened.folder / "checkpoints" / "trial-00000-confirm-4.pt"
    assert [next_rung(opened.config, 8, epoch) for epoch in (0, 2, 3, 4, 8)] == [2, 4, 4, None, None]


def test_a_network_of_another_length_is_trained_so_and_stops_at_rungs_of_its_own(opened: Search):
    searches.apply(opened, replace(PROPOSAL, trial=1, epochs=20))

    first = opened.job(opened.state.candidates[1], Purpose.SEARCH, 0)
    fresh = opened.job(opened.state.candidates[1], Purpose.CONFIRM, 0)

    assert (first.recipe.epochs, first.recipe_name, first.until_epoch) == (20, "short-20ep", 5)
    assert (fresh.recipe, fresh.recipe_name, fresh.until_epoch) == (first.recipe, "short-20ep", None)
    assert replace(first.recipe, epochs=8) == searches.RECIPE


def test_the_pace_is_that_of_the_slowest_node(opened: Search):
    candidate, pace = opened.state.candidates[0], opened.timing.measured_pace.seconds_an_image
    estimated = opened.run_seconds(candidate)
    for index, (node, factor) in enumerate((("near", 1.0), ("far", 3.0), ("near", 2.0))):
        run = make_job_result(opened.job(candidate, Purpose.CONFIRM, index), by_size, 8)
        searches.apply(opened, RunEnded(run=replace(run, node=node, train_seconds=factor * estimated)))

    assert opened.timing.measured_pace.seconds_an_image == pytest.approx(3 * pace)


def test_a_settled_network_comes_back_when_seeds_that_were_in_flight_let_it_stand(trainer: Trainer, tmp_path: Path):
    opened = searches.opened(tmp_path, [Trial(20, fresh=(98.5,))])
    assert opened.state.contenders == {}

    for index in (1, 2, 3):
        searches.file(opened, 0, Purpose.CONFIRM, index, 99.6)

    assert opened.state.contenders == opened.state.candidates


@pytest.mark.parametrize("seed", range(5))
def test_no_answer_of_a_race_changes_when_it_is_asked_of_the_contenders_alone(
    seed: int, trainer: Trainer, tmp_path: Path
):
    rng, opened = random.Random(seed), searches.opened(tmp_path, [])
    known = opened.state.candidates
    turn = Turn(Metric.PARAMETERS, 5_000)

    def event() -> Event:
        if not known or rng.random() < 0.4:
            proposal: Proposal = make_proposal(len(known), parameters=rng.randrange(100, 3_000))
            return proposal
        changed = rng.choice(list(known.values()))
        trial = changed.proposal.trial
        if changed.first is not None and rng.random() < 0.2:
            return Repeated(trial=trial)
        purpose = Purpose.SEARCH if changed.first is None else Purpose.CONFIRM
        run = make_result(errors=round(rng.gauss(95, 12)), purpose=purpose, seed_index=len(changed.fresh), trial=trial)
        return RunEnded(run=run)

    for _ in range(300):
        opened.state.apply(Entry(0.0, event()))
        every, some = list(known.values()), list(opened.state.contenders.values())

        assert confirmed_by_cost(some) == confirmed_by_cost(every)
        assert opened.state.incumbent is next(iter(confirmed_by_cost(every)), None)
        assert race.next_to_confirm(some, turn, {}) is race.next_to_confirm(every, turn, {})
    assert len(opened.state.contenders) < len(known)


@pytest.mark.parametrize("workers", [1, 20])
def test_what_a_search_shows_is_what_all_of_its_networks_say(
    workers: int, trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: set[str] = set()

    def checked(found: Search, events: list[WorkerEvent]) -> None:
        on_worker_events(found, events)
        every = list(found.state.candidates.values())
        standing = next(iter(confirmed_by_cost(every)), None)
        assert found.state.incumbent is standing
        assert found.state.nearest == (nearest_miss(every) if standing is None else None)
        seen.add("standing" if standing else "nearest" if found.state.nearest else "neither")

    monkeypatch.setattr(loop, "on_worker_events", checked)
    config = searches.config(sampler="surrogate")

    searches.run(tmp_path, config, searches.effort(workers=workers, trials=12))
    searches.run(tmp_path, config, searches.effort(workers=workers, trials=24))

    assert seen == {"neither", "nearest", "standing"}


def test_a_resumed_study_learns_from_the_trainings_that_it_keeps(trainer: Trainer, tmp_path: Path):
    past = tuple(item for item in shipped("mnist") if item.learning_rate == searches.RECIPE.learning_rate)[:5]
    write_prior(tmp_path, (*past, replace(past[0], learning_rate=0.5)))

    with_past, without = (
        searches.taken_up(folder, searches.config(), searches.effort()) for folder in (tmp_path, tmp_path / "new")
    )

    assert len(searches.proposer_of(with_past).past.observations) == 5
    # What is known beforehand takes the place of the ladder.
    assert searches.proposer_of(with_past).ladder == []
    assert (searches.proposer_of(without).past, bool(searches.proposer_of(without).ladder)) == (NO_PAST, True)


def test_a_kill_between_a_run_and_what_it_decided_leaves_that_to_the_next_session(trainer: Trainer, tmp_path: Path):
    searches.run(tmp_path, searches.config(), searches.effort(trials=8))
    lines = (tmp_path / "log.jsonl").read_text().splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if '"standing"' in line)
    (tmp_path / "log.jsonl").write_text("".join(lines[:last]))

    searches.taken_up(tmp_path, searches.config(), searches.effort())

    assert (tmp_path / "log.jsonl").read_text().splitlines()[-1].partition('"utc"')[2].partition(",")[2] == lines[
        last
    ].rstrip("\n").partition('"utc"')[2].partition(",")[2]
