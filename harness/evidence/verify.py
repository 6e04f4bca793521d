"""Verification: fresh seeds of one network with one recipe, on all training images, the test set read once a seed.

A plan says what is to be verified. Its seeds are declared in the ledger before the first of them runs, trained, and
pooled into the record as they end; the verdict says what they have found. A certification is declared in a commit, and
its seeds depend on the id of that commit: their outcome cannot be known before.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain, count, islice
from pathlib import Path

from harness.data.datasets import dataset
from harness.evidence import bounds, ledger, record
from harness.evidence.check import declaring_commit
from harness.evidence.leaderboard import LeaderboardRow, row_of_record
from harness.evidence.ledger import Attempt, Declaration, Outcome
from harness.evidence.record import Found, Record, SeedRun
from harness.studies.config import owned
from harness.system import files
from harness.system.errors import ContentError, UsageError
from harness.system.files import Workspace
from harness.training import result
from harness.training.executors.base import Event, ExecutorOf, Limits, Source, run_all
from harness.training.executors.processes import Processes
from harness.training.modules import vain_op
from harness.training.native.engine import engine_of_repeat
from harness.training.recipe import NamedRecipe
from harness.training.result import Environment, Purpose, Result, Status, code_version
from harness.training.run import Job
from search_spaces.network import Architecture, Task, analyse


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be verified, and how.

    Attributes:
        indices: of the seeds, in order; a certification takes those that its ``attempt`` has declared, and their
            ``beacon``, once they are known.
        engine: ``native``, ``torch``, or ``auto``: that of the record for a seed that is recorded already.
        workers: seeds that train at once.
        repeat: run the seeds again where all are on record; where some are missing, only these are run.
    """

    architecture: Architecture
    recipe: NamedRecipe
    dataset: str
    target_pct: float
    indices: tuple[int, ...]
    device: str = "cpu"
    engine: str = "torch"
    workers: int = 1
    certify: bool = False
    repeat: bool = True
    attempt: Attempt | None = None
    beacon: str | None = None
    found: Found | None = None
    name: str = ""


def _record_of(plan: Plan, workspace: Workspace) -> Record:
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
    evidence = next((each for each in record.read_all(workspace.records) if each.key == fresh.key), fresh)
    return replace(evidence, name=evidence.name or fresh.name, found=evidence.found or fresh.found)


def _folder_of(plan: Plan, workspace: Workspace) -> Path:
    row = f"{plan.architecture.hash}-{plan.recipe.recipe.hash}-{plan.dataset}-{plan.target_pct:.12g}"
    return workspace.runs / f".verify-{row}"


@dataclass(frozen=True, slots=True)
class Rerun:
    """A recorded seed that was run again.

    Attributes:
        identical: the weights are the same bit for bit; None where they differ and another machine, torch or build
            of the engine made the recorded ones.
    """

    index: int
    test_errors: int
    recorded_test_errors: int
    identical: bool | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a verification.

    Attributes:
        runs: the seeds that were asked for, in order, as they were run now or are on record.
        reruns: those of them that were run again.
        contradicted: the re-run is worse than the record allows (``bounds.is_worse``).
        row: the standing of the record with all seeds ever run.
        attempt: the certification attempt as it ended, None outside one.
        is_held_back: a seed that was declared for the row has not been run.
    """

    record: Record
    row: LeaderboardRow
    runs: tuple[SeedRun, ...]
    reruns: tuple[Rerun, ...]
    contradicted: bool
    attempt: Attempt | None = None
    is_held_back: bool = False

    @property
    def has_missed(self) -> bool:
        """Whether the seeds speak against the target; those of a row that is held back do not speak yet."""
        return not self.passed and not self.is_held_back

    @property
    def passed(self) -> bool:
        """Whether the target stands; a certification that fails has failed, whatever the row's mean is."""
        if self.attempt is not None:
            return self.attempt.outcome is Outcome.CERTIFIED
        return self.row.reached and not self.contradicted


def declare(plan: Plan, workspace: Workspace, seeds: int) -> Attempt:
    """Enter an attempt to certify the plan's row, on ``seeds`` indices that were never run, and return it.

    An attempt of this row that is still open is returned as it was declared. Seeds depend on network and recipe alone,
    so those run for another target or data set are known too.
    """
    _refuse_vain(plan.architecture, dataset(plan.dataset).task)
    key = _record_of(plan, workspace).key
    if (attempt := ledger.open_attempt(workspace.ledger, key)) is not None:
        return attempt
    return ledger.declare(workspace.ledger, key, _first_unused(key, workspace), seeds, code_version()[0])


