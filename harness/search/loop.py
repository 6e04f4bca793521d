"""The search: one coordinator asks the proposer, rejects, hands runs to workers, prunes, confirms, and names a winner.

Workers only train. What has happened is in the study's folder at any moment, so a killed search goes on where it was.
``resume`` reads what earlier sessions left, ``session`` holds the state, ``pruning`` and ``race`` the decisions,
``propose`` the proposals, ``clock`` the time, ``study`` the files.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from harness.data.datasets import dataset
from harness.evidence import study
from harness.evidence.events import (
    Confirmed,
    FailedConfirmation,
    Looked,
    Rejected,
    Repeated,
    SessionBegan,
    SessionEnded,
    WinnerChosen,
)
from harness.evidence.study import StudyConfig
from harness.search import optuna_sampler, pruning, race
from harness.search.clock import Effort
from harness.search.propose import Proposer
from harness.search.race import CONFIRM_SEEDS, Candidate
from harness.search.resume import open_session
from harness.search.session import (
    Moment,
    Session,
    Watcher,
    closing_seconds,
    confirmed,
    enter_result,
    free_index,
    job_for,
    jobs_at_work,
    least_verify_seconds,
    look_for_nearest,
    note,
    note_finished,
    remaining_seconds,
    run_seconds,
    summary_of,
    time_left,
    trial_of,
    update_contenders,
)
from harness.system.errors import HarnessError
from harness.training.executor import Broken, Event, ExecutorOf, Finished, Source
from harness.training.processes import Processes
from harness.training.result import Purpose, Result, Status, derive_seed
from harness.training.run import Job
from search_spaces.cost import analyse

# Runs that crash one after the other tell of the machine, not of the networks.
MOST_CRASHES = 10
_POLL_SECONDS = 0.5


def poll(session: Session, seconds: float = _POLL_SECONDS) -> None:
    """Wait a moment for the workers, act on what they report, and show where the search is."""
    for event in session.executor.wait(seconds):
        _on_event(session, event)
    show(session)


def show(session: Session) -> None:
    """Show where the search is to whoever watches it."""
    places = session.executor.places()
    at = Moment(
        elapsed=session.elapsed,
        standing=session.standing,
        nearest=session.nearest,
        jobs=tuple(place.job for place in places),
        nodes=tuple(place.node for place in places),
    )
    session.reporter.tick(at)


def _on_event(session: Session, event: Event) -> None:
    match event:
        case Finished(job, found) if found.status is Status.RUNNING:
            _at_rung(session, job, found)
        case Finished(job, found):
            _ended(session, job, found)
        case Broken():
            _on_broken(session, event)


def _at_rung(session: Session, job: Job, found: Result) -> None:
    rung = pruning.at_rung(found, session.ratios, session.config.threshold_pct, session.is_hopeless)
    note(session, rung)
    if rung.pruned:
        own_rule = session.is_hopeless is not None
        why = "by another rule" if own_rule else pruning.why_pruned(rung, session.config.threshold_pct)
        _ended(session, job, replace(found, status=Status.PRUNED, message=why))
    else:
        until = pruning.next_rung(session.config, job.recipe.epochs, rung.epoch)
        session.waiting.insert(0, replace(job, until_epoch=until, spent_seconds=found.train_seconds))


def _ended(session: Session, job: Job, found: Result) -> None:
    candidate = session.candidates[trial_of(job)]
    before = session.standing
    open_before = not race.refuted(candidate, session.config.threshold_pct)
    session.log.keep(trial_of(job), found)
    enter_result(session, found)
    update_contenders(session, candidate)
    look_for_nearest(session)
    if job.checkpoint is not None:
        job.checkpoint.unlink(missing_ok=True)
    note_finished(session, found)
    # What is known has changed, so there may be another network worth training after all.
    session.exhausted = ""
    session.crashed = session.crashed + 1 if found.status is Status.CRASHED else 0
    if job.purpose is Purpose.SEARCH:
        session.proposer.tell(candidate.proposal.trial, race.outcome(candidate, session.config.threshold_pct))
    decided = _note_decision(session, candidate, before, open_before=open_before)
    session.reporter.ended(candidate, found, decided)
    if session.crashed == MOST_CRASHES:
        raise HarnessError(f"{MOST_CRASHES} runs in a row crashed, the last one with: {found.message}")


def _note_decision(
    session: Session, candidate: Candidate, before: Candidate | None, *, open_before: bool
) -> Confirmed | FailedConfirmation | None:
    threshold_pct = session.config.threshold_pct
    decided: Confirmed | FailedConfirmation | None = None
    has_fallen = candidate is before and not race.is_confirmed(candidate, threshold_pct)
    if has_fallen or (open_before and race.refuted(candidate, threshold_pct)):
        decided = FailedConfirmation(**summary_of(candidate))
        note(session, decided)
    after = session.standing
    if after is None or after is before:
        return decided
    note(session, smaller := confirmed(after))
    return smaller if after is candidate else decided


def _on_broken(session: Session, event: Broken) -> None:
    job = event.job
    key = (trial_of(job), job.purpose.value, job.seed_index)
    session.broken[key] = session.broken.get(key, 0) + 1
    if event.status is Status.CRASHED and session.broken[key] == 1:
        session.waiting.append(job)
        return
    proposal = session.candidates[trial_of(job)].proposal
    task = dataset(session.config.dataset).task
    found = Result(
        architecture=proposal.architecture,
        hash=proposal.hash,
        parameters=proposal.parameters,
        macs=analyse(proposal.architecture, task).macs,
        recipe=job.recipe,
        recipe_name=job.recipe_name,
        recipe_hash=job.recipe.hash,
        dataset=session.config.dataset,
        purpose=job.purpose,
        seed_index=job.seed_index,
        seed=derive_seed(proposal.hash, job.recipe.hash, job.purpose, job.seed_index, job.study_seed),
        status=event.status,
        message=event.message,
        study=session.folder.name,
        trial=proposal.trial,
        decisions=proposal.decisions,
    )
    _ended(session, job, found)


def explore(session: Session) -> None:
    """Propose, train, prune and confirm until something runs out."""
    while not session.interrupted:
        session.reason = _stop_reason(session)
        if session.reason == "time":
            break
        begun = _begin(session)
        if not begun and not jobs_at_work(session):
            session.reason = session.reason or ("time" if session.lacks_time else "exhausted")
            break
        poll(session)
    if session.interrupted:
        session.reason = "interrupted"


def _begin(session: Session) -> bool:
    begun = False
    for _ in range(session.executor.idle()):
        if (job := _next_job(session)) is None:
            continue
        session.executor.submit(job)
        begun = True
        # A proposal takes seconds: those at work are heard in between, and so is whoever ends the search.
        poll(session, seconds=0.0)
        if session.interrupted:
            break
    return begun


def _stop_reason(session: Session) -> str:
    if session.left <= closing_seconds(session):
        return "time"
    if session.effort.trials is not None and len(session.candidates) >= session.effort.trials:
        return "trials"
    return ""


def _next_job(session: Session) -> Job | None:
    if session.waiting:
        return session.waiting.pop(0)
    # Of several workers the first may have taken the last trial.
    explored = _stop_reason(session) == "trials" or bool(session.exhausted)
    if (candidate := _confirmable(session, explored=explored)) is not None:
        return job_for(session, candidate, Purpose.CONFIRM, free_index(session, candidate))
    return None if explored else _propose(session)


def _confirmable(session: Session, *, explored: bool) -> Candidate | None:
    workers, half = session.workers, max(1, session.workers // 2)
    flying = Counter(trial_of(job) for job in jobs_at_work(session) if job.purpose is Purpose.CONFIRM)
    stands = session.standing is not None
    # One that is still in its first training wants no fresh seeds yet.
    candidates = [each for each in session.contenders.values() if each.first is not None]
    in_time = [item for item in candidates if remaining_seconds(session, item, workers) <= session.left]
    candidate = _next(session, in_time, flying)
    if candidate is None and not stands:
        # What stands without being verified is still an answer: the same command with more time verifies it.
        candidate = _next(session, candidates, flying)
    if candidate is None or explored or not stands:
        return candidate
    is_likely = race.chance_to_stand(candidate, session.config.threshold_pct) >= race.LIKELY
    is_late = remaining_seconds(session, candidate, half) > session.left
    return candidate if flying.total() < half or is_likely or is_late else None


def _next(session: Session, candidates: list[Candidate], flying: Counter[int]) -> Candidate | None:
    threshold_pct, ceiling = session.config.threshold_pct, session.config.ceiling
    return race.next_to_confirm(candidates, threshold_pct, ceiling, flying, lambda each: run_seconds(session, each))


def _propose(session: Session) -> Job | None:
    found = session.proposer.propose(_ceiling(session), session.candidates, time_left(session))
    for passed in found.passed:
        match passed:
            case Rejected():
                session.reporter.rejected += 1
            case Repeated(trial=trial):
                session.candidates[trial].repeats += session.switches.repeats
                update_contenders(session, session.candidates[trial])
        note(session, passed)
    if found.proposal is None:
        # There is no use in asking again before another run has ended.
        session.exhausted, session.lacks_time = found.why, found.lacks_time
        return None
    candidate = race.candidate_of(session.config, found.proposal, CONFIRM_SEEDS if session.switches.confirmation else 0)
    session.candidates[found.proposal.trial] = candidate
    update_contenders(session, candidate)
    note(session, found.proposal)
    if found.rejected:
        note(session, Looked(rejected=dict(found.rejected)))
        session.reporter.rejected += sum(found.rejected.values())
    return job_for(session, candidate, Purpose.SEARCH, 0)


def _ceiling(session: Session) -> int:
    standing = session.standing if session.switches.falling_budget else None
    return session.config.ceiling if standing is None else min(session.config.ceiling, standing.cost - 1)


def run_search(
    folder: Path,
    config: StudyConfig,
    effort: Effort,
    source: Source,
    reporter: Watcher,
    command: list[str],
    executor_of: ExecutorOf = Processes,
) -> Session:
    """Search until time, trials or the space are used up, choose a winner on validation, and return the session.

    The winner, if there is one, is the last ``winner`` event of the journal; its verification is the caller's.
    A search that has come to its end with no less effort is left as it is.

    Raises:
        KeyboardInterrupt: a second Ctrl-C or SIGTERM came before the first had ended the search in order.
        DataError: the data went away while workers wanted them.
        StorageError: a file cannot be written; no run has that for its outcome, so the same command goes on.
        HarnessError: run after run crashed.
    """
    study.mend(folder)
    session = open_session(folder, config, effort, source, reporter, executor_of)
    if session.finished:
        show(session)
        return session
    began = SessionBegan(command=tuple(command), workers=effort.workers, device=effort.device, seconds=effort.seconds)
    note(session, began)
    with _signals(session):
        try:
            session.executor.start(effort.workers)
            explore(session)
            # There may have been nothing to explore: then nothing has been shown yet.
            show(session)
            if not session.interrupted:
                choose(session)
        finally:
            session.executor.stop()
        assert isinstance(session.proposer, Proposer), "a study's networks are the sampler's"
        if session.proposer.index.study.trials:
            optuna_sampler.write_database(session.proposer.index, folder / "study.db")
        if session.interrupted:
            session.reason = "interrupted"
        ended = SessionEnded(
            reason=session.reason, message=session.exhausted, seconds=effort.seconds, trials=effort.trials
        )
        note(session, ended)
    return session


def choose(session: Session) -> WinnerChosen | None:
    """Note and return the winner: the smallest network that stands and can still be verified; the smallest if none can.

    One whose verification has missed is passed over; one that has met the target takes no further time.
    """
    if session.interrupted:
        return None

    def is_open(candidate: Candidate) -> bool:
        verdict = session.verdicts.get(candidate.proposal.trial)
        stands = race.is_confirmed(candidate, session.config.threshold_pct)
        return stands if verdict is None else verdict.passed is True

    open_ = sorted(filter(is_open, session.candidates.values()), key=race.by_cost)
    in_time = [
        item
        for item in open_
        if item.proposal.trial in session.verdicts or least_verify_seconds(session, item) <= session.left
    ]
    if not open_:
        return None
    winner = WinnerChosen(**summary_of((in_time or open_)[0]))
    note(session, winner)
    return winner


@contextmanager
def _signals(session: Session) -> Iterator[None]:
    def on_signal(number: int, frame: FrameType | None) -> None:
        if session.interrupted:
            raise KeyboardInterrupt
        session.interrupted = True

    kept = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
