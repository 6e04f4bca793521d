"""Verification of the winner of a search on the test set, and of a second candidate if the winner misses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from harness.evidence.leaderboard_table import Verification, read_evidence, refresh
from harness.evidence.record import SearchSummary
from harness.evidence.verification_runs import VerifyPlan, due_indices, recorded_verdict, run_seeds
from harness.searching.loop import choose
from harness.searching.plan import SearchPlan
from harness.searching.search_state import Search
from harness.searching.time_budget import VERIFY_FACTOR, verify_seeds
from harness.spaces.space import size_text
from harness.studies.events import Postponed, WinnerChosen
from harness.system.terminal import counted, duration_text
from harness.training.executors.base import WorkerEvent


def conclude(
    plan: SearchPlan,
    search: Search,
    on_event: Callable[[WorkerEvent], None] = lambda event: None,
    say: Callable[[str], None] = lambda line: None,
) -> Verification | None:
    """Verify the winner of a study and rewrite the leaderboard.

    If the winner misses the target, verify a second candidate (``loop.choose``) if the time left suffices.
    Verifications of earlier sessions count, and no network is verified twice. If two metrics are minimised, verify the
    whole Pareto front.

    Returns:
        The last verdict; None if the search chose no winner or the time left was too short. If the time was too short
        for a verification, the last event of the log is ``Postponed``.
    """
    winners = search.state.of_kind(WinnerChosen)
    verdict = _verified(plan, search, winners[-1].event, on_event, say) if winners else None
    if plan.config.is_front:
        # ``choose`` returns the unverified candidates of the front first, then the cheapest, whose verdict is returned.
        while verdict is not None and (winner := choose(search)) is not None:
            is_verified = winner.trial in search.state.verdicts  # then the whole front is verified
            # ``_verified`` returns None if the verification is postponed.
            verdict = _verified(plan, search, winner, on_event, say) or verdict
            if is_verified or isinstance(search.state.entries[-1].event, Postponed):
                break
    elif verdict is not None and verdict.event.passed is False and (second := choose(search)) is not None:
        say(f"target missed: {verdict.record.parameters:,} parameters; next network: {second.parameters:,} parameters")
        verdict = _verified(plan, search, second, on_event, say) or verdict
    refresh(plan.workspace)
    return verdict


def _verified(
    plan: SearchPlan,
    search: Search,
    winner: WinnerChosen,
    on_event: Callable[[WorkerEvent], None],
    say: Callable[[str], None],
) -> Verification | None:
    evidence = read_evidence(plan.workspace)
    verification = _verification(plan, search, winner)
    # Another search or the command ``verify`` may have declared further seeds.
    indices = due_indices(verification, evidence, verify_seeds(plan.effort.workers))
    verification = replace(verification, indices=indices)
    recorded_result = recorded_verdict(verification, evidence)
    # If the user has deleted the record, run the seeds again in spite of the logged verdict.
    if winner.trial in search.state.verdicts and recorded_result.runs:
        return recorded_result
    count = len(verification.indices) - len(recorded_result.runs)
    if count:
        candidate = search.state.candidates[winner.trial]
        seconds = search.verify_seconds(candidate, count)
        # Without the safety margin of ``seconds``.
        if search.seconds_left < search.least_verify_seconds(candidate, count):
            search.add(Postponed(hash=winner.hash, parameters=winner.parameters, seconds=seconds))
            return None
        size = size_text(winner.parameters, candidate.costs, plan.config.minimised)
        seeds = f"{counted(count, 'fresh seed')} on the test images"
        # Then no confirmed candidate may be verified.
        if not candidate.is_confirmed:
            say("verifying an unconfirmed network, the most likely to pass by the accuracies on fresh seeds")
        late_seconds = seconds - search.seconds_left
        late = f", up to {duration_text(late_seconds)} after the time limit" if late_seconds >= 1 else ""
        say(f"verifying: {size} ({winner.hash[:6]}), {seeds}, at most about {duration_text(seconds)}{late}")

    # A verification trains on more images than a trial.
    limits = replace(plan.effort.limits, seconds=plan.effort.limits.seconds * VERIFY_FACTOR)
    return run_seeds(
        verification, plan.workspace, plan.source, limits, on_event, plan.make_executor,
        on_verdict=lambda verdict: search.add(verdict.event),
    )  # fmt: skip


def _verification(plan: SearchPlan, search: Search, winner: WinnerChosen) -> VerifyPlan:
    config = plan.config
    effort = plan.effort
    proposal = search.state.candidates[winner.trial].proposal
    recipe, recipe_name = config.recipe_of(proposal.epochs)
    return VerifyPlan(
        architecture=proposal.architecture,
        # The configuration of the study lacks ``assumed_fields`` and ``test_each_epoch``.
        named_recipe=replace(plan.training.named_recipe, recipe=recipe, name=recipe_name),
        data=plan.data,
        target_pct=config.target_pct,
        repeat=False,
        indices=(),
        device=effort.device,
        engine=effort.engine,
        workers=effort.workers,
        search_summary=SearchSummary(
            study=plan.folder.name,
            study_seed=config.seed,
            space=config.space,
            sampler=f"{config.sampler} {config.sampler_sha256}".rstrip(),
            trial=winner.trial,
            validation_accuracy_pct=winner.validation_accuracy_pct,
            validation_seeds=winner.validation_seeds,
            trained=len({trial for trial, _, _ in search.state.ended_runs}),
            rejected=search.state.rejected.total(),
            search_seconds=search.state.seconds,
            workers=effort.workers,
            attempt=1 + len(search.state.verdicts.keys() - {winner.trial}),
        ),
    )