def declare_certificate(plan: Plan, workspace: Workspace, seeds: int) -> Declaration:
    """Enter the seeds of a certificate of the plan's row, on indices that were never run, and return them.

    Those that were declared for one before are returned as they are: nobody looks and then asks for more.
    """
    _refuse_vain(plan.architecture, dataset(plan.dataset).task)
    key = _record_of(plan, workspace).key
    for item in ledger.read(workspace.ledger).declarations:
        if item.key == key and item.alpha:
            return item
    first = _first_unused(key, workspace)
    return ledger.declare_certificate(workspace.ledger, key, range(first, first + seeds), code_version()[0])


def _first_unused(key: tuple[str, str, str, float, int], workspace: Workspace) -> int:
    # Seeds are those of a network and a recipe, whatever data set and target.
    return max(_indices(workspace, lambda other: other[:2] == key[:2]), default=-1) + 1


def _indices(workspace: Workspace, is_meant: Callable[[tuple[str, str, str, float, int]], bool]) -> set[int]:
    # Returns the seeds that were run or declared for some rows.
    entered = ledger.read(workspace.ledger)
    used = {run.index for item in record.read_all(workspace.records) if is_meant(item.key) for run in item.seeds}
    entries: list[Attempt | Declaration] = [*entered.attempts, *entered.declarations]
    for entry in entries:
        if is_meant(entry.key):
            used.update(entry.indices)
    return used


def due_indices(plan: Plan, workspace: Workspace, seeds: int) -> tuple[int, ...]:
    """Return the seeds of a verification: so many of the plan's row, and all others that are declared and not run.

    Those of another target of the same network, recipe and data set are passed over, as their results are known, and
    so are those that a certification has declared, which depend on its commit.
    """
    evidence = _record_of(plan, workspace)
    entered = ledger.read(workspace.ledger)
    key = evidence.key
    run = {item.index for item in evidence.seeds}
    declared = {index for item in entered.declarations if item.key == key for index in item.indices}
    own = run | declared
    taken = _indices(workspace, lambda other: other[:3] == key[:3] and other != key)
    taken |= {index for item in entered.attempts if item.key == key for index in item.indices}
    free = (index for index in count(min(own, default=0)) if index in own or index not in taken)
    indices = tuple(islice(free, seeds))
    return (*indices, *sorted(declared - run - {*indices}))


def _as_declared(plan: Plan, workspace: Workspace) -> Plan:
    if (attempt := ledger.open_attempt(workspace.ledger, _record_of(plan, workspace).key)) is None:
        raise UsageError(
            "a certification is declared before it is run, and nothing is declared for this network, recipe and target",
            hint="run the same command with --declare-only, commit the declaration, then run it again without",
        )
    if (beacon := declaring_commit(workspace, attempt)) is None:
        raise UsageError(
            f"attempt {attempt.number} is declared, but no commit has its line of {workspace.ledger}",
            hint="harness leaderboard --publish NETWORK, git commit; outside a clone, commit that file",
        )
    return replace(plan, indices=tuple(attempt.indices), attempt=attempt, beacon=beacon if attempt.rules > 1 else None)


def _refuse_twin(run: SeedRun, evidence: Record) -> None:
    # Seeds of the same weights are one seed, and say nothing of the others.
    for other in evidence.seeds if run.status is Status.COMPLETE and run.weights_sha256 else ():
        if other.weights_sha256 == run.weights_sha256:
            raise ContentError(
                f"seeds {other.index} and {run.index} of {evidence.hash} ended in the same weights: what trains them "
                "does not use its seed"
            )


def _refuse_vain(network: Architecture, task: Task) -> None:
    if (vain := vain_op(network, task)) is not None:
        raise ContentError(f"{vain} changes nothing in {network}; take it out")


