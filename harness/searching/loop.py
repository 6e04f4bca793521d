"""The search: one coordinator asks the proposer, rejects, hands runs to workers, prunes, confirms, and names a winner.

Workers only train. What has happened is in the study's log at any moment, so a killed search goes on where it was.
``state`` holds what follows from the log, ``race`` the decisions, ``proposer`` the proposals, ``time_budget`` the time,
``conclude`` the end.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from types import FrameType

from harness.data.datasets import dataset
from harness.searching import race
from harness.searching.external_method import method_of
from harness.searching.finder import Finder, Inquiry
from harness.searching.floor import trials_beside_floor
from harness.searching.proposer import Proposer
from harness.searching.quote import Outlook, quote
from harness.searching.state import Observer, Search
from harness.searching.surrogate.model import Past
from harness.searching.surrogate.past import observations, read_prior, transfer
from harness.searching.time_budget import Effort
from harness.searching.turn import WEIGHTS, turn_of
from harness.studies.candidate import FLOOR, Candidate, standing_front, surest_first
from harness.studies.events import (
    Confirmed,
    FailedConfirmation,
    Looked,
    Quoted,
    RunEnded,
    SessionBegan,
    SessionEnded,
    WinnerChosen,
)
from harness.studies.log import StudyLog
from harness.studies.mirror import write_database
from harness.studies.state import StudyState
from harness.system.errors import HarnessError
from harness.system.machine import handled
from harness.training.executors.base import Broken, ExecutorOf, Source, StretchEnded
from harness.training.executors.processes import Processes
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job, initial_result
from search_spaces.network import Architecture
from search_spaces.notation import parse_space

# The search ends after this number of runs in a row that crashed twice each: the machine is at fault then.
_MOST_CRASHES = 10
# Networks besides the floor by which a search says what is to be expected of it.
_QUOTED_TRAININGS = 7
_POLL_SECONDS = 0.5


def run_search(search: Search, command: list[str]) -> None:
    """Search until time, trials or the space are used up, and choose a winner on validation.

    The winner, if there is one, is the last ``winner`` event; its verification is the caller's (``conclude.conclude``).
    A search that has ended before, with at least as much effort, is left as it is.
    """
    if search.finished:
        search.tick()
        return
    effort = search.effort
    search.add(
        SessionBegan(command=tuple(command), workers=effort.workers, device=effort.device, seconds=effort.seconds)
    )
    with _signals(search):
        try:
            search.executor.start(effort.workers)
            explore(search)
            # Where there was nothing to explore, observers have seen nothing yet.
            search.tick()
            if not search.interrupted:
                choose(search)
        finally:
            search.executor.stop()
        if search.state.ended:
            write_database(search.state, search.folder / "study.db")
        reason = "interrupted" if search.interrupted else search.reason
        search.add(SessionEnded(reason=reason, message=search.exhausted, seconds=effort.seconds, trials=effort.trials))


def open_search(
    state: StudyState,
    effort: Effort,
    source: Source,
    executor_of: ExecutorOf = Processes,
    *,
    floor: Sequence[Architecture] = (),
    observers: Sequence[Observer] = (),
    planned_seconds: float = 0.0,
    is_quoted: bool = False,
) -> Search:
    """Return a search that goes on with a study whose folder is owned; log what stands, if a kill came before that.

    ``floor`` are networks to begin with; ``is_quoted``: a quote follows the next few.
    """
    config = state.config
    data = dataset(config.dataset)
    prior = read_prior(state.folder) or ()
    past = Past(observations(prior, config.recipe, data), transfer(prior, config.recipe))
    space = parse_space(config.space_text, config.space, data.task)
    method = method_of(config, space, effort.workers)
    proposer = method or Proposer(space, config, past=past, floor=floor)
    search = Search(
        state,
        effort,
        executor_of(source, effort.limits),
        proposer,
        data=data,
        log=StudyLog(state.folder),
        observers=observers,
        is_hopeless=method.is_hopeless if method else None,
        planned_seconds=planned_seconds,
        is_quoted=is_quoted,
    )
    if isinstance(proposer, Proposer):
        proposer.retell((entry.event for entry in state.entries), state.candidates)
    _note_standing(search)
    return search


def explore(search: Search) -> None:
    """Propose, train, prune and confirm until something runs out."""
    executor = search.executor
    # Without trials left the search goes on, as its networks still want their fresh seeds.
    reason = _stop_reason(search)
    while not search.interrupted and reason != "time":
        has_submitted = False
        for _ in range(executor.idle()):
            if (job := _next_job(search)) is None:
                continue
            executor.submit(job)
            has_submitted = True
            # A proposal takes seconds, so workers and signals are heard between two of them.
            poll(search, seconds=0.0)
            if search.interrupted:
                break
        if not has_submitted and not search.at_work:
            reason = reason or ("time" if search.lacks_time else "exhausted")
            break
        # What trains faster than it is asked for has ended by now, and nobody else is waited for.
        poll(search, _POLL_SECONDS if search.at_work else 0.0)
        reason = _stop_reason(search)
    search.reason = reason


def poll(search: Search, seconds: float = _POLL_SECONDS) -> None:
    """Wait a moment for the workers, act on what they report, and show where the search is."""
    for event in search.executor.wait(seconds):
        match event:
            case StretchEnded(job, result) if result.status is Status.RUNNING:
                _decide_at_rung(search, job, result)
            case StretchEnded(job, result):
                _end_run(search, job, result)
            case Broken(job, status, message):
                _retry_or_fail(search, job, status, message)
    search.tick()


def _retry_or_fail(search: Search, job: Job, status: Status, message: str) -> None:
    """Run a job again that has crashed once, perhaps by the machine's fault; time and memory would run out again."""
    run = (job.trial, job.purpose, job.seed_index)
    search.broken[run] += 1
    if status is Status.CRASHED and search.broken[run] == 1:
        search.waiting.append(job)
    else:
        result = initial_result(job, search.data)
        _end_run(search, job, replace(result, status=status, message=message))


