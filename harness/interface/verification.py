"""Verification from request to verdict, for ``harness.verify``, for the command, and for certificates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data import datasets
from harness.evidence import ledger
from harness.evidence.leaderboard_table import read_evidence, refresh
from harness.interface import options
from harness.interface.lookup import KnownRow, NetworkArgument, network_argument, only_row, recipe_of
from harness.interface.results import Study, Trial, VerificationResult
from harness.searching.option_types import PER_CENT, WORKERS
from harness.system import files
from harness.system.errors import UsageError
from harness.system.files import Workspace, check_writable
from harness.system.machine import choose_device, worker_count
from harness.system.option import converted
from harness.system.terminal import counted, duration_text, say
from harness.system.user_code import function_of
from harness.training.recipe import check_network

if TYPE_CHECKING:
    from collections.abc import Set

    from harness.evidence.certificate import Certificate
    from harness.evidence.verification_runs import VerifyPlan
    from harness.interface.results import NetworkLike
    from harness.spaces.network import Task
    from harness.training.executors.base import ExecutorFactory

_DEFAULT_SEEDS = 10  # seeds of a verification
_MAX_SECONDS_A_SEED = 6 * 3600  # s, time limit of a training


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """The checked arguments of ``harness.verify``, under the same names, and ``certify``.

    Attributes:
        seeds: Number of seeds; None for ``_DEFAULT_SEEDS``, or ``ledger.DEFAULT_SEEDS`` for a certification.
        certify: Certification: the seeds are declared in a commit, and the lower bound must reach the target.
    """

    network: NetworkLike
    seeds: int | None = None
    target_pct: float | None = None
    recipe: str | None = None
    epochs: int | None = None
    dataset: str = datasets.AUTO
    name: str = ""
    workers: int | None = None
    device: str = "auto"
    engine: str = "auto"
    data: Path | None = None
    certify: bool = False


def plan_verification(request: VerifyRequest, workspace: Workspace) -> VerifyPlan:
    """Return the plan of a verification, after all checks that need no training; raises as ``verify`` does."""
    task = datasets.dataset_of_option(request.dataset).task
    argument, row = _network_and_row(request, task, workspace)
    recipe_choice = recipe_of(row, request.recipe, request.epochs, workspace)
    check_network(recipe_choice.recipe, argument.architecture, task)
    if recipe_choice.recipe.trainer:
        # The text equals no hash: seeds without ``trainer_sha256``, of an older version, must not be pooled with seeds
        # of different code.
        function_of(recipe_choice.recipe.trainer, "trainer", recipe_choice.recipe.trainer_sha256 or "not recorded")
    if request.certify and request.seeds is not None and request.seeds < ledger.MIN_SEEDS:
        raise UsageError(f"seeds {request.seeds}: a certification requires at least {ledger.MIN_SEEDS} seeds")

    from harness.data.training_images import load
    from harness.evidence.verification_runs import VerifyPlan, due_indices
    from harness.training.native.engine import choose_engine

    device = choose_device(request.device)
    choice = choose_engine(request.engine, recipe_choice.recipe, device, argument.architecture.op_types)
    dataset = request.dataset
    if dataset == datasets.AUTO and row is not None and row.dataset is not None:
        dataset = row.dataset
    images = load(dataset, request.data)
    image_count = len(images.train_labels)
    recipe_choice.recipe.check_batch(image_count)
    options.say_training(choice, recipe_choice.recipe, image_count)
    target_pct = request.target_pct
    if target_pct is None and row is not None:
        target_pct = row.target_pct
    plan = VerifyPlan(
        architecture=argument.architecture,
        named_recipe=recipe_choice,
        data=images.dataset,
        target_pct=images.dataset.target(target_pct),
        indices=(),
        device=str(device),
        engine=request.engine if request.engine == "auto" else choice.kind,
        workers=worker_count(request.workers, device),
        name=request.name or argument.name,
        certify=request.certify,
    )
    for folder in (workspace.root, workspace.records, workspace.runs):
        check_writable(folder)
    if request.certify:
        return replace(plan, indices=tuple(range(request.seeds or ledger.DEFAULT_SEEDS)))
    return replace(plan, indices=due_indices(plan, read_evidence(workspace), request.seeds or _DEFAULT_SEEDS))


def _network_and_row(
    request: VerifyRequest, task: Task, workspace: Workspace
) -> tuple[NetworkArgument, KnownRow | None]:
    """Return the network, and the row that sets open options, if any."""
    argument = network_argument(request.network, workspace, task)
    if isinstance(request.network, Trial | Study):
        return argument, argument.rows[0]
    return argument, only_row(argument, dataset=request.dataset, target_pct=request.target_pct, recipe=request.recipe)


def run_verification(
    plan: VerifyPlan, workspace: Workspace, folder: Path | None, make_executor: ExecutorFactory | None = None
) -> VerificationResult:
    """Train and test the seeds of a plan, show the progress, and rewrite the leaderboard; raises as ``verify`` does.

    Args:
        make_executor: Factory of the executor; None trains in processes of this machine.
    """
    from harness.evidence.bounds import group_warning
    from harness.evidence.verification_runs import run_seeds
    from harness.training.executors.base import DataLocation, Limits
    from harness.training.executors.processes import Processes
    from harness.training.progress import Reporter

    spec = plan.data
    if warning := group_warning(spec):
        say(warning, "warning")
    source = DataLocation(plan.data.name, folder)
    limits = Limits(seconds=_MAX_SECONDS_A_SEED)
    with Reporter(None, "seeds") as reporter:

        def on_begin(count: int, recorded_indices: Set[int]) -> None:
            reporter.show(done=0, total=count)
            left_out = {*range(max(plan.indices))} - {*plan.indices} - recorded_indices
            # A certificate leaves out the seeds of other rows by design.
            if plan.repeat and not plan.certify and left_out:
                why = "run or declared for another target or a certification, so no longer fresh"
                say(f"{counted(len(left_out), 'earlier seed')} left out: {why}")
            if count:
                say(
                    f"{counted(count, 'seed')} of {plan.architecture.hash}, each trained for "
                    f"{counted(plan.named_recipe.recipe.epochs, 'epoch')} of {plan.named_recipe.name} on all "
                    f"{spec.train_size + spec.validation_size:,} training images of {spec.title}, then tested on the "
                    f"{spec.test_size:,} test images{_forecast(plan, count)}"
                )

        verdict = run_seeds(
            plan, workspace, source, limits, reporter.on_worker_event, make_executor or Processes,
            on_begin=on_begin, on_wait=reporter.tick,
        )  # fmt: skip
    refresh(workspace)
    return VerificationResult(verdict)


def _forecast(plan: VerifyPlan, count: int) -> str:
    from harness.searching.time_budget import pace_of, rounds, step_macs
    from harness.training.native.engine import choose_engine

    recipe = plan.named_recipe.recipe
    if recipe.trainer:
        return ""
    spec = plan.data
    choice = choose_engine(plan.engine, recipe, choose_device(plan.device), plan.architecture.op_types)
    images = spec.train_size + spec.validation_size
    pace = pace_of(choice.kind, plan.device).of_recipe(recipe)
    seconds = pace.seconds(recipe.epochs, images, step_macs(plan.architecture, spec.task))
    return f": about {duration_text(max(1, rounds(count, plan.workers) * seconds))}, longer on a busy machine"


def certificate(network: Trial, seeds: int, *, dataset: str, target_pct: float, workers: int | str) -> Certificate:
    """Declare fresh seeds of a network, run the seeds at once, and return the certificate.

    Raises the errors of ``verify``, and ContentError if the allowed chance of a false certificate is spent.
    """
    from harness.evidence.certificate import Certificate
    from harness.evidence.verification_runs import declare_certificate

    workspace = files.workspace()
    target_pct = converted("target_pct", PER_CENT, target_pct)
    worker_limit = converted("workers", WORKERS, workers)
    request = VerifyRequest(
        network=network, seeds=seeds, target_pct=target_pct, dataset=dataset, workers=worker_limit, certify=True
    )
    plan = plan_verification(request, workspace)
    declaration = declare_certificate(plan, workspace, seeds)
    plan = replace(plan, certify=False, repeat=False, indices=declaration.indices)
    return Certificate.of(run_verification(plan, workspace, None).record, declaration)
