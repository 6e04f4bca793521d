"""``harness train``: train one network on the search split, in this process, and say how it validates."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.shared import options
from harness.data.datasets import task_of
from harness.system.files import workspace
from harness.system.terminal import counted

if TYPE_CHECKING:
    from harness.data.training_images import ImageData
    from harness.training.result import Epoch, Result
    from harness.training.run import Job

# Of a result, by the names that the document has for them too.
_FIELDS = (
    *("hash", "parameters", "macs", "recipe_hash", "dataset", "seed", "seed_index"),
    *("status", "message", "validation_accuracy_pct", "validation_errors", "validation_size"),
    *("train_seconds", "teacher_seconds", "images_per_second", "peak_memory_mb", "weights_sha256"),
)


@click.command(short_help="Train one network once and validate it.")
@click.argument("network")
@click.option("--recipe", default="fast", show_default=True, help="A recipe's name, or @FILE.toml.")
@click.option("--epochs", type=click.IntRange(1), help="Number of epochs, in place of the recipe's.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Index of one of the fixed seeds.")
@click.option("--budget", type=click.IntRange(1), help="Parameter budget; exit with 4 when the network has more.")
@options.data_options
@options.device_option
@options.engine_option
@options.as_json
def train(
    network: str,
    recipe: str,
    epochs: int | None,
    seed: int,
    budget: int | None,
    dataset: str,
    folder: Path | None,
    device: str,
    engine: str,
    as_json: bool,
) -> int:
    """Train NETWORK once on the search split and validate it after every epoch.

    NETWORK is a hash or name of the leaderboard, a preset such as seed4, the notation in quotes, @FILE, or '-'
    (stdin). The test set is not read; 'harness verify' does that. One thread trains, as in a search, so that the
    same seed gives the same weights. Exit code 3 when training diverges.

    \b
    harness train seed4 --epochs 3
    harness train 'conv3x3(8) bn relu | maxpool | conv3x3(16) bn relu | gap | linear(10)' --json
    """
    from harness.networks import read_network
    from harness.training.recipe import check_statistics, named_recipe
    from search_spaces.cost import analyse, check_budget

    task, place = task_of(dataset), workspace()
    given = read_network(network, place, task)
    if budget is not None:
        check_budget(analyse(given.architecture, task).parameters, budget)
    named = named_recipe(recipe, epochs=epochs)
    check_statistics(named.recipe, given.architecture, task)

    # torch is loaded from here on: bad input is refused before.
    from harness.data.training_images import resolve
    from harness.system.machine import choose_device
    from harness.training.native.native import choose_engine
    from harness.training.result import Purpose, Status
    from harness.training.run import Job

    chosen = choose_device(device)
    choice = choose_engine(engine, named.recipe, chosen)
    options.say_engine(choice)
    options.say_teacher(named.recipe, task, place.teachers)
    job = Job(
        architecture=given.architecture,
        recipe=named.recipe,
        recipe_name=named.name,
        purpose=Purpose.TRAIN,
        seed_index=seed,
        device=str(chosen),
        engine=choice.kind,
        teachers=place.teachers,
        evaluate_each_epoch=True,
    )
    result = _run(job, resolve(dataset, folder))
    document = {name: getattr(result, name) for name in _FIELDS}
    document |= {
        "architecture": str(result.architecture),
        "recipe": result.recipe_name,
        "epochs": len(result.history),
        "history": [asdict(epoch) for epoch in result.history],
        "environment": asdict(result.environment) if result.environment else None,
    }
    options.answer(as_json, document, _text(result))
    return 3 if result.status is Status.DIVERGED else 0


def _run(job: Job, data: ImageData) -> Result:
    import torch

    from harness.training.progress import Reporter
    from harness.training.result import accuracy_pct
    from harness.training.run import TrainingData, execute

    steps = data.dataset.train_size // job.recipe.batch_size
    torch.set_num_threads(1)
    with Reporter(steps * job.recipe.epochs, "steps") as reporter:

        def on_epoch(epoch: Epoch) -> None:
            loss = "not finite" if epoch.train_loss is None else f"{epoch.train_loss:.4f}"
            accuracy = accuracy_pct(epoch.validation_errors, data.dataset.validation_size)
            told = f"loss {loss}, validation {accuracy:.2f} %, {epoch.train_seconds:.1f} s"
            reporter.say(f"epoch {epoch.epoch}/{job.recipe.epochs}: {told}")

        return execute(job, TrainingData.of(data), on_epoch=on_epoch, on_step=lambda: reporter.advance())


def _text(result: Result) -> str:
    device, engine = (result.environment.device, result.environment.engine) if result.environment else ("", "")
    lines = [
        str(result.architecture),
        f"hash {result.hash}, {result.parameters:,} parameters",
        f"{result.dataset}, recipe {result.recipe_name}, seed {result.seed_index}",
        f"validation accuracy {result.validation_accuracy_pct:.2f} % ({result.validation_errors} errors of "
        f"{result.validation_size:,}) after {counted(len(result.history), 'epoch')}",
        f"{result.train_seconds:.1f} s on {device} ({engine}), {result.images_per_second:,.0f} images a second",
    ]
    if result.teacher_seconds:
        lines.append(f"teacher: {result.teacher_seconds:.1f} s, once for all students of this recipe")
    if result.message:
        lines.append(f"{result.status}: {result.message}")
    return "\n".join(lines)