def choose(search: Search) -> WinnerChosen | None:
    """Note and return the winner: the smallest network that stands and can still be verified; the first if none can.

    A network whose verification has missed is passed over, and the next one has more to spare; one that has met the
    target takes no further time. Where none stands it is the one most likely to be verified of those that reach the
    target on fresh seeds. Once a study has verified as many networks as it may (``race.may_look``), only verified ones
    are left.
    """
    verdicts = search.state.verdicts
    candidates = search.state.candidates.values()
    may_look = race.may_look(search.state)

    def is_eligible(candidate: Candidate) -> bool:
        verdict = verdicts.get(candidate.proposal.trial)
        if verdict is None:
            return candidate.is_confirmed and may_look
        return verdict.passed is not False

    choices = sorted(filter(is_eligible, candidates), key=lambda each: each.order)
    if search.config.is_front:
        # The caller asks again after each verification: for the others of the front, and at last for the cheapest one.
        front = standing_front(choices)
        choices = sorted(front, key=lambda each: (each.proposal.trial in verdicts, each.order))
    elif not choices and may_look:
        choices = search.likeliest()
    elif search.state.missed and not any(each.proposal.trial in verdicts for each in choices):
        choices = surest_first(choices)
    if not choices:
        return None
    in_time = (
        each for each in choices if each.proposal.trial in verdicts or search.least_verify_seconds(each) <= search.left
    )
    winner = WinnerChosen(**next(in_time, choices[0]).on_fresh_seeds)
    search.add(winner)
    return winner


def _stop_reason(search: Search) -> str:
    if search.left <= search.closing_seconds():
        return "time"
    trials = trials_beside_floor(search.state.candidates.values())
    if search.effort.trials is not None and trials >= search.effort.trials:
        return "trials"
    return ""


def _next_job(search: Search) -> Job | None:
    if search.waiting:
        return search.waiting.pop(0)
    # The job of another worker may have taken the last trial since ``explore`` looked.
    explored = _stop_reason(search) == "trials" or bool(search.exhausted)
    if (candidate := _confirmable(search, explored=explored)) is not None:
        return search.job(candidate, Purpose.CONFIRM, search.free_index(candidate))
    return None if explored else _propose(search)


def _propose(search: Search) -> Job | None:
    """Log the next proposal and return the job of its first run; a front is exhausted when no weights have one left."""
    for number in range(len(WEIGHTS) if search.config.is_front else 1):
        if number:
            search.turn = turn_of(search.config, len(search.state.candidates) + number)
        inquiry = Inquiry(search.ceiling, search.state.candidates, search.time_left(), search.turn.objective)
        answer = search.proposer.propose(inquiry)
        for event in answer.skipped_events:
            search.add(event)
        if answer.proposal is not None:
            break
    if answer.proposal is None:
        # The answer would be the same until another run has ended.
        search.exhausted = answer.why
        search.lacks_time = answer.lacks_time
        return None
    search.add(answer.proposal)
    if answer.unproposed_counts:
        search.add(Looked(rejected=dict(answer.unproposed_counts)))
    return search.job(search.state.candidates[answer.proposal.trial], Purpose.SEARCH, 0)


