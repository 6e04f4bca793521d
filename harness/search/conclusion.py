"""What ends a search: its winner is verified on the test set, once, and ranked; another network where it misses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from harness.evidence import study
from harness.evidence.events import Entry, Event, Postponed, Verified, WinnerChosen, of_kind
from harness.evidence.leaderboard import refresh
from harness.evidence.record import Found
from harness.evidence.verify import Plan, Verdict, finished_indices, forget, recorded_verdict, run_seeds
from harness.search.clock import VERIFY_FACTOR, verify_seeds
from harness.search.loop import choose
from harness.search.run_plan import SearchPlan
from harness.search.session import Session, least_verify_seconds, note, verify_seconds
from harness.system.terminal import counted, duration_text
from harness.training import executor
from search_spaces.space import size_text


def conclude(
    plan: SearchPlan,
    session: Session,
    on_event: Callable[[executor.Event], None] = lambda event: None,
    say: Callable[[str], None] = lambda line: None,
) -> Verdict | None:
    """Verify the study's winner and rewrite the leaderboard; where it misses, verify a second network.

    That is the smallest other one that stands and for which there is time. A network is verified once, whatever came
    of it: one that was verified in an earlier session is not verified again. ``on_event`` sees how the seeds go on.

    Returns:
        the last verdict; None where the search named no winner, or where too little time is left to verify it. Where
        time is lacking, for the first or the second one, the last event of the log is ``Postponed``.
    """
    verdict = _verify_winner(plan, session, on_event, say)
    if verdict is not None and not verdict.passed and (second := choose(session)) is not None:
        say(f"missed: {verdict.record.parameters:,} parameters; next: {second.parameters:,} parameters")
        verdict = _verify_winner(plan, session, on_event, say) or verdict
    refresh(plan.workspace)
    return verdict


def _verify_winner(
    plan: SearchPlan, session: Session, on_event: Callable[[executor.Event], None], say: Callable[[str], None]
) -> Verdict | None:
    events = study.read_events(plan.folder)
    winners = of_kind(events, WinnerChosen)
    if not winners:
        return None
    winner = winners[-1].event
    attempt = 1 + len(session.verdicts.keys() - {winner.trial})
    verification = _verification(plan, winner, events, attempt)
    recorded = recorded_verdict(verification, plan.workspace)
    # A record can be taken away; then the seeds are run again.
    if winner.trial in session.verdicts and recorded.runs:
        # A kill after the note may have left the rest undone.
        forget(verification, plan.workspace)
        return recorded
    open_seeds = len(verification.indices) - len(finished_indices(verification, plan.workspace))
    candidate = session.candidates[winner.trial]
    needed = verify_seconds(session, candidate, open_seeds)
    if open_seeds and session.left < least_verify_seconds(session, candidate, open_seeds):
        note(session, Postponed(hash=winner.hash, parameters=winner.parameters, seconds=needed))
        return None

    if open_seeds:
        size = size_text(winner.parameters, candidate.cost, plan.config.minimise)
        seeds = f"{counted(open_seeds, 'fresh seed')} on the test images"
        say(f"verifying: {size}, {seeds}, at most about {duration_text(needed)}")

    def on_verdict(verdict: Verdict) -> None:
        session.verdicts[winner.trial] = _verified(verdict)
        note(session, session.verdicts[winner.trial])

    return run_seeds(
        verification,
        plan.workspace,
        plan.source,
        # Longer than a trial by as much as there are more images.
        replace(plan.effort.limits, seconds=plan.effort.limits.seconds * VERIFY_FACTOR),
        on_event,
        plan.executor_of,
        on_verdict=on_verdict,
    )


def _verified(verdict: Verdict) -> Verified:
    return Verified(
        hash=verdict.record.hash,
        recipe_hash=verdict.record.recipe_hash,
        tier=verdict.row.tier,
        mean_test_accuracy_pct=verdict.row.mean_test_accuracy_pct,
        seeds=verdict.row.seeds,
        passed=verdict.passed,
    )


def _verification(plan: SearchPlan, winner: WinnerChosen, events: list[Entry[Event]], attempt: int) -> Plan:
    proposal = next(item for item in study.proposals(events) if item.trial == winner.trial)
    recipe, name = plan.config.recipe_of(proposal.epochs)
    found = Found(
        study=plan.folder.name,
        study_seed=plan.config.seed,
        space=plan.config.space,
        sampler=plan.config.sampler,
        trial=proposal.trial,
        validation_accuracy_pct=winner.validation_accuracy_pct or 0.0,
        validation_seeds=winner.validation_seeds or 0,
        trained=len({result.trial for result in study.finished_results(plan.folder)}),
        rejected=study.rejections(events).total(),
        search_seconds=study.elapsed_seconds(events),
        workers=plan.effort.workers,
        attempt=attempt,
    )
    return Plan(
        architecture=proposal.architecture,
        # With what the catalog knows about the recipe.
        recipe=replace(plan.recipe, recipe=recipe, name=name),
        dataset=plan.config.dataset,
        target_pct=plan.config.target_pct,
        indices=tuple(range(verify_seeds(plan.effort.workers))),
        device=plan.effort.device,
        engine=plan.effort.engine,
        workers=plan.effort.workers,
        found=found,
    )