def run_seeds(
    plan: Plan,
    workspace: Workspace,
    source: Source,
    limits: Limits,
    on_event: Callable[[Event], None],
    executor_of: ExecutorOf = Processes,
    on_verdict: Callable[[Verdict], None] = lambda verdict: None,
) -> Verdict:
    """Run the seeds of the plan, in processes or where else an executor has places, and pool them into the record.

    Each seed enters the record as soon as it is finished, so what an interrupted call has finished is not run again.
    """
    folder = _folder_of(plan, workspace)
    with owned(folder):
        if plan.certify:
            plan = _as_declared(plan, workspace)
        evidence = _record_of(plan, workspace)
        _declare_fresh(plan, workspace, evidence)
        _sweep(workspace, evidence)
        pool = _Pool(plan, workspace, evidence, {run.index: run for run in evidence.seeds})
        pool.close_if_futile()
        waiting = [] if pool.ended else _jobs_of(plan, workspace, evidence)
        with closing(run_all(waiting, executor_of(source, limits), plan.workers, on_event)) as results:
            for finished in results:
                pool.take(finished.result)
                if pool.ended:
                    # Seeds that are being trained still count; no further one is launched.
                    waiting.clear()
        pool.close()
        verdict = _verdict_of(plan, workspace, pool.evidence, pool.repeated, pool.ended)
        shutil.rmtree(folder, ignore_errors=True)
        on_verdict(verdict)
    return verdict


def _declare_fresh(plan: Plan, workspace: Workspace, evidence: Record) -> None:
    # A certification has declared its seeds already.
    if plan.attempt is not None:
        return
    declarations = ledger.read(workspace.ledger).declarations
    declared = chain.from_iterable(item.indices for item in declarations if item.key == evidence.key)
    used = {*declared, *(run.index for run in evidence.seeds)}
    if fresh := [index for index in plan.indices if index not in used]:
        ledger.declare_verification(workspace.ledger, evidence.key, fresh, code_version()[0])


def _sweep(workspace: Workspace, evidence: Record) -> None:
    # A process that was killed leaves half-written files.
    row = record.path_of(workspace.records, evidence).stem
    files.sweep(workspace.records, f"{row}.json")
    files.sweep(record.weights_path(workspace.records, evidence, 0).parent)
    files.sweep(result.inspection_path(workspace.runs, row, 0).parent)


@dataclass(slots=True)
class _Pool:
    """The seeds of a plan as they end, and the record that they enter.

    Attributes:
        recorded: the seeds that were on record before; one that is run again changes nothing there.
        repeated: those of them that were run again.
        ended: the attempt of a certification as it ended; None while it is open, and outside one.
    """

    plan: Plan
    workspace: Workspace
    evidence: Record
    recorded: Mapping[int, SeedRun]
    repeated: dict[int, SeedRun] = field(default_factory=dict)
    ended: Attempt | None = None

    def take(self, seed_result: Result) -> None:
        """Enter a seed: its weights, then the record that names them, and the attempt's end if it is futile now."""
        attempt = self.plan.attempt
        run = record.seed_run(seed_result, attempt.number if attempt else None, self.plan.beacon)
        original = self.recorded.get(run.index, run)
        # The weights are written before the record, so that all weights that a record names exist.
        if run.weights_sha256 == original.weights_sha256:
            learned = _weights_file(_folder_of(self.plan, self.workspace), run.index)
            _keep_weights(self.workspace, self.evidence, run.index, learned)
        if original is not run:
            self.repeated[run.index] = run
            return
        _refuse_twin(run, self.evidence)
        teacher_seconds = self.evidence.teacher_seconds or seed_result.teacher_seconds
        self.evidence = replace(record.with_seeds(self.evidence, run), teacher_seconds=teacher_seconds)
        record.write(self.workspace.records, self.evidence)
        self.close_if_futile()

    def close_if_futile(self) -> None:
        """Enter the end of a futile attempt at once: seeds that still train, or a later call, must not better it."""
        attempt = self.plan.attempt
        runs = [run for index in self.plan.indices if (run := self.evidence.seed(index)) is not None]
        if attempt is None or self.ended is not None or not runs:
            return
        errors = [run.test_errors for run in runs]
        confidence = bounds.attempt_confidence(attempt)
        if bounds.is_futile(errors, runs[0].test_size, len(self.plan.indices), self.plan.target_pct, confidence):
            bound = bounds.attempt_bound(attempt, self.evidence)
            self.ended = ledger.close(self.workspace.ledger, attempt, outcome=Outcome.FUTILE, lower_bound_pct=bound)

    def close(self) -> None:
        """Enter the end of an attempt, computed from the record as everybody will do it: first measurements count."""
        if self.plan.attempt is not None and self.ended is None:
            outcome, bound = bounds.ending(self.plan.attempt, self.evidence)
            self.ended = ledger.close(self.workspace.ledger, self.plan.attempt, outcome=outcome, lower_bound_pct=bound)


