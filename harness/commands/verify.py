"""``harness verify``: train a network again on fresh seeds, read the test set once a seed, say what stands."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.shared import options
from harness.data.datasets import task_of
from harness.system import statistics
from harness.system.errors import UsageError
from harness.system.files import check_writable, workspace
from harness.system.terminal import counted, say

if TYPE_CHECKING:
    from harness.evidence.verify import Verdict


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
    from harness.evidence.leaderboard import collect, refresh
    from harness.evidence.verify import Plan, declare, run_seeds
    from harness.networks import only_row, read_network, recipe_of
    from harness.system.machine import choose_device, worker_count
    from harness.training.executor import ExecutorOf, Limits, Source
    from harness.training.native.native import choose_engine
    from harness.training.processes import Processes
    from harness.training.progress import Reporter
    from harness.training.recipe import check_batch, check_statistics
    from search_spaces.ops import op_types

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
    choice = choose_engine(engine, named.recipe, chosen, op_types(given.architecture.ops))
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
        attempt = declare(plan, place, seeds or ledger.DEFAULT_SEEDS)
        text = (
            f"attempt {attempt.number}: seeds {attempt.indices[0]} to {attempt.indices[-1]} of {attempt.hash}, target "
            f"{attempt.target_pct:g} %, {100 * (1 - attempt.alpha):g} % lower bound\n"
            f"commit {place.ledger}, then run the same command without --declare-only and --seeds"
        )
        options.answer(as_json, {"attempt": asdict(attempt), "ledger": str(place.ledger)}, text)
        return 0
    # The seeds of a certification are those of its declaration.
    if not certify:
        spec = data.dataset
        say(
            f"{counted(len(plan.indices), 'seed')} of {given.architecture.hash}, each trained on all "
            f"{spec.train_size + spec.validation_size:,} training images of {spec.title}, then tested on its "
            f"{spec.test_size:,} test images"
        )
    with options.resumable(), options.cluster(cluster, plan.workers) as link:
        executor_of: ExecutorOf = Processes
        if link is not None:
            from harness.training.ray import Asked, Kinds, joined_by

            # The seeds of a certification stay on one kind of machine.
            kinds = Kinds.ONE if certify else Kinds.ANY
            executor_of = joined_by(link, Asked(device=plan.device, engine=plan.engine, processes=workers, kinds=kinds))
        source, limits = Source(data.dataset.name, folder), Limits(seconds=6 * 3600)
        with Reporter(len(plan.indices), "seeds") as reporter:
            verdict = run_seeds(plan, place, source, limits, reporter.on_event, executor_of)
        refresh(place)
    _show(verdict, as_json)
    return 0 if verdict.passed else 3


def _show(verdict: Verdict, as_json: bool) -> None:
    from harness.evidence.bounds import over_seeds
    from harness.evidence.leaderboard import VERIFIED_CONFIDENCE
    from harness.evidence.verify import machines_of
    from harness.system.document import document_of
    from harness.training.result import finite

    runs, row, attempt = verdict.runs, verdict.row, verdict.attempt
    accuracies = [run.accuracy_pct for run in runs]
    document = {
        "architecture": str(verdict.record.architecture),
        "hash": row.hash,
        "parameters": row.parameters,
        "recipe": row.recipe,
        "recipe_hash": row.recipe_hash,
        "dataset": row.dataset,
        "tier": row.tier,
        "reached": row.reached,
        "passed": verdict.passed,
        "target_pct": row.target_pct,
        "mean_test_accuracy_pct": finite(statistics.mean(accuracies)),
        "std_test_accuracy_pct": finite(statistics.standard_deviation(accuracies)),
        "lower_bound_pct": over_seeds(accuracies),
        "test_errors": [run.test_errors for run in runs],
        "seeds": [run.seed for run in runs],
        "teacher_seconds": verdict.record.teacher_seconds,
        "statuses": [run.status for run in runs],
        "weights_sha256": [run.weights_sha256 for run in runs],
        "machines": [{"kind": kind, "seeds": count} for kind, count in machines_of(runs)],
        "repeats": [asdict(rerun) for rerun in verdict.reruns],
        "contradicted": verdict.contradicted,
        "attempt": None if attempt is None else asdict(attempt),
        "row": document_of(row),
    }
    identical = {True: "; identical to the record", False: "; NOT the recorded weights", None: "; another machine"}
    again = {rerun.index: identical[rerun.identical] for rerun in verdict.reruns}
    lines = [
        f"seed {run.index}: {run.accuracy_pct:.2f} % ({run.test_errors} errors), {run.train_seconds:.0f} s"
        + again.get(run.index, "")
        for run in runs
    ]
    bound = statistics.lower_bound(verdict.record.accuracies_pct, VERIFIED_CONFIDENCE)
    bounds = f", {100 * VERIFIED_CONFIDENCE:g} % lower bound {bound:.3f} %" if row.seeds > 1 else ""
    lines.append(
        f"{row.tier} (target {row.target_pct:g} %): mean {row.mean_test_accuracy_pct:.3f} %{bounds} over all "
        f"{counted(row.seeds, 'seed')} of the row; {row.parameters:,} parameters, recipe {row.recipe}, {row.dataset}"
    )
    if verdict.contradicted:
        lines.append("these seeds are worse than the record (one-sided test, 5 %)")
    if attempt is not None:
        stated = "none" if attempt.lower_bound_pct is None else f"{attempt.lower_bound_pct:.3f} %"
        confidence = f"{100 * (1 - attempt.alpha):g} % lower bound"
        lines.append(f"attempt {attempt.number}: {attempt.outcome}, {confidence} {stated}")
    options.answer(as_json, document, "\n".join(lines))
