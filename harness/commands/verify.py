"""``harness verify``: train a network again on fresh seeds, read the test set once a seed, say what stands."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.shared import options
from harness.data.datasets import task_of
from harness.system import statistics
from harness.system.errors import UsageError
from harness.system.files import Workspace, check_writable, workspace
from harness.system.terminal import counted, say

if TYPE_CHECKING:
    from harness.evidence.verify import Plan, Rerun, Verdict
    from harness.training.cluster.ray_link import Link
    from harness.training.executor import Source


@click.command(short_help="Train a network on the seeds for tests and read the test set.")
@click.argument("network")
@click.option("--seeds", type=click.IntRange(1, 1000), help="How many seeds [default: 10, or 30 with --certify].")
@click.option("--recipe", help="A recipe's name or @FILE.toml [default: the row's own, else fast].")
@click.option(
    "--epochs",
    type=click.IntRange(1),
    help="Number of epochs, in place of the recipe's; needs --recipe where a row has one.",
)
@click.option("--certify", is_flag=True, help="The lower bound must reach the target, on seeds declared in a commit.")
@click.option("--declare-only", is_flag=True, help="With --certify: enter the attempt in the ledger, train nothing.")
@click.option(
    "--target",
    type=options.PER_CENT,
    help="Test accuracy to reach, in per cent [default: the row's, else the data set's].",
)
@click.option("--name", default="", help="Name of the row.")
@options.data_options
@options.device_option
@options.engine_option
@options.workers_option
@options.cluster_option
@options.as_json
def verify(
    network: str,
    seeds: int | None,
    recipe: str | None,
    epochs: int | None,
    certify: bool,
    declare_only: bool,
    target: float | None,
    name: str,
    dataset: str,
    folder: Path | None,
    device: str,
    engine: str,
    workers: int | None,
    cluster: str | None,
    as_json: bool,
) -> int:
    """Train NETWORK on a fixed list of seeds and all training images, and read the test set once for each seed.

    NETWORK is a hash or name of the leaderboard, a preset such as seed4, the notation in quotes, @FILE, or '-' (stdin).
    Nobody chooses the seeds: seed 0 is the same number for everybody. Exit code 3 if the target is missed. After an
    interruption, the same command runs only the missing seeds.

    To certify a network: declare the attempt (--certify --declare-only), commit records/ledger.jsonl, then run it
    (--certify). For all attempts at a target together, the chance that any of them is certified
    falsely is at most five per cent; each attempt uses a part of it.

    \b
    harness verify 4b8be5 --seeds 5
    harness verify 'conv3x3(8) bn relu | maxpool | conv3x3(16) bn relu | gap | linear(10)'
    """
    from harness.data.training_images import resolve
    from harness.evidence import ledger
    from harness.evidence.leaderboard import collect
    from harness.evidence.verify import Plan
    from harness.networks import only_row, read_network, recipe_of
    from harness.system.machine import choose_device, worker_count
    from harness.training.executor import Source
    from harness.training.native.native import choose_engine
    from harness.training.recipe import check_batch, check_statistics

    place = workspace()
    task = task_of(dataset)
    given = read_network(network, place, task)
    wanted = None if dataset == "auto" else dataset
    row = only_row(given, dataset=wanted, target_pct=target, recipe_given=recipe is not None)
    named = recipe_of(row, recipe, epochs)
    check_statistics(named.recipe, given.architecture, task)
    if declare_only and not certify:
        raise UsageError("--declare-only declares a certification: give --certify with it")
    if certify and seeds is not None and seeds < ledger.FEWEST_SEEDS:
        raise UsageError(f"--seeds {seeds}: a certification takes at least {ledger.FEWEST_SEEDS} seeds")
    if certify and not declare_only and seeds is not None:
        raise UsageError("--seeds has no effect on a declared certification: give it with --declare-only")
    chosen = choose_device(device)
    choice = choose_engine(engine, named.recipe, chosen)
    options.say_engine(choice)
    options.say_teacher(named.recipe, task, place.teachers)
    data = resolve(wanted or (row.dataset if row and row.dataset else dataset), folder)
    check_batch(named.recipe, len(data.train_labels))
    stated = row.target_pct if row is not None and target is None else target
    plan = Plan(
        architecture=given.architecture,
        recipe=named,
        dataset=data.dataset.name,
        target_pct=data.dataset.target_pct if stated is None else stated,
        indices=tuple(range(seeds or (ledger.DEFAULT_SEEDS if certify else 10))),
        device=str(chosen),
        engine=engine if engine == "auto" else choice.kind,
        workers=worker_count(workers, chosen),
        name=name or given.name,
        certify=certify,
    )
    for needed in (place.root, place.records, place.runs):
        check_writable(needed)
    collect(place)
    options.say_recipe(named, recipe, row)
    if declare_only:
        return _declare(plan, place, seeds or ledger.DEFAULT_SEEDS, as_json)
    # The seeds of a certification are those of its declaration.
    if not certify:
        spec = data.dataset
        say(
            f"{counted(len(plan.indices), 'seed')} of {given.architecture.hash}, each trained on all "
            f"{spec.train_size + spec.validation_size:,} training images of {spec.title}, then tested on its "
            f"{spec.test_size:,} test images"
        )
    with options.resumable(), options.cluster(cluster, plan.workers) as link:
        verdict = _run(plan, place, Source(data.dataset.name, folder), link, workers)
    options.print_json(_document(verdict)) if as_json else click.echo(_text(verdict))
    return 0 if verdict.passed else 3


def _declare(plan: Plan, place: Workspace, seeds: int, as_json: bool) -> int:
    from harness.evidence.verify import declare

    attempt = declare(plan, place, seeds)
    options.answer(
        as_json,
        {"attempt": asdict(attempt), "ledger": str(place.ledger)},
        f"attempt {attempt.number}: {attempt.hash} with recipe {attempt.recipe_hash}, {attempt.dataset}, target "
        f"{attempt.target_pct:g} %, seeds {attempt.indices[0]} to {attempt.indices[-1]}, "
        f"{100 * (1 - attempt.alpha):g} % lower bound\n"
        f"commit {place.ledger}, then run the same command without --declare-only and --seeds",
    )
    return 0


def _run(plan: Plan, place: Workspace, source: Source, link: Link | None, processes: int | None) -> Verdict:
    from harness.evidence.leaderboard import refresh
    from harness.evidence.verify import run_seeds
    from harness.training.cluster.cluster import Asked, Kinds, joined_by
    from harness.training.executor import ExecutorOf, Limits
    from harness.training.processes import Processes
    from harness.training.progress import Reporter

    executor_of: ExecutorOf = Processes
    if link is not None:
        # The seeds of a certification stay on one kind of machine.
        kinds = Kinds.ONE if plan.certify else Kinds.ANY
        executor_of = joined_by(link, Asked(device=plan.device, engine=plan.engine, processes=processes, kinds=kinds))
    with Reporter(len(plan.indices), "seeds") as reporter:
        verdict = run_seeds(plan, place, source, Limits(seconds=6 * 3600), reporter.on_event, executor_of)
    refresh(place)
    return verdict


def _document(verdict: Verdict) -> dict[str, Any]:
    from harness.evidence import ledger
    from harness.evidence.verify import machines_of
    from harness.system.document import document_of
    from harness.training.result import finite

    accuracies = [run.accuracy_pct for run in verdict.runs]
    return {
        "architecture": str(verdict.record.architecture),
        "hash": verdict.record.hash,
        "parameters": verdict.record.parameters,
        "recipe": verdict.record.recipe_name,
        "recipe_hash": verdict.record.recipe_hash,
        "dataset": verdict.record.dataset,
        "tier": verdict.row.tier,
        "reached": verdict.row.reached,
        "passed": verdict.passed,
        "target_pct": verdict.record.target_pct,
        "mean_test_accuracy_pct": finite(statistics.mean(accuracies)),
        "std_test_accuracy_pct": finite(statistics.standard_deviation(accuracies)),
        "lower_bound_pct": finite(statistics.lower_bound(accuracies, ledger.CONFIDENCE)),
        "test_errors": [run.test_errors for run in verdict.runs],
        "seeds": [run.seed for run in verdict.runs],
        "teacher_seconds": verdict.record.teacher_seconds,
        "statuses": [run.status for run in verdict.runs],
        "weights_sha256": [run.weights_sha256 for run in verdict.runs],
        "machines": [{"kind": kind, "seeds": count} for kind, count in machines_of(verdict.runs)],
        "repeats": [asdict(rerun) for rerun in verdict.reruns],
        "contradicted": verdict.contradicted,
        "attempt": None if verdict.attempt is None else asdict(verdict.attempt),
        "row": document_of(verdict.row),
    }


def _text(verdict: Verdict) -> str:
    from harness.evidence.verify import machines_of

    lines = []
    reruns = {rerun.index: rerun for rerun in verdict.reruns}
    for run in verdict.runs:
        line = f"seed {run.index}: {run.accuracy_pct:.2f} % ({run.test_errors} errors), {run.train_seconds:.0f} s"
        if run.index in reruns:
            line += f"; {_rerun_text(reruns[run.index])}"
        lines.append(line)
    accuracies = [run.accuracy_pct for run in verdict.runs]
    # One seed has no deviation.
    if len(accuracies) > 1:
        lines.append(
            f"these {len(accuracies)} seeds: mean {statistics.mean(accuracies):.3f} %, "
            f"deviation {statistics.standard_deviation(accuracies):.3f}"
        )
    machines = machines_of(verdict.runs)
    if len(machines) > 1:
        lines.append(
            "several kinds of machines trained: " + "; ".join(f"{count} on {kind}" for kind, count in machines)
        )
    row = verdict.row
    seeds = "the only seed" if row.seeds == 1 else f"all {row.seeds} seeds"
    bound = f", 99 % lower bound {row.lower_bound_pct:.3f} %" if row.lower_bound_pct is not None else ""
    lines.append(
        f"the row, {seeds} ever run: mean {row.mean_test_accuracy_pct:.3f} %{bound}; "
        f"{row.parameters:,} parameters, recipe {row.recipe}, {row.dataset}"
    )
    if verdict.record.teacher_seconds:
        lines.append(f"teacher: {verdict.record.teacher_seconds:.0f} s of training, once for all seeds")
    is_known = len(verdict.reruns) == len(verdict.runs) and not verdict.contradicted
    lines.append(f"{'the record stays as it is; ' if is_known else ''}{_verdict_text(verdict)}")
    return "\n".join(lines)


def _rerun_text(rerun: Rerun) -> str:
    if rerun.identical:
        return "identical to the record, bit for bit"
    if rerun.identical is False:
        return f"NOT the recorded weights ({rerun.recorded_test_errors} errors there) on an equal machine"
    return (
        f"the record has {rerun.recorded_test_errors} errors; a difference is normal, as another machine, torch or "
        "build of the engine trained then"
    )


def _verdict_text(verdict: Verdict) -> str:
    from harness.evidence.leaderboard import VERIFIED_CONFIDENCE, Tier

    target = f"{verdict.record.target_pct:g} %"
    if verdict.attempt is not None:
        bound = verdict.attempt.lower_bound_pct
        shown = "none" if bound is None else f"{bound:.3f} %"
        return (
            f"attempt {verdict.attempt.number}, {verdict.attempt.seeds} seeds from index "
            f"{verdict.attempt.first_index}: {verdict.attempt.outcome}, {100 * (1 - verdict.attempt.alpha):g} % lower "
            f"bound {shown} against {target}; it stays in the ledger"
        )
    if verdict.contradicted:
        return "this re-run is worse than the record (one-sided test, 5 %)"
    tier = verdict.row.tier
    if tier is Tier.CERTIFIED:
        return f"{tier}: seeds that were declared first reached {target} by the lower bound of their mean"
    bound = statistics.lower_bound(verdict.record.accuracies_pct, VERIFIED_CONFIDENCE)
    named = f"lower {100 * VERIFIED_CONFIDENCE:g} % bound"
    if tier is Tier.AT_TARGET:
        return f"{tier}: the mean reaches {target}, but its {named}, {bound:.3f} %, does not"
    if tier is Tier.VERIFIED:
        return f"{tier}: the {named} of the mean, {bound:.3f} %, reaches {target}"
    lacking = "all seeds that were declared" if _is_unfinished(verdict) else "5 seeds or more whose mean reaches it"
    return f"{verdict.row.tier}: {target} is not reached (it takes {lacking})"


def _is_unfinished(verdict: Verdict) -> bool:
    """Whether seeds enough reach the target on average, and only seeds that were declared and not run are wanting."""
    from harness.evidence.leaderboard import VERIFIED_SEEDS

    mean = verdict.row.mean_test_accuracy_pct or 0.0
    return verdict.row.seeds >= VERIFIED_SEEDS and statistics.reaches(mean, verdict.record.target_pct)
