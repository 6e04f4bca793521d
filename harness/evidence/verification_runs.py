"""Verification: fresh seeds of a network and a recipe on all training images; each reads the test set once.

The seeds of a ``VerifyPlan`` are declared in the ledger before the first is run, and added to the record at the end. A
certification is declared in a commit, and the seeds depend on the id of this commit, so that no result can be known
beforehand.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Set
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain, count, islice
from pathlib import Path

from harness.data.datasets import Dataset, dataset
from harness.data.testset import have_equal_test_images, sketch_of_test_part
from harness.evidence import bounds, ledger
from harness.evidence import record as record_files
from harness.evidence.history import declaring_commit, history_of
from harness.evidence.leaderboard_table import Evidence, Rerun, Verification, read_evidence
from harness.evidence.ledger import Attempt, AttemptResult, Declaration
from harness.evidence.record import Record, SearchSummary, SeedRun
from harness.spaces.network import Architecture, analyse
from harness.studies.config import locked_folder
from harness.system import files
from harness.system.errors import ContentError, UsageError, as_command
from harness.system.files import Workspace
from harness.system.terminal import say_once
from harness.training import result
from harness.training.executors.base import DataLocation, ExecutorFactory, Limits, WorkerEvent, run_all
from harness.training.executors.processes import Processes
from harness.training.native.engine import engine_of_repeat
from harness.training.recipe import NamedRecipe
from harness.training.result import Purpose, Result, Status, code_version
from harness.training.run import Job
from harness.training.torch_network import vain_op


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyPlan:
    """Network, recipe and seeds of a verification.

    Attributes:
        indices: Seed indices in order; of a certification, replaced by ``run_seeds``.
        engine: ``native``, ``torch`` or ``auto``; ``auto`` repeats a seed of torch with torch.
        certify: Whether to run the open certification attempt of the row.
        repeat: Whether to run the seeds again if all are recorded.
        beacon: Commit that declares the attempt, on which the seeds depend.
    """

    architecture: Architecture
    named_recipe: NamedRecipe
    data: Dataset
    target_pct: float
    indices: tuple[int, ...]
    device: str = "cpu"
    engine: str = "torch"
    workers: int = 1
    certify: bool = False
    repeat: bool = True
    attempt: Attempt | None = None
    beacon: str | None = None
    search_summary: SearchSummary | None = None
    name: str = ""


def _record_of(plan: VerifyPlan, evidence: Evidence) -> Record:
    analysis = analyse(plan.architecture, plan.data.task)
    new_record = Record(
        name=plan.name,
        architecture=plan.architecture,
        hash=plan.architecture.hash,
        parameters=analysis.parameters,
        macs=analysis.macs,
        recipe=plan.named_recipe.recipe,
        recipe_name=plan.named_recipe.name,
        recipe_hash=plan.named_recipe.recipe.hash,
        assumed=plan.named_recipe.assumed_fields,
        dataset=plan.data.name,
        target_pct=plan.target_pct,
        seeds=(),
        search_summary=plan.search_summary,
    )
    path = new_record.path(evidence.workspace.records)
    if path.exists():
        # The seeds of a damaged record must not be run again.
        record_files.read(path)
    record = evidence.record(new_record.key) or new_record
    return replace(record, name=record.name or plan.name, search_summary=record.search_summary or plan.search_summary)


def _folder_of(plan: VerifyPlan, workspace: Workspace) -> Path:
    key = f"{plan.architecture.hash}-{plan.named_recipe.recipe.hash}-{plan.data.name}-{plan.target_pct:.12g}"
    return workspace.runs / f".verify-{key}"


def declare_attempt(plan: VerifyPlan, workspace: Workspace, seeds: int) -> Attempt:
    """Declare an attempt to certify the row of a plan on ``seeds`` unused indices, or return the open attempt.

    Raises:
        ContentError: An op of the network has no effect, or nothing is left to spend on these test images.
    """
    evidence = read_evidence(workspace)
    record = _declarable(plan, evidence)
    if (attempt := evidence.entries.open_attempt(record.key)) is not None:
        return attempt
    first_index = _first_unused(record, evidence)
    sketch = sketch_of_test_part(plan.data, None)
    return ledger.declare_attempt(workspace.ledger, record.key, first_index, seeds, code_version()[0], sketch)


def declare_certificate(plan: VerifyPlan, workspace: Workspace, seeds: int) -> Declaration:
    """Declare a certificate of the row of a plan on ``seeds`` unused indices.

    An earlier declaration of a certificate is returned, so that seeds cannot be added after a result has been seen.

    Raises:
        ContentError: As for ``declare_attempt``.
    """
    evidence = read_evidence(workspace)
    record = _declarable(plan, evidence)
    for item in evidence.entries.declarations:
        if item.key == record.key and item.alpha:
            return item
    first_index = _first_unused(record, evidence)
    indices = range(first_index, first_index + seeds)
    sketch = sketch_of_test_part(plan.data, None)
    return ledger.declare_seeds(workspace.ledger, record.key, indices, code_version()[0], sketch, plan.data)


def _declarable(plan: VerifyPlan, evidence: Evidence) -> Record:
    if (op := vain_op(plan.architecture, plan.data.task)) is not None:
        raise ContentError(f"{op} has no effect in {plan.architecture}; remove {op}")
    return _record_of(plan, evidence)


def _first_unused(record: Record, evidence: Evidence) -> int:
    # Without a beacon, a seed is the same for all targets and data sets, so results may be known.
    rows = [key for key in evidence.indices if (key.hash, key.recipe_hash) == (record.hash, record.recipe_hash)]
    return max(chain.from_iterable(evidence.indices[key] for key in rows), default=-1) + 1


def due_indices(plan: VerifyPlan, evidence: Evidence, seeds: int) -> tuple[int, ...]:
    """Return the first ``seeds`` indices available to the row of a plan, run and declared indices included.

    Further declared indices that have not been run are appended. Excluded are indices of a different target of the same
    network, recipe and data set, whose results are known, and of a certification, whose seeds depend on a commit.
    """
    record = _record_of(plan, evidence)
    entries = evidence.entries
    run_indices = {run.index for run in record.seeds}
    declared_indices = {index for item in entries.declarations if item.key == record.key for index in item.indices}
    own_indices = run_indices | declared_indices
    excluded_indices = {index for item in entries.attempts if item.key == record.key for index in item.indices}
    for key, indices in evidence.indices.items():
        if key != record.key and key[:3] == record.key[:3]:
            excluded_indices |= indices
    excluded_indices -= own_indices
    available_indices = (index for index in count(min(own_indices, default=0)) if index not in excluded_indices)
    first_indices = [*islice(available_indices, seeds)]
    return (*first_indices, *sorted(declared_indices - run_indices - {*first_indices}))


def _as_declared(plan: VerifyPlan, evidence: Evidence) -> VerifyPlan:
    """Return a certification plan with the seeds and the beacon of the open attempt; UsageError if one is missing."""
    workspace = evidence.workspace
    if (attempt := evidence.entries.open_attempt(_record_of(plan, evidence).key)) is None:
        raise UsageError(
            "a certification requires a declaration, but this network, recipe and target have no declaration",
            hint="run the command with --declare-only, commit the declaration, and repeat without --declare-only",
        )
    folders = ((files.SHIPPED / "records").resolve(), workspace.records)
    beacon = declaring_commit(attempt, map(history_of, folders))
    if beacon is None:
        command = as_command("leaderboard", "--publish", "NETWORK")
        raise UsageError(
            f"attempt {attempt.number} is declared, but the declaration in {workspace.ledger} is not committed",
            hint=f"run '{command}' and 'git commit'; outside a clone, commit the ledger",
        )
    # From rules 3 on, only the bound differs.
    return replace(plan, indices=tuple(attempt.indices), attempt=attempt, beacon=beacon if attempt.rules > 1 else None)


def _refuse_equal_weights(run: SeedRun, record: Record) -> None:
    # Two seeds with equal weights are a single sample, so bounds over seeds would be wrong.
    is_trained = run.status is Status.COMPLETE and bool(run.weights_sha256)
    for item in record.seeds:
        if is_trained and item.weights_sha256 == run.weights_sha256:
            raise ContentError(
                f"seeds {item.index} and {run.index} of {record.hash} have equal weights; the training ignores seeds"
            )


def run_seeds(
    plan: VerifyPlan,
    workspace: Workspace,
    source: DataLocation,
    limits: Limits,
    on_event: Callable[[WorkerEvent], None],
    make_executor: ExecutorFactory = Processes,
    on_verdict: Callable[[Verification], None] = lambda verdict: None,
    on_begin: Callable[[int, Set[int]], None] = lambda count, recorded_indices: None,
    on_wait: Callable[[], None] = lambda: None,
) -> Verification:
    """Run the seeds of a plan on the slots of an executor, and add the results to the record.

    Each seed enters the record when its training ends, so an interrupted call does not repeat finished seeds.

    Args:
        on_verdict: Called with the verdict, before the lock on the folder is released.
        on_begin: Called before the first training with the number of trainings and the indices of the recorded seeds.
        on_wait: Called at least once per second while seeds are trained.

    Raises:
        UsageError: A certification is not declared or its declaration is not committed, or seeds of the row are being
            run by a different process.
        ContentError: The record is damaged, seeds have equal weights, or nothing is left to spend on these test images.
    """
    folder = _folder_of(plan, workspace)
    files.check_writable(workspace.records)
    with locked_folder(folder), files.held(workspace.records):
        evidence = read_evidence(workspace)
        if plan.certify:
            plan = _as_declared(plan, evidence)
        record = _record_of(plan, evidence)
        _declare_fresh(plan, evidence, record, source.folder)
        # Killed processes leave half-written files.
        files.sweep(workspace.records, f"{record.stem}.json")
        files.sweep(record.weights_path(workspace.records, 0).parent)
        files.sweep(result.inspection_folder(workspace.runs, record.stem))
        recorded_runs = {run.index: run for run in record.seeds}
        collector = _SeedCollector(plan, evidence, record, recorded_runs)
        collector.close_if_futile()
        queue = [] if collector.ended_attempt else _jobs_of(plan, workspace, record)
        on_begin(len(queue), recorded_runs.keys())
        with closing(run_all(queue, make_executor(source, limits), plan.workers, on_event, on_wait)) as results:
            for event in results:
                collector.take(event.result)
                if collector.ended_attempt:
                    # Running seeds still count, but no further seed starts.
                    queue.clear()
        collector.close()
        # A different process may have tested equal weights since the first seed.
        verdict = _verdict_of(collector, read_evidence(workspace))
        # Otherwise a second call could use the folder or run more seeds before the verdict is logged.
        shutil.rmtree(folder, ignore_errors=True)
        on_verdict(verdict)
    return verdict


def _declare_fresh(plan: VerifyPlan, evidence: Evidence, record: Record, folder: Path | None) -> None:
    if plan.attempt is not None:
        return
    declarations = evidence.entries.declarations
    declared_indices = chain.from_iterable(item.indices for item in declarations if item.key == record.key)
    unavailable_indices = {*declared_indices, *(run.index for run in record.seeds)}
    if new_indices := [index for index in plan.indices if index not in unavailable_indices]:
        sketch = sketch_of_test_part(plan.data, folder)
        ledger.declare_seeds(evidence.workspace.ledger, record.key, new_indices, code_version()[0], sketch)


@dataclass(slots=True)
class _SeedCollector:
    """Collector that adds ended seeds to the record, and the end of a certification to the ledger.

    Attributes:
        recorded_runs: Seeds recorded before this call, by index; a rerun does not change the record.
        ended_attempt: Certification attempt as ended; None while open and without a certification.
    """

    plan: VerifyPlan
    evidence: Evidence
    record: Record
    recorded_runs: Mapping[int, SeedRun]
    rerun_results: dict[int, SeedRun] = field(default_factory=dict)
    ended_attempt: Attempt | None = None

    @property
    def _workspace(self) -> Workspace:
        return self.evidence.workspace

    def take(self, seed_result: Result) -> None:
        """Enter the result of a seed, weights before the record that names the weights; end a futile attempt."""
        number = None if self.plan.attempt is None else self.plan.attempt.number
        run = SeedRun.of(seed_result, number, self.plan.beacon)
        original = self.recorded_runs.get(run.index)
        # Weights precede the record, so that all recorded weights exist.
        if original is None or run.weights_sha256 == original.weights_sha256:
            weights_file = _weights_file(_folder_of(self.plan, self._workspace), run.index)
            path = self.record.weights_path(self._workspace.records, run.index)
            # Shipped weights are not copied.
            is_unshipped = self.record.kept_weights(self._workspace.records, run.index) in (None, path)
            if is_unshipped and weights_file.exists():
                files.write_bytes(path, weights_file.read_bytes())
        if original is not None:
            self.rerun_results[run.index] = run
            return
        _refuse_equal_weights(run, self.record)
        self.record = self.record.with_seeds(run)
        record_files.write(self._workspace.records, self.record)
        self.close_if_futile()

    def close_if_futile(self) -> None:
        """End a futile attempt at once, so that running seeds or a later call cannot improve the outcome."""
        attempt = self.plan.attempt
        runs = [run for index in self.plan.indices if (run := self.record.seed(index)) is not None]
        if attempt is None or not runs:
            return
        errors = [run.test_errors for run in runs]
        seeds = len(self.plan.indices)
        if bounds.is_futile(errors, runs[0].test_size, seeds, self.plan.target_pct, attempt.confidence):
            self._close(AttemptResult.FUTILE, attempt.bound_pct(self.record))

    def close(self) -> None:
        if self.plan.attempt is not None:
            self._close(*self.plan.attempt.result(self.record))

    def _close(self, outcome: AttemptResult, bound_pct: float | None) -> None:
        if self.plan.attempt is not None and self.ended_attempt is None:
            self.ended_attempt = ledger.close(
                self.evidence.workspace.ledger, self.plan.attempt, outcome=outcome, lower_bound_pct=bound_pct
            )


def _jobs_of(plan: VerifyPlan, workspace: Workspace, record: Record) -> list[Job]:
    """Return the jobs of the seeds that are not recorded; if all are recorded, of the seeds to repeat."""
    folder = _folder_of(plan, workspace)
    stem = record.stem
    missing_indices = [index for index in plan.indices if record.seed(index) is None]
    to_repeat = plan.indices if plan.repeat and not plan.certify else ()
    jobs = []
    for index in missing_indices or to_repeat:
        # A repeat uses the recorded beacon and engine, so that equal bits are due.
        run = record.seed(index)
        beacon = plan.beacon if run is None else run.beacon
        job = Job(
            architecture=plan.architecture,
            recipe=plan.named_recipe.recipe,
            recipe_name=plan.named_recipe.name,
            purpose=Purpose.VERIFY,
            seed_index=index,
            beacon=beacon or "",
            device=plan.device,
            engine=engine_of_repeat(plan.engine, None if run is None else run.environment.engine),
            test_log=workspace.test_log,
            test_each_epoch=plan.named_recipe.test_each_epoch,
            inspection=result.inspection_path(workspace.runs, stem, index),
            weights=_weights_file(folder, index),
        )
        jobs.append(job)
    return jobs


def _weights_file(folder: Path, index: int) -> Path:
    return folder / f"seed-{index:04d}.safetensors"


def recorded_verdict(plan: VerifyPlan, evidence: Evidence) -> Verification:
    """Return the verdict on the recorded seeds of a plan, without running any seed."""
    return _verdict_of(_SeedCollector(plan, evidence, _record_of(plan, evidence), {}), evidence)


def _verdict_of(collector: _SeedCollector, evidence: Evidence) -> Verification:
    record = collector.record
    recorded_runs = {run.index: run for run in record.seeds}
    last_runs = recorded_runs | collector.rerun_results
    runs = tuple(last_runs[index] for index in collector.plan.indices if index in last_runs)
    reruns = _reruns_of(record, collector.rerun_results)
    is_contradicted = False
    # Different weights may contradict, by the errors, on any machine.
    if not all(rerun.identical for rerun in reruns):
        repeated_errors = [run.test_errors for run in collector.rerun_results.values()]
        recorded_errors = [run.test_errors for run in record.seeds]
        is_contradicted = bounds.is_worse(repeated_errors, recorded_errors, record.seeds[0].test_size)
    for name in evidence.tested_before(record):
        if have_equal_test_images(dataset(name), dataset(record.dataset)):
            continue
        say_once(
            f"equal weights of {record.hash} were tested on {name} before: {record.dataset} has the same training "
            "images and other test images; if the test parts overlap, this verification counts as a further look",
            "warning",
        )
    verdict = Verification.of(record, evidence.entries)
    attempt = collector.ended_attempt
    return replace(verdict, runs=runs, reruns=reruns, is_contradicted=is_contradicted, attempt=attempt)


def _reruns_of(record: Record, repetitions: Mapping[int, SeedRun]) -> tuple[Rerun, ...]:
    reruns = []
    for index, run in sorted(repetitions.items()):
        original = record.seed(index)
        assert original is not None, "a rerun is of a recorded seed"
        identical: bool | None = run.weights_sha256 == original.weights_sha256
        if not identical and not run.environment.gives_bits_of(original.environment):
            identical = None
        reruns.append(Rerun(index, run.test_errors, original.test_errors, identical))
    return tuple(reruns)
