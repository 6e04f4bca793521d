"""The winner of a search: the smallest network that stands, if it can still be verified."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.evidence.events import Verified
from harness.search import loop as search
from harness.search.race import Candidate
from harness.search.session import Moment, Session
from harness.training.result import Purpose, derive_seed
from search_spaces.notation import parse_network
from tests.harness import scripted
from tests.harness.scripted import Made, Trainer
from tests.harness.silent import Silent

FEW = "net = conv3x3({4, 8, 12}) gap linear(10);"
SIZES = {4: 86, 8: 162, 12: 238}
STANDS = (99.4, 99.4)


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    return scripted.without_processes(monkeypatch)


def winner_of(folder: Path) -> dict[str, object]:
    return scripted.events(folder, "winner")[-1]


def slow(opened: Session, trial: int, seconds: float = 1_000.0) -> Candidate:
    """Let the runs of a network have taken so long."""
    candidate = opened.candidates[trial]
    assert candidate.first is not None
    candidate.first = replace(candidate.first, train_seconds=seconds)
    candidate.fresh = [replace(run, train_seconds=seconds) for run in candidate.fresh]
    return candidate


def test_the_smallest_that_stands_on_two_fresh_seeds_wins(trainer: Trainer, tmp_path: Path):
    confirmed = {
        derive_seed(
            parse_network(f"conv3x3({width}) gap linear(10)").hash, scripted.RECIPE_HASH, Purpose.CONFIRM, index, 0
        ): accuracy_pct
        for width, accuracy_pct in ((4, 98.0), (8, 99.15), (12, 99.4))
        for index in range(6)
    }
    trainer.accuracy_pct = lambda parameters, seed: confirmed.get(seed, 99.5)

    scripted.run(tmp_path, scripted.config(space_text=FEW), scripted.effort())

    winner = winner_of(tmp_path)
    assert (winner["parameters"], winner["validation_seeds"]) == (SIZES[8], 2)
    assert winner["validation_accuracy_pct"] == pytest.approx(99.15)
    assert SIZES[4] in {event["parameters"] for event in scripted.events(tmp_path, "refuted")}


def test_of_several_that_stand_the_smallest_wins_without_further_runs(trainer: Trainer, tmp_path: Path):
    opened = scripted.opened(tmp_path, [Made(12, fresh=STANDS), Made(8, fresh=(99.2, 99.2)), Made(4, fresh=(99.3,))])

    search.choose(opened)

    assert winner_of(tmp_path)["trial"] == 1
    assert trainer.asked == []


class Watching(Silent):
    """Keeps the sizes that stand."""

    def __init__(self) -> None:
        self.seen: list[int | None] = []

    def tick(self, at: Moment) -> None:
        self.seen.append(None if at.standing is None else at.standing.proposal.parameters)


@pytest.mark.parametrize("ended", [True, False])
def test_a_session_with_nothing_left_to_train_shows_what_stands(ended: bool, trainer: Trainer, tmp_path: Path):
    trainer.accuracy_pct = lambda parameters, seed: 99.5
    scripted.run(tmp_path, scripted.config(space_text=FEW), scripted.effort())
    if not ended:
        # As a kill does in the verification: the log ends before the session does.
        lines = (tmp_path / "log.jsonl").read_text().splitlines(keepends=True)
        (tmp_path / "log.jsonl").write_text("".join(line for line in lines if '"event": "ended"' not in line))
    watcher = Watching()

    scripted.run(tmp_path, scripted.config(space_text=FEW), scripted.effort(), watcher)

    assert watcher.seen[-1:] == [winner_of(tmp_path)["parameters"]]


def test_without_a_standing_network_there_is_no_winner(trainer: Trainer, tmp_path: Path):
    trainer.accuracy_pct = lambda parameters, seed: 98.9

    scripted.run(tmp_path, scripted.config(space_text=FEW), scripted.effort())

    assert scripted.events(tmp_path, "winner", "standing") == []


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_each_fresh_seed_is_run_once(workers: int, trainer: Trainer, tmp_path: Path):
    trainer.accuracy_pct = lambda parameters, seed: 99.4

    found = scripted.run(tmp_path, scripted.config(space_text=FEW), scripted.effort(workers=workers))

    for candidate in found.candidates.values():
        indices = [run.seed_index for run in candidate.fresh]
        assert indices == sorted(set(indices))
    jobs = [(job.trial, job.seed_index) for job in trainer.asked if job.purpose is Purpose.CONFIRM]
    assert jobs
    assert len(jobs) == len(set(jobs))


def test_where_time_is_short_a_network_that_can_be_verified_in_it_wins(trainer: Trainer, tmp_path: Path):
    networks = [Made(12, fresh=STANDS), Made(8, fresh=STANDS), Made(4, fresh=STANDS)]
    opened = scripted.opened(tmp_path, networks, seconds=90.0)
    slow(opened, 2)

    search.choose(opened)

    assert winner_of(tmp_path)["trial"] == 1


def test_where_none_can_be_verified_in_time_the_smallest_wins(trainer: Trainer, tmp_path: Path):
    opened = scripted.opened(tmp_path, [Made(12, fresh=STANDS), Made(8, fresh=STANDS)], seconds=90.0)
    slow(opened, 0)
    slow(opened, 1)

    search.choose(opened)

    assert winner_of(tmp_path)["trial"] == 1


def test_what_has_missed_in_its_verification_is_not_chosen_again(trainer: Trainer, tmp_path: Path):
    networks = [Made(12, fresh=STANDS), Made(8, fresh=STANDS), Made(4, fresh=STANDS)]
    opened = scripted.opened(tmp_path, networks)
    opened.verdicts[2] = Verified(passed=False)

    search.choose(opened)

    assert winner_of(tmp_path)["trial"] == 1
    opened.verdicts |= {0: Verified(passed=False), 1: Verified(passed=False)}
    assert search.choose(opened) is None
    assert len(scripted.events(tmp_path, "winner")) == 1


def test_what_has_met_the_target_needs_no_more_time_and_stays_in_spite_of_further_seeds(
    trainer: Trainer, tmp_path: Path
):
    fallen = (99.4, 98.4, 98.4)
    opened = scripted.opened(tmp_path, [Made(12, fresh=STANDS), Made(8, fresh=fallen)], seconds=90.0)
    slow(opened, 1)
    opened.verdicts[1] = Verified(passed=True)

    search.choose(opened)

    assert winner_of(tmp_path)["trial"] == 1


def test_an_interrupted_choice_names_nobody(trainer: Trainer, tmp_path: Path):
    opened = scripted.opened(tmp_path, [Made(4, fresh=STANDS)])
    opened.interrupted = True

    search.choose(opened)

    assert scripted.events(tmp_path, "winner") == []