def _jobs_of(plan: Plan, workspace: Workspace, evidence: Record) -> list[Job]:
    """Return the jobs of the seeds that are not recorded; where all are, of those that are to be repeated."""
    folder = _folder_of(plan, workspace)
    row = record.path_of(workspace.records, evidence).stem
    recorded = {run.index: run for run in evidence.seeds}
    missing = [index for index in plan.indices if index not in recorded]
    again = plan.indices if plan.repeat and not plan.certify else ()
    jobs = []
    for index in missing or again:
        # A seed that is recorded is repeated as it was.
        run = recorded.get(index)
        beacon = plan.beacon if run is None else run.beacon
        job = Job(
            architecture=plan.architecture,
            recipe=plan.recipe.recipe,
            recipe_name=plan.recipe.name,
            purpose=Purpose.VERIFY,
            seed_index=index,
            beacon=beacon or "",
            device=plan.device,
            engine=engine_of_repeat(plan.engine, None if run is None else run.environment.engine),
            teachers=workspace.teachers,
            test_log=workspace.test_log,
            test_each_epoch=plan.recipe.test_each_epoch,
            inspection=result.inspection_path(workspace.runs, row, index),
            weights=_weights_file(folder, index),
        )
        jobs.append(job)
    return jobs


def _weights_file(folder: Path, index: int) -> Path:
    return folder / f"seed-{index:04d}.safetensors"


def _keep_weights(workspace: Workspace, evidence: Record, index: int, learned: Path) -> None:
    """Copy what a seed has learned beside the record, unless other weights of it came with the program."""
    path = record.weights_path(workspace.records, evidence, index)
    is_ours = record.kept_weights(workspace.records, evidence, index) in (None, path)
    if learned.exists() and is_ours:
        files.write_bytes(path, learned.read_bytes())


def recorded_verdict(plan: Plan, workspace: Workspace) -> Verdict:
    """Return what the record says about the seeds of a plan, without running any."""
    return _verdict_of(plan, workspace, _record_of(plan, workspace), {})


def _verdict_of(
    plan: Plan, workspace: Workspace, evidence: Record, repeated: Mapping[int, SeedRun], attempt: Attempt | None = None
) -> Verdict:
    runs = [run for index in plan.indices if (run := repeated.get(index) or evidence.seed(index)) is not None]
    reruns = []
    for index, run in sorted(repeated.items()):
        original = evidence.seed(index)
        assert original is not None, "what is run again is on record"
        # Equal bits prove themselves; unequal ones say something only where the same bits were due.
        same_bits = run.weights_sha256 == original.weights_sha256
        identical = same_bits if same_bits or result.same_bits_due(run.environment, original.environment) else None
        reruns.append(Rerun(index, run.test_errors, original.test_errors, identical))
    contradicted = False
    if not all(rerun.identical for rerun in reruns):
        repeated_errors = [run.test_errors for run in repeated.values()]
        recorded_errors = [run.test_errors for run in evidence.seeds]
        contradicted = bounds.is_worse(repeated_errors, recorded_errors, evidence.seeds[0].test_size)
    entered = ledger.read(workspace.ledger)
    recorded = {run.index for run in evidence.seeds}
    is_held_back = not recorded.issuperset(chain(*entered.promised(evidence.key, recorded)))
    row = row_of_record(evidence, entered)
    return Verdict(evidence, row, tuple(runs), tuple(reruns), contradicted, attempt, is_held_back)


def machines_of(runs: Sequence[SeedRun]) -> list[tuple[str, int]]:
    """Return the kinds of machines that trained these seeds, and how many each; equal bits are due only within one."""
    counts: dict[Environment, int] = {}
    for run in runs:
        kind = next((each for each in counts if result.same_bits_due(each, run.environment)), run.environment)
        counts[kind] = counts.get(kind, 0) + 1
    return [
        (f"{kind.device}, {kind.instructions}, {kind.engine}, torch {kind.torch}, Python {kind.python}", count)
        for kind, count in counts.items()
    ]
