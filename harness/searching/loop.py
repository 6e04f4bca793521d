"""Main loop of a search: propose candidates, submit runs to workers, prune, confirm, and choose a winner.

A single coordinator makes all decisions; workers only train. Each event is in the log of the study before the next
decision, so a killed search can be resumed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from harness.searching import scheduler
from harness.searching.baselines import trials_beside_baselines
from harness.searching.forecast import forecast_of
from harness.searching.proposer import Proposer
from harness.searching.samplers import method_of
from harness.searching.scheduler import WEIGHTS, turn_at
from harness.searching.search_state import Observer, Search
from harness.searching.surrogate.prior import knowledge, read_prior
from harness.searching.time_budget import FEW_IMAGES, Effort
from harness.spaces.network import Architecture
from harness.studies import events
from harness.studies.candidate import BASELINE, Candidate, confirmed_front, study_space, surest_first
from harness.studies.events import EndReason, SessionBegan
from harness.studies.log import StudyLog
from harness.studies.study_state import StudyState
from harness.system.errors import HarnessError
from harness.system.interruption import asked
from harness.training.executors.base import DataLocation, ExecutorFactory, JobEnded, JobFailed, WorkerEvent, feed
from harness.training.executors.processes import Processes
from harness.training.result import Purpose, Result, Status
from harness.training.run import Job

# From this chance, a candidate's fresh seeds may occupy all workers; below, at most half.
_LIKELY = 0.5
# Consecutive runs that crash twice each, for which the machine is the likely cause.
_MAX_CRASHES = 10
_FORECAST_TRAININGS = 7  # beside baselines and shortened runs, before the search logs a forecast


def run_search(search: Search, command: list[str]) -> None:
    """Search until the time, the trials or the space are exhausted, and choose a winner by the validation images.

    The winner, if any, is the last ``WinnerChosen`` event. A search that is ``Search.finished`` is not continued.
    """
    if search.finished:
        search.tick()
        return
    effort = search.effort
    search.add(
        SessionBegan(command=tuple(command), workers=effort.workers, device=effort.device, seconds=effort.seconds)
    )
    with asked(partial(setattr, search, "interrupted", True)):
        try:
            search.executor.start(effort.workers)
            explore(search)
            # ``explore`` may return before the first tick.
            search.tick()
            if not search.interrupted:
                choose(search)
        finally:
            search.executor.stop()
        reason = EndReason.INTERRUPTED if search.interrupted else search.end_reason
        assert reason is not None, "the end of a search has a reason"
        message = search.why_no_proposal
        search.add(events.SessionEnded(reason=reason, message=message, seconds=effort.seconds, trials=effort.trials))


def open_search(
    state: StudyState,
    effort: Effort,
    source: DataLocation,
    make_executor: ExecutorFactory = Processes,
    *,
    baselines: Sequence[Architecture] = (),
    observers: Sequence[Observer] = (),
    planning_seconds: float = 0.0,
    logs_forecast: bool = False,
) -> Search:
    """Return a search on a new or continued study; the caller holds the lock of its folder (``locked_folder``).

    A confirmation that a killed session has not logged is logged now.

    Args:
        planning_seconds: Seconds spent on planning, counted as time of the search.
        logs_forecast: Log a forecast (``SearchForecast``) after the first ``_FORECAST_TRAININGS`` trainings.
    """
    config = state.config
    prior = knowledge(read_prior(state.folder) or (), config.recipe, state.data)
    space = study_space(config, state.data.task)
    method = method_of(config, space, effort.workers)
    has_short_runs = state.data.train_size < FEW_IMAGES
    proposer = method or Proposer(space, config, prior=prior, baselines=baselines, has_short_runs=has_short_runs)
    search = Search(
        state,
        effort,
        make_executor(source, effort.limits),
        proposer,
        data=state.data,
        log=StudyLog(state.folder),
        observers=observers,
        is_hopeless=method.is_hopeless if method else None,
        planning_seconds=planning_seconds,
        logs_forecast=logs_forecast,
    )
    if isinstance(proposer, Proposer):
        proposer.restore((entry.event for entry in state.entries), state.candidates)
    _log_incumbent(search)
    return search


def explore(search: Search) -> None:
    """Propose, train, prune and confirm candidates until the time, the trials or the space are exhausted."""

    def is_over() -> bool:
        # Candidates may still need fresh seeds when the limit of the trials is reached.
        return search.interrupted or _stop_reason(search) is EndReason.TIME

    for worker_events in feed(search.executor, lambda: _next_job(search), is_over):
        _on_worker_events(search, worker_events)
    if not search.interrupted:
        _forecast_if_due(search)
    search.end_reason = _stop_reason(search) or (EndReason.TIME if search.lacks_time else EndReason.EXHAUSTED)


def _on_worker_events(search: Search, worker_events: Sequence[WorkerEvent]) -> None:
    # In the seconds of the forecast, idle workers would wait.
    if not search.interrupted and all(slot.job is not None for slot in search.executor.slots()):
        _forecast_if_due(search)
    for event in worker_events:
        match event:
            case JobEnded(job, result) if result.status is Status.RUNNING:
                _decide_at_rung(search, job, result)
            case JobEnded(job, result):
                _end_run(search, job, result)
            case JobFailed():
                _retry_or_fail(search, event)
    search.tick()


def _retry_or_fail(search: Search, failure: JobFailed) -> None:
    job = failure.job
    run = (job.trial, job.purpose, job.seed_index)
    search.failures[run] += 1
    if failure.status is Status.CRASHED and search.failures[run] == 1:
        search.waiting.append(job)
    else:
        result = replace(job.initial_result(search.data), status=failure.status, message=failure.message)
        _end_run(search, job, result, failure.error_type)


def choose(search: Search) -> events.WinnerChosen | None:
    """Log and return the winner: the first candidate whose verification fits the time left, else the first of all.

    Eligible are verified candidates that did not miss the target, which take no further time, and confirmed candidates
    without a verification, as long as ``scheduler.may_look`` allows a further verification. The order is:

    - by cost;
    - after a missed verification, if no eligible candidate is verified, by ``surest_first``;
    - for two metrics, the Pareto front with unverified candidates first.

    If none is eligible and ``scheduler.may_look`` allows a verification, the unconfirmed candidates that reach the
    target on fresh seeds are ordered by the probability that they pass the verification (``Search.likeliest``).

    Returns:
        The winner; None without a candidate.
    """
    verdicts = search.state.verdicts
    may_look = scheduler.may_look(search.state)

    def is_eligible(candidate: Candidate) -> bool:
        verdict = verdicts.get(candidate.proposal.trial)
        if verdict is None:
            return candidate.is_confirmed and may_look
        return verdict.passed is not False

    choices = sorted(filter(is_eligible, search.state.candidates.values()), key=lambda each: each.order)
    if search.config.is_front:
        # ``conclude`` calls again after each verification.
        front = confirmed_front(choices)
        choices = sorted(front, key=lambda each: (each.proposal.trial in verdicts, each.order))
    elif not choices and may_look:
        choices = search.likeliest()
    elif search.state.missed_trials and not any(each.proposal.trial in verdicts for each in choices):
        choices = surest_first(choices)
    if not choices:
        return None
    in_time = [each for each in choices if each.proposal.trial in verdicts or search.is_in_time(each)]
    if not in_time and may_look:
        in_time = list(filter(search.is_in_time, search.likeliest()))
    winner = events.WinnerChosen(**next(iter(in_time), choices[0]).on_fresh_seeds)
    search.add(winner)
    return winner


def _stop_reason(search: Search) -> EndReason | None:
    """Return the reached limit, with the time of the verification reserved; None if no limit is reached."""
    if search.seconds_left <= search.closing_seconds():
        return EndReason.TIME
    trials = trials_beside_baselines(search.state.candidates.values())
    if search.effort.trials is not None and trials >= search.effort.trials:
        return EndReason.TRIALS
    return None


def _next_job(search: Search) -> Job | None:
    if search.interrupted:
        return None
    if search.waiting:
        return search.waiting.pop(0)
    # An earlier job of the same pass through the idle workers may have used the last trial.
    has_all_proposals = _stop_reason(search) is EndReason.TRIALS or bool(search.why_no_proposal)
    candidate = _confirmable(search, has_all_proposals=has_all_proposals)
    if candidate is not None:
        return search.job(candidate, Purpose.CONFIRM, search.free_index(candidate))
    return None if has_all_proposals else _propose(search)


def _propose(search: Search) -> Job | None:
    """For two metrics, try all weights before giving up."""
    turns = len(WEIGHTS) if search.config.is_front else 1
    for number in range(turns):
        if number:
            search.turn = turn_at(search.config, len(search.state.candidates) + number)
        answer = search.proposer.propose(search.inquiry(search.max_cost))
        for event in answer.rejected_proposals:
            search.add(event)
        if answer.proposal is not None:
            break
    if answer.proposal is None:
        # A further run that ends resets ``why_no_proposal``.
        search.why_no_proposal = answer.why_no_proposal
        search.lacks_time = answer.lacks_time
        return None
    search.add(answer.proposal)
    if answer.rejected_draws:
        search.add(events.DrawsRejected(rejected=dict(answer.rejected_draws)))
    return search.job(search.state.candidates[answer.proposal.trial], Purpose.SEARCH, 0)


def _confirmable(search: Search, *, has_all_proposals: bool) -> Candidate | None:
    """Return the candidate for the next run on a fresh seed, or None.

    With an incumbent, at most half of the workers run confirmations, unless the candidate is likely to be confirmed,
    the time left would not suffice with half of the workers, or no proposals are left. Without an incumbent, a
    candidate is confirmed even if the time left does not suffice for its verification.
    """
    half = max(1, search.workers // 2)
    confirmation_jobs = [job for job in search.at_work if job.purpose is Purpose.CONFIRM]
    being_confirmed = Counter(job.trial for job in confirmation_jobs if job.trial is not None)

    def most_valuable(candidates: list[Candidate]) -> Candidate | None:
        return scheduler.next_to_confirm(candidates, search.turn, being_confirmed, search.run_seconds)

    # Candidates in the first run need no fresh seeds yet.
    candidates = [each for each in search.state.contenders.values() if each.first_run is not None]
    in_time = [each for each in candidates if search.remaining_seconds(each, search.workers) <= search.seconds_left]
    candidate = most_valuable(in_time)
    if search.state.incumbent is None:
        # A later session can verify the confirmed candidate.
        return candidate or most_valuable(candidates)
    if candidate is None or has_all_proposals:
        return candidate
    is_likely = candidate.chance_to_confirm >= _LIKELY
    is_late = search.remaining_seconds(candidate, half) > search.seconds_left
    return candidate if being_confirmed.total() < half or is_likely or is_late else None


def _decide_at_rung(search: Search, job: Job, result: Result) -> None:
    """The next part of the run precedes all waiting jobs."""
    rung = scheduler.at_rung(result, search.state.ratios, search.config.threshold_pct, search.is_hopeless)
    shorter_epochs = _shorter_epochs(search, rung.trial, result)
    if shorter_epochs is not None:
        search.add(replace(rung, pruned=False, exempt=False, shorter_epochs=shorter_epochs))
        message = f"the threshold is reached at epoch {rung.epoch}; a training of {shorter_epochs} epochs follows"
        _end_run(search, job, replace(result, status=Status.SHORTENED, message=message))
        return
    search.add(rung)
    if not rung.pruned:
        until = scheduler.next_rung(search.config, job.recipe.epochs, rung.epoch)
        search.waiting.insert(0, replace(job, until_epoch=until, spent_seconds=result.train_seconds))
        return
    message = "by the rule of the method"
    if search.is_hopeless is None:
        message = f"after epoch {rung.epoch}, the 90 % quantile of the predicted accuracy is "
        message += f"{rung.predicted_pct:.4f} %, below the threshold of {search.config.threshold_pct:.4f} %"
    _end_run(search, job, replace(result, status=Status.PRUNED, message=message))


def _shorter_epochs(search: Search, trial: int, result: Result) -> int | None:
    """Return the epochs of a shorter training in place of the first run of a trial at a rung; None if the run goes on.

    Only without an incumbent, as smaller networks need longer trainings, and without a limit of trials, as the rule
    saves time and not trials. Only the default proposer trains networks again. A decision in the log stands, so that a
    search that was killed before the end of the run decides as before, unless no trial is left for the shorter
    training.
    """
    if _stop_reason(search) is EndReason.TRIALS:
        return None
    candidates = search.state.candidates
    logged_epochs = candidates[trial].shorter_epochs
    has_rule = search.is_hopeless is None and isinstance(search.proposer, Proposer)
    is_due = has_rule and search.state.incumbent is None and search.effort.trials is None
    if logged_epochs is not None or not is_due:
        return logged_epochs
    return scheduler.shorter_epochs(result, candidates[trial], candidates.values(), search.config)


def _end_run(search: Search, job: Job, result: Result, error_type: type[HarnessError] = HarnessError) -> None:
    """Log an ended run and the resulting confirmation or refutation, and inform the proposer.

    Raises:
        HarnessError: ``_MAX_CRASHES`` consecutive runs have crashed; of the class ``error_type`` of the last crash.
    """
    assert job.trial is not None, "every run of a search belongs to a trial"
    candidate = search.state.candidates[job.trial]
    was_refuted = candidate.is_refuted
    search.add(events.RunEnded(run=result))
    if job.checkpoint is not None:
        job.checkpoint.unlink(missing_ok=True)
    # With this result the proposer may find a further network.
    search.why_no_proposal = ""
    search.crashes_in_a_row = search.crashes_in_a_row + 1 if result.status is Status.CRASHED else 0
    if job.purpose is Purpose.SEARCH:
        search.proposer.tell(candidate)
    is_revoked = job.trial in search.state.confirmations and not candidate.is_confirmed
    if is_revoked or (candidate.is_refuted and not was_refuted):
        search.add(events.FailedConfirmation(**candidate.on_fresh_seeds))
    _log_incumbent(search)
    if search.crashes_in_a_row == _MAX_CRASHES:
        raise error_type(f"{_MAX_CRASHES} consecutive runs crashed; the last error: {result.message}")


def _log_incumbent(search: Search) -> None:
    """For two metrics, the whole front is confirmed."""
    # For a single metric, the front is the incumbent.
    for candidate in confirmed_front(search.state.contenders.values()):
        if candidate.proposal.trial not in search.state.confirmations:
            budget = None if search.config.is_front else candidate.cost - 1
            search.add(events.Confirmed(**candidate.on_fresh_seeds, budget=budget))


def _forecast_if_due(search: Search) -> None:
    proposer = search.proposer
    if not search.logs_forecast or not isinstance(proposer, Proposer) or search.state.of_kind(events.SearchForecast):
        return  # methods of users have no surrogate model
    runs = [each.first_run for each in search.state.candidates.values() if each.proposal.origin != BASELINE]
    # A shortened run and its replacement count once.
    if sum(run is not None and run.status is not Status.SHORTENED for run in runs) < _FORECAST_TRAININGS:
        return
    inquiry = search.inquiry(search.turn.limit)
    # The forecast may be due when the time for the choice of networks is over.
    inquiry = replace(inquiry, time_left=replace(inquiry.time_left, is_over=lambda: False))
    search.add(forecast_of(proposer.finder(inquiry)))
