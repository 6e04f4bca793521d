"""Verification: fresh seeds of one network with one recipe, on all training images, the test set read once a seed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from harness.evidence import certification, ledger, record, weight_file
from harness.evidence.ledger import Attempt, Outcome
from harness.evidence.record import Record, SeedRun
from harness.evidence.study import is_owned, owned
from harness.evidence.verification.declaration import as_declared, declare_fresh
from harness.evidence.verification.futility import is_futile
from harness.evidence.verification.plan import Plan, folder_of, record_of, trains_together
from harness.evidence.verification.seed_training import train_one_by_one, train_together
from harness.evidence.verification.verdict import Verdict, verdict_of
from harness.system import files, statistics
from harness.system.files import Workspace
from harness.training import inspection, result
from harness.training.native.native import engine_of_repeat
from harness.training.result import Purpose, Result
from harness.training.run import Job
from harness.training.workers import Event, ExecutorOf, Limits, Processes, Source


def run_seeds(
    plan: Plan,
    place: Workspace,
    source: Source,
    limits: Limits,
    on_event: Callable[[Event], None],
    executor_of: ExecutorOf = Processes,
    on_verdict: Callable[[Verdict], None] = lambda verdict: None,
) -> Verdict:
    """Run the seeds of the plan, in processes or where else an executor has places, and pool them into the record.

    Each seed enters the record as soon as it is finished. A seed whose worker breaks is run again. What an
    interrupted call has finished is not run twice by the next; it is kept until ``on_verdict`` has noted the verdict.

    Raises:
        UsageError: another process is verifying the same row, or its certification is not declared in a commit.
        HarnessError: a seed broke its worker three times.
    """
    folder = folder_of(plan, place)
    with owned(folder):
        if plan.certify:
            plan = as_declared(plan, place)
        evidence = record_of(plan, place)
        if plan.attempt is None:
            declare_fresh(plan, place, evidence)
        before = {run.index: run for run in evidence.seeds}
        done = {index: found for index, found in _interrupted(folder).items() if index in plan.indices}
        for found in done.values():
            evidence = _pooled(evidence, plan, place, found)
        ended = _closed_if_futile(plan, place, done)
        lacking = [] if ended else [index for index in plan.indices if index not in done]
        row = record.path_of(place.records, evidence).stem
        files.sweep(place.records, f"{row}.json")
        files.sweep(weight_file.path_of(place.records, evidence, 0).parent)
        files.sweep(inspection.path_of(place.runs, row, 0).parent)
        waiting = [_job(plan, place, row, index, before.get(index)) for index in lacking]
        with closing(_trained(plan, waiting, source, limits, on_event, executor_of)) as results:
            for found in results:
                done[found.seed_index] = found
                result.write(folder / f"seed-{found.seed_index:04d}.json", found)
                evidence = _pooled(evidence, plan, place, found)
                ended = ended or _closed_if_futile(plan, place, done)
                if ended:
                    # What is being trained was launched, so it counts; nothing more is.
                    waiting.clear()
        verdict = _verdict(plan, place, evidence, before, done, ended)
        on_verdict(verdict)
        shutil.rmtree(folder, ignore_errors=True)
    return verdict


def forget(plan: Plan, place: Workspace) -> None:
    """Remove what a call that was killed after its verdict has kept, unless another call is at work."""
    folder = folder_of(plan, place)
    if folder.exists() and not is_owned(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _trained(
    plan: Plan,
    waiting: list[Job],
    source: Source,
    limits: Limits,
    on_event: Callable[[Event], None],
    executor_of: ExecutorOf,
) -> Generator[Result, None, None]:
    """Yield the result of each job as it comes."""
    if trains_together(plan) and executor_of is Processes:
        return train_together(waiting, source, on_event)
    return train_one_by_one(waiting, executor_of(source, limits), plan.workers, on_event)


def finished_indices(plan: Plan, place: Workspace) -> set[int]:
    """Return the seed indices of a plan that an interrupted call has finished."""
    return _interrupted(folder_of(plan, place)).keys() & set(plan.indices)


def recorded_verdict(plan: Plan, place: Workspace) -> Verdict:
    """Return what the record says about the seeds of a plan, without running any."""
    evidence = record_of(plan, place)
    runs = tuple(run for index in plan.indices if (run := evidence.seed(index)) is not None)
    declared = ledger.declarations(place.ledger)
    return verdict_of(evidence, ledger.read(place.ledger), runs, declared=declared)


def _job(plan: Plan, place: Workspace, row: str, index: int, recorded: SeedRun | None) -> Job:
    return Job(
        architecture=plan.architecture,
        recipe=plan.recipe.recipe,
        recipe_name=plan.recipe.name,
        purpose=Purpose.VERIFY,
        seed_index=index,
        device=plan.device,
        engine=engine_of_repeat(plan.engine, recorded.environment.engine if recorded else None),
        teachers=place.teachers,
        test_log=place.test_log,
        test_each_epoch=plan.recipe.test_each_epoch,
        inspection=inspection.path_of(place.runs, row, index),
        weights=_weights(folder_of(plan, place), index),
    )


def _pooled(evidence: Record, plan: Plan, place: Workspace, found: Result) -> Record:
    attempt = plan.attempt.number if plan.attempt else None
    evidence = record.with_seed(evidence, record.seed_run(found, attempt))
    evidence = replace(evidence, teacher_seconds=evidence.teacher_seconds or found.teacher_seconds)
    _keep_weights(evidence, plan, place, found)
    record.write(place.records, evidence)
    return evidence


def _keep_weights(evidence: Record, plan: Plan, place: Workspace, found: Result) -> None:
    """Put a seed's weights beside its record, before it: what the record names is there.

    A repeat with other bits is kept where nothing was, if it made the recorded errors, image by image; a line says so.
    """
    learned = _weights(folder_of(plan, place), found.seed_index)
    run = evidence.seed(found.seed_index)
    if run is None or not learned.exists():
        return
    path = weight_file.path_of(place.records, evidence, found.seed_index)
    if run.weights_sha256 != found.weights_sha256:
        if path.exists() or run.weights_sha256 is None or run.wrong != found.wrong:
            return
        weight_file.add_repeat(place.records, _repeat(evidence, run, found))
    files.write_bytes(path, learned.read_bytes())


def _repeat(evidence: Record, run: SeedRun, found: Result) -> weight_file.Repeat:
    assert found.environment is not None, "what has trained says where"
    return weight_file.Repeat(
        hash=evidence.hash,
        recipe_hash=evidence.recipe_hash,
        dataset=evidence.dataset,
        seed_index=run.index,
        recorded_sha256=run.weights_sha256 or "",
        weights_sha256=found.weights_sha256 or "",
        environment=found.environment,
        trained_utc=found.started_utc,
    )


def _weights(folder: Path, index: int) -> Path:
    """Return where a worker leaves what a seed has learned."""
    return folder / f"seed-{index:04d}.safetensors"


def _interrupted(folder: Path) -> dict[int, Result]:
    """Return what an earlier call finished before it was interrupted."""
    found = [result.read(path) for path in sorted(folder.glob("seed-*.json"))]
    return {item.seed_index: item for item in found}


def _closed_if_futile(plan: Plan, place: Workspace, done: dict[int, Result]) -> Attempt | None:
    """Enter the end of a certification that its remaining seeds hardly can save, and return it; None otherwise.

    It is entered at once: seeds that are still being trained, or a later call, must not make a success of it.
    """
    if plan.attempt is None or not done:
        return None
    runs = list(done.values())
    errors = [item.test_errors or 0 for item in runs]
    confidence = 1 - plan.attempt.alpha
    if not is_futile(errors, runs[0].test_size or 1, len(plan.indices), plan.target_pct, confidence):
        return None
    bound = statistics.lower_bound([record.seed_run(run).accuracy_pct for run in runs], confidence)
    return ledger.close(place.ledger, plan.attempt, Outcome.FUTILE, result.finite(bound))


def _verdict(
    plan: Plan,
    place: Workspace,
    evidence: Record,
    before: dict[int, SeedRun],
    done: dict[int, Result],
    ended: Attempt | None,
) -> Verdict:
    runs = [record.seed_run(done[index]) for index in plan.indices if index in done]
    if plan.attempt is not None and ended is None:
        # From the record, as everybody will compute it: a seed stays as it was first measured.
        ended = ledger.close(place.ledger, plan.attempt, *certification.ending(plan.attempt, evidence))
    declared = ledger.declarations(place.ledger)
    return verdict_of(evidence, ledger.read(place.ledger), runs, list(before.values()), ended, declared)
