"""Verification: fresh seeds of one network with one recipe, on all training images, the test set read once a seed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from harness.data.datasets import dataset
from harness.evidence import certification, history, ledger, record, weight_file
from harness.evidence.ledger import Attempt, Outcome
from harness.evidence.record import Found, Record, SeedRun
from harness.evidence.study import is_owned, owned
from harness.evidence.verification.futility import is_futile
from harness.evidence.verification.seed_training import train_one_by_one, train_together
from harness.evidence.verification.verdict import Verdict, verdict_of
from harness.system import files, statistics
from harness.system.errors import UsageError
from harness.system.workspace import Workspace
from harness.training import inspection, result
from harness.training.environment import code_version
from harness.training.native.engine_choice import engine_of_repeat
from harness.training.recipes import NamedRecipe
from harness.training.result import Result
from harness.training.run import Job
from harness.training.seeds import Purpose
from harness.training.workers.executor import ExecutorOf, Processes
from harness.training.workers.parallelism import MOST_PROCESSES, Parallelism
from harness.training.workers.workers import Event, Limits, Source
from search_spaces.architecture import Architecture
from search_spaces.cost import analyse


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be verified, and how.

    Attributes:
        engine: ``native``, ``torch``, or ``auto``: that of the record for a seed that is
            recorded already.
        workers: seeds that train at once, so many of them ``side_by_side`` in a process.
        indices: the seed indices to run, in order; a certification declares its own in their place.
        certify: whether this is a certification; it takes the seeds that its attempt has declared.
        attempt: the certification attempt, once it is known.
    """

    architecture: Architecture
    recipe: NamedRecipe
    dataset: str
    target_pct: float
    indices: tuple[int, ...]
    device: str = "cpu"
    engine: str = "torch"
    workers: int = 1
    side_by_side: int = 1
    certify: bool = False
    attempt: Attempt | None = None
    found: Found | None = None
    name: str = ""


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
    folder = _folder(plan, place)
    with owned(folder):
        if plan.certify:
            plan = _as_declared(plan, place)
        evidence = _record(plan, place)
        if plan.attempt is None:
            _declare_fresh(plan, place, evidence)
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
                _keep(folder, found)
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
    if (folder := _folder(plan, place)).exists() and not is_owned(folder):
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
    parallelism = Parallelism(min(MOST_PROCESSES, plan.workers // plan.side_by_side), plan.side_by_side)
    return train_one_by_one(waiting, executor_of(source, limits), parallelism, on_event)


def trains_together(plan: Plan) -> bool:
    """Return whether all seeds of a plan train at once: on a GPU, which a single network leaves idle.

    A certification stops early when it is futile, so its seeds train one after the other; so do those
    for which torch's plain loop is asked.
    """
    together = plan.engine == "auto" and not plan.recipe.test_each_epoch and not plan.certify
    return together and plan.device.startswith("cuda")


def finished_indices(plan: Plan, place: Workspace) -> set[int]:
    """Return the seed indices of a plan that an interrupted call has finished."""
    return _interrupted(_folder(plan, place)).keys() & set(plan.indices)


def recorded_verdict(plan: Plan, place: Workspace) -> Verdict:
    """Return what the record says about the seeds of a plan, without running any."""
    evidence = _record(plan, place)
    runs = tuple(run for index in plan.indices if (run := evidence.seed(index)) is not None)
    declared = ledger.declarations(place.ledger)
    return verdict_of(evidence, ledger.read(place.ledger), runs, declared=declared)


def declare(plan: Plan, place: Workspace, seeds: int) -> Attempt:
    """Enter an attempt to certify the plan's row, on ``seeds`` indices that were never run, and return it.

    An attempt of this row that is still open is returned as it was declared. Seeds depend on network and recipe alone,
    so those run for another target or data set are known too.

    Raises:
        ContentError: attempts at this target have spent the whole chance of a false success.
    """
    evidence = _record(plan, place)
    if (attempt := ledger.open_attempt(place.ledger, evidence.key)) is not None:
        return attempt
    kin = evidence.key[:2]
    runs = [run for item in record.read_all(place.records) if item.key[:2] == kin for run in item.seeds]
    used = [run.index + 1 for run in runs]
    used += [item.first_index + item.seeds for item in ledger.read(place.ledger) if item.key[:2] == kin]
    used += [max(item.indices) + 1 for item in ledger.declarations(place.ledger) if item.key[:2] == kin]
    return ledger.declare(place.ledger, evidence.key, max(used, default=0), seeds, code_version()[0])


def _as_declared(plan: Plan, place: Workspace) -> Plan:
    """Return the plan of a certification with the seeds that its attempt has declared.

    Raises:
        UsageError: nothing is declared for this row, or the declaration is in no commit.
    """
    attempt = ledger.open_attempt(place.ledger, _record(plan, place).key)
    if attempt is None:
        raise UsageError(
            "a certification is declared before it is run, and nothing is declared for this network, recipe and target",
            hint="run the same command with --declare-only, commit records/ledger.jsonl, then run it again without",
        )
    there = history.committed(place.ledger)
    if there is None:
        raise UsageError(
            f"attempt {attempt.number} is declared, but {place.ledger.parent} is in no git repository: "
            "a commit is what shows that it was declared beforehand",
            hint="git init, and commit records/ledger.jsonl",
        )
    if not ledger.declares(there, attempt):
        raise UsageError(
            f"attempt {attempt.number} is declared, but {place.ledger} is not committed with it",
            hint="git add records/ledger.jsonl, git commit, then the same command again",
        )
    return replace(plan, indices=tuple(attempt.indices), attempt=attempt)


def _declare_fresh(plan: Plan, place: Workspace, evidence: Record) -> None:
    """Enter the seeds of a verification that neither the record nor a declaration has."""
    known = {run.index for run in evidence.seeds}
    for item in ledger.declarations(place.ledger):
        if item.key == evidence.key:
            known |= set(item.indices)
    if fresh := [index for index in plan.indices if index not in known]:
        ledger.declare_verification(place.ledger, evidence.key, fresh, code_version()[0])


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
        weights=_weights(_folder(plan, place), index),
    )


def _record(plan: Plan, place: Workspace) -> Record:
    """Return the record of the plan's row as it is on disk, or a new one without seeds."""
    analysis = analyse(plan.architecture, dataset(plan.dataset).task)
    fresh = Record(
        name=plan.name,
        architecture=plan.architecture,
        hash=plan.architecture.hash,
        parameters=analysis.parameters,
        macs=analysis.macs,
        recipe=plan.recipe.recipe,
        recipe_name=plan.recipe.name,
        recipe_hash=plan.recipe.recipe.hash,
        assumed=plan.recipe.assumed,
        dataset=plan.dataset,
        target_pct=plan.target_pct,
        seeds=(),
        found=plan.found,
    )
    if not (path := record.path_of(place.records, fresh)).exists():
        return fresh
    there = record.read(path)
    return replace(there, name=there.name or fresh.name, found=there.found or fresh.found)


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
    learned = _weights(_folder(plan, place), found.seed_index)
    if (run := evidence.seed(found.seed_index)) is None or not learned.exists():
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


def _keep(folder: Path, found: Result) -> None:
    result.write(folder / f"seed-{found.seed_index:04d}.json", found)


def _folder(plan: Plan, place: Workspace) -> Path:
    """Return where an unfinished verification keeps what it has finished."""
    row = f"{plan.architecture.hash}-{plan.recipe.recipe.hash}-{plan.dataset}-{plan.target_pct:.12g}"
    return place.runs / f".verify-{row}"


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
    bound = _bound_pct([record.seed_run(run) for run in runs], confidence)
    return ledger.close(place.ledger, plan.attempt, Outcome.FUTILE, bound)


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


def _bound_pct(runs: list[SeedRun], confidence: float) -> float | None:
    return result.finite(statistics.lower_bound([run.accuracy_pct for run in runs], confidence))