def _confirmable(search: Search, *, explored: bool) -> Candidate | None:
    """Return the network to give its next fresh seed, or None.

    While one stands, at most half of the workers confirm others, unless one of these is likely to stand, its time is
    short, or nothing is left to explore (``explored``).
    """
    half = max(1, search.workers // 2)
    being_confirmed = Counter(job.trial or 0 for job in search.at_work if job.purpose is Purpose.CONFIRM)

    def most_worth(candidates: list[Candidate]) -> Candidate | None:
        return race.next_to_confirm(candidates, search.turn, being_confirmed, search.run_seconds)

    # A network that is still in its first training wants no fresh seeds yet.
    candidates = [each for each in search.state.contenders.values() if each.first is not None]
    workers = search.workers
    candidate = most_worth([each for each in candidates if search.remaining_seconds(each, workers) <= search.left])
    if search.state.standing is None:
        # A network that stands without a verification is an answer, too: the same command with more time verifies it.
        return candidate or most_worth(candidates)
    if candidate is None or explored:
        return candidate
    is_likely = candidate.chance_to_stand >= race.LIKELY
    is_late = search.remaining_seconds(candidate, half) > search.left
    return candidate if being_confirmed.total() < half or is_likely or is_late else None


def _decide_at_rung(search: Search, job: Job, result: Result) -> None:
    threshold_pct = search.config.threshold_pct
    rung = race.at_rung(result, search.state.ratios, threshold_pct, search.is_hopeless)
    search.add(rung)
    if not rung.pruned:
        until = race.next_rung(search.config, job.recipe.epochs, rung.epoch)
        search.waiting.insert(0, replace(job, until_epoch=until, spent_seconds=result.train_seconds))
        return
    why = "by another rule"
    if search.is_hopeless is None:
        why = f"after epoch {rung.epoch}, one training in ten would reach {rung.predicted_pct:.4f} % or more; "
        why += f"the threshold is {threshold_pct:.4f} %"
    _end_run(search, job, replace(result, status=Status.PRUNED, message=why))


def _end_run(search: Search, job: Job, result: Result) -> None:
    """Log a run that has ended, tell the proposer, log what stands or has failed now, and stop after many crashes."""
    assert job.trial is not None, "every run of a search belongs to a trial"
    candidate = search.state.candidates[job.trial]
    was_open = not candidate.is_refuted
    search.add(RunEnded(run=result))
    if job.checkpoint is not None:
        job.checkpoint.unlink(missing_ok=True)
    # With this result the proposer may find another network worth training after all.
    search.exhausted = ""
    search.crashes_in_a_row = search.crashes_in_a_row + 1 if result.status is Status.CRASHED else 0
    if job.purpose is Purpose.SEARCH:
        search.proposer.tell(candidate)
    is_revoked = job.trial in search.state.confirmations and not candidate.is_confirmed
    if is_revoked or (was_open and candidate.is_refuted):
        search.add(FailedConfirmation(**candidate.on_fresh_seeds))
    _note_standing(search)
    _quote_if_due(search)
    if search.crashes_in_a_row == _MOST_CRASHES:
        raise HarnessError(f"{_MOST_CRASHES} runs in a row crashed, the last one with: {result.message}")


def _note_standing(search: Search) -> None:
    """Log as confirmed the network that stands, or all that stand on a front, unless they are logged already."""
    standing = [] if search.state.standing is None else [search.state.standing]
    if search.config.is_front:
        standing = standing_front(search.state.contenders.values())
    for candidate in standing:
        if candidate.proposal.trial not in search.state.confirmations:
            budget = None if search.config.is_front else candidate.cost - 1
            search.add(Confirmed(**candidate.on_fresh_seeds, budget=budget))


def _quote_if_due(search: Search) -> None:
    """Log what is to be expected of a search, once, when its first networks besides the floor have been trained."""
    proposer = search.proposer
    if not search.is_quoted or not isinstance(proposer, Proposer) or search.state.of_kind(Quoted):
        return
    candidates = search.state.candidates.values()
    trained = [each for each in candidates if each.first is not None and each.proposal.origin != FLOOR]
    if len(trained) < _QUOTED_TRAININGS:
        return
    inquiry = Inquiry(search.turn.ceiling, search.state.candidates, search.time_left(), search.turn.objective)
    search.add(quote(Outlook(Finder(proposer.space, search.config, inquiry, proposer.past))))


def _signals(search: Search) -> AbstractContextManager[None]:
    def on_signal(number: int, frame: FrameType | None) -> None:
        if search.interrupted:
            raise KeyboardInterrupt
        search.interrupted = True

    return handled({signal.SIGINT: on_signal, signal.SIGTERM: on_signal})
