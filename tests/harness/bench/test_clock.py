"""The simulated clock against a schedule worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.bench.simulation import Reading, SimulatedExecutor, result_of
from harness.training.recipe import Recipe
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job
from harness.training.workers import Finished
from search_spaces.notation import parse_network

JOB = Job(
    architecture=parse_network("conv3x3(4) gap linear(10)"),
    recipe=Recipe(epochs=4),
    recipe_name="short",
    purpose=Purpose.SEARCH,
    seed_index=0,
    trial=0,
)


@dataclass(frozen=True, slots=True)
class Fixed:
    """A training of trial t takes t + 1 seconds an epoch."""

    status: Status = Status.COMPLETE

    def read(self, job: Job, repeat: int) -> Reading:
        pace = (job.trial or 0) + 1
        return Reading(
            "ab" * 6, 86, 28_264, 100, {1: 40, 2: 30, 4: 20}, {e: float(e * pace) for e in (1, 2, 4)}, self.status
        )


def executor(places: int, end: float = 100.0, status: Status = Status.COMPLETE) -> SimulatedExecutor:
    made = SimulatedExecutor(Fixed(status), 0, end)
    made.start(places)
    return made


def ends(made: SimulatedExecutor) -> list[tuple[int | None, float]]:
    events = made.poll(0.5)
    assert all(isinstance(event, Finished) for event in events)
    return [(event.job.trial, made.now()) for event in events]


def finished(made: SimulatedExecutor) -> Result:
    (event,) = made.poll(0.5)
    assert isinstance(event, Finished)
    return event.result


def test_jobs_end_in_the_order_of_a_schedule_by_hand():
    """Trials of 4, 8 and 12 seconds on two workers: 0 and 1 begin at 0, 2 at 4, and a further 0 at 8."""
    made = executor(2)
    made.assign(0, JOB)
    made.assign(1, replace(JOB, trial=1))

    assert ends(made) == [(0, 4.0)]
    made.assign(0, replace(JOB, trial=2))
    assert ends(made) == [(1, 8.0)]
    made.assign(1, JOB)
    assert ends(made) == [(0, 12.0)]
    assert ends(made) == [(2, 16.0)]
    assert made.jobs == {0: None, 1: None}


def test_jobs_that_end_together_are_told_together_in_the_order_of_their_desks():
    made = executor(3)
    for place in (2, 0, 1):
        made.assign(place, replace(JOB, trial=place % 2))

    assert ends(made) == [(0, 4.0), (0, 4.0)]
    assert ends(made) == [(1, 8.0)]


def test_a_run_that_goes_on_from_a_rung_takes_the_difference():
    made = executor(1)
    made.assign(0, replace(JOB, trial=2, until_epoch=1))

    at_rung = finished(made)
    assert (at_rung.status, at_rung.validation_errors, at_rung.train_seconds, made.now()) == ("running", 40, 3.0, 3.0)
    made.assign(0, replace(JOB, trial=2, spent_seconds=3.0))
    whole = finished(made)
    assert (whole.status, whole.validation_errors, whole.train_seconds, made.now()) == ("complete", 20, 12.0, 12.0)


def test_the_clock_stops_at_its_end_and_what_is_at_work_then_has_no_result():
    made = executor(2, end=5.0)
    made.assign(0, JOB)
    made.assign(1, replace(JOB, trial=1))

    assert ends(made) == [(0, 4.0)]
    assert ends(made) == []
    assert made.now() == 5.0
    assert [job.trial for job in made.jobs.values() if job] == [1]


def test_a_job_that_ends_exactly_at_the_end_counts():
    made = executor(1, end=4.0)
    made.assign(0, JOB)

    assert ends(made) == [(0, 4.0)]


def test_a_history_has_an_epoch_each_and_errors_at_the_rungs_only():
    found = result_of(JOB, Fixed().read(JOB, 0))

    assert [(epoch.epoch, epoch.validation_errors) for epoch in found.history] == [(1, 40), (2, 30), (3, None), (4, 20)]
    assert found.validation_accuracy_pct == 80.0


def test_a_run_that_diverged_says_so_at_its_end():
    assert result_of(JOB, Fixed(Status.DIVERGED).read(JOB, 0)).status is Status.DIVERGED
    at_rung = replace(JOB, until_epoch=2)
    assert result_of(at_rung, Fixed(Status.DIVERGED).read(JOB, 0)).status is Status.RUNNING
