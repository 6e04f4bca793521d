"""The ten functions of ``import harness``; the commands are a thin layer over them.

Nothing slow is imported before a function begins, so that bad input is refused at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data import datasets
from harness.system.errors import TargetMissed, UsageError, require
from harness.system.files import Workspace, check_writable, workspace, write_together
from harness.system.terminal import counted, say

if TYPE_CHECKING:
    import torch

    from harness.data.training_images import ImageData
    from harness.evidence.record import Record, SeedRun
    from harness.explain import Explanation
    from harness.networks import NetworkArgument
    from harness.training.native.native import Choice
    from harness.training.recipe import NamedRecipe, Recipe
    from harness.training.result import Purpose, Result
    from harness.training.run import Job
    from harness.training.train import Training
    from search_spaces.network import Architecture
    from search_spaces.task import Task


# What is said on stderr beside an answer ----------------------------------------------------------------------


def say_engine(choice: Choice) -> None:
    """Say once why torch trains where another engine might have, or what the engine is built without."""
    for why in choice.engine.skipped if choice.engine is not None else ():
        say(f"the engine is built {why}")
    if choice.why:
        say(f"torch trains, not the native engine: {choice.why}")


def say_teacher(recipe: Recipe, task: Task, folder: Path) -> None:
    """Say once that a teacher is trained before its students, where it is not kept."""
    if recipe.teacher_recipe is not None:
        from search_spaces.cost import analyse
        from search_spaces.notation import parse_network

        parameters = analyse(parse_network(recipe.teacher, task), task).parameters
        say(
            f"{counted(recipe.teacher_seeds, 'teacher')} of {parameters:,} parameters; a missing one is trained first, "
            f"for {counted(recipe.teacher_recipe.epochs, 'epoch')}, and kept in {folder}"
        )


# What a network costs --------------------------------------------------------------------------------------------


def explain(network: str | Architecture, *, budget: int | None = None, torch: bool = False) -> Explanation:
    """Return what a network costs, op by op; it prints as a table.

    Args:
        network: notation, preset, hash or name of the leaderboard, or ``@FILE``.
        budget: the most parameters.
        torch: build the network and count with torch, torchsummary and fvcore too.

    Raises:
        ContentError: no network is called so, or it has more parameters than the budget.
        SearchSpaceError: the notation is wrong, or the ops do not fit together.

    >>> print(explain("conv3x3(2) bn relu | gap | linear(10)"))
    op            output  parameters    MACs  receptive field
    conv3x3(2)   2x28x28          18  14,112                3
    bn           2x28x28           4       0                3
    relu         2x28x28           0       0                3
    gap            2x1x1           0       0               30
    linear(10)        10          30      20               30
    total                         52  14,132                3
    plain-52, hash 9b0aa1d24e0d; 56 numbers with the statistics of BN
    """
    from harness.explain import Explanation
    from search_spaces.cost import analyse, check_budget
    from search_spaces.task import MNIST

    architecture = _network(network, workspace(), MNIST).architecture
    analysis = analyse(architecture, MNIST)
    if budget is not None:
        check_budget(analysis.parameters, budget)
    if not torch:
        return Explanation(architecture, analysis)
    from harness.cross_check import cross_check

    return Explanation(architecture, analysis, cross_check(architecture, analysis))


def _network(network: str | Architecture, place: Workspace, task: Task) -> NetworkArgument:
    from harness.networks import NetworkArgument, read_network

    return read_network(network, place, task) if isinstance(network, str) else NetworkArgument(network)


def _folder(data: str | Path | None) -> Path | None:
    """Return the folder of the images: what is given, else ``HARNESS_DATA``, else None for the user's cache."""
    given = data or os.environ.get("HARNESS_DATA")
    return Path(given) if given else None


# One training ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trained:
    """One training of a network on the search split.

    Attributes:
        result: with accuracies of the validation images, history, times and digest of the weights.
        module: what was learned, as ``harness.load`` gives it.
    """

    result: Result
    module: torch.nn.Module

    @property
    def accuracy_pct(self) -> float | None:
        """Accuracy on the validation images at the last epoch, None where the training diverged."""
        return self.result.validation_accuracy_pct

    def document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        result = self.result
        names = (
            *("hash", "parameters", "macs", "recipe_hash", "dataset", "seed", "seed_index", "status", "message"),
            *("validation_accuracy_pct", "validation_errors", "validation_size", "train_seconds", "teacher_seconds"),
            *("images_per_second", "peak_memory_mb", "weights_sha256"),
        )
        return {name: getattr(result, name) for name in names} | {
            "architecture": str(result.architecture),
            "recipe": result.recipe_name,
            "epochs": len(result.history),
            "history": [asdict(epoch) for epoch in result.history],
            "environment": asdict(result.environment) if result.environment else None,
        }

    def __str__(self) -> str:
        result, told = self.result, self.result.environment
        lines = [
            str(result.architecture),
            f"hash {result.hash}, {result.parameters:,} parameters; {result.dataset}, recipe {result.recipe_name}, "
            f"seed {result.seed_index}",
            f"validation accuracy {result.validation_accuracy_pct:.2f} % ({result.validation_errors} errors of "
            f"{result.validation_size:,}) after {counted(len(result.history), 'epoch')}",
            f"{result.train_seconds:.1f} s on {told.device if told else ''} ({told.engine if told else ''}), "
            f"{result.images_per_second:,.0f} images a second",
        ]
        if result.teacher_seconds:
            lines.append(f"teacher: {result.teacher_seconds:.1f} s, once for all students of this recipe")
        return "\n".join([*lines, *([f"{result.status}: {result.message}"] if result.message else [])])


def train(
    network: str | Architecture,
    dataset: str = "auto",
    *,
    recipe: str = "fast",
    epochs: int | None = None,
    seed: int = 0,
    budget: int | None = None,
    device: str = "auto",
    engine: str = "auto",
    data: str | Path | None = None,
) -> Trained:
    """Train a network once on the search split, in this process; the test set is not read.

    Args:
        network: as ``explain`` takes it.
        dataset: ``mnist``, ``fashion-mnist``, ``kmnist``, ``mnist-5k`` (no files needed), or ``auto``.
        recipe: a name or ``@FILE.toml``; ``epochs`` takes the place of its own.
        seed: index of one of the fixed seeds.
        budget: the most parameters.
        data: folder of the images, in torchvision's layout.

    Raises:
        UsageError: an unknown recipe, data set or engine.
        ContentError: the network has more parameters than the budget, or the recipe does not suit it or the data.
        DataError: the images are missing or damaged.
        DeviceError: there is no such device.

    >>> trained = train("conv3x3(4) bn relu | maxpool(4) | gap | linear(10)", "mnist-5k", epochs=1)
    >>> trained.result.parameters, trained.accuracy_pct > 10
    (94, True)
    """
    from harness.training.recipe import check_statistics, named_recipe
    from search_spaces.cost import analyse, check_budget

    task, place = datasets.task_of(dataset), workspace()
    architecture = _network(network, place, task).architecture
    if budget is not None:
        check_budget(analyse(architecture, task).parameters, budget)
    named = named_recipe(recipe, epochs=epochs)
    check_statistics(named.recipe, architecture, task)

    from harness.data.training_images import resolve
    from harness.export import OfPixels
    from harness.training.result import Purpose
    from harness.training.train import final_network

    job = _job(architecture, named, Purpose.TRAIN, seed, device, engine, place)
    images = resolve(dataset, _folder(data))
    result, run = _trained(replace(job, evaluate_each_epoch=True), images)
    return Trained(result, OfPixels(final_network(run), images.dataset))


def _job(
    architecture: Architecture,
    named: NamedRecipe,
    purpose: Purpose,
    seed: int,
    device: str,
    engine: str,
    place: Workspace,
) -> Job:
    from harness.system.machine import choose_device
    from harness.training.native.native import choose_engine
    from harness.training.run import Job
    from search_spaces.ops import op_types

    chosen = choose_device(device)
    choice = choose_engine(engine, named.recipe, chosen, op_types(architecture.ops))
    say_engine(choice)
    return Job(
        architecture=architecture,
        recipe=named.recipe,
        recipe_name=named.name,
        purpose=purpose,
        seed_index=seed,
        device=str(chosen),
        engine=choice.kind,
        teachers=place.teachers,
    )


def _trained(job: Job, data: ImageData) -> tuple[Result, Training]:
    """Train in this process and show how it goes on."""
    import torch

    from harness.training.progress import Reporter
    from harness.training.result import Epoch, Purpose, accuracy_pct
    from harness.training.run import TrainingData, execute_and_keep

    assert job.teachers is not None
    say_teacher(job.recipe, data.dataset.task, job.teachers)
    images = len(data.train_labels) if job.purpose is Purpose.VERIFY else data.dataset.train_size
    # As in a search and in a verification: the number of threads has a part in the bits.
    torch.set_num_threads(1)
    with Reporter(images // job.recipe.batch_size * job.recipe.epochs, "steps") as reporter:

        def on_epoch(epoch: Epoch) -> None:
            if job.evaluate_each_epoch:
                loss = "not finite" if epoch.train_loss is None else f"{epoch.train_loss:.4f}"
                accuracy = accuracy_pct(epoch.validation_errors, data.dataset.validation_size)
                told = f"loss {loss}, validation {accuracy:.2f} %, {epoch.train_seconds:.1f} s"
                reporter.say(f"epoch {epoch.epoch}/{job.recipe.epochs}: {told}")

        return execute_and_keep(job, TrainingData.of(data), on_epoch, lambda: reporter.advance())


# Weights for other programs --------------------------------------------------------------------------------------

_CHECKED_IMAGES = 1_000


@dataclass(frozen=True, slots=True)
class Exported:
    """Files of a trained network; ``facts`` are what ``harness export --json`` prints."""

    facts: Mapping[str, Any]

    def __str__(self) -> str:
        comparison = {
            "identical": "those of the record, bit for bit",
            "repeated": "of a repeat on another processor: the recorded errors, other last bits",
            "different": "NOT those of the record, though machine and engine are equal: please report this",
            "made elsewhere": f"the recorded ones were made elsewhere ({self.facts['recorded_engine']})",
            "not on record": "this seed has no record here to compare with",
        }
        how = "the weights kept with the record"
        if self.facts["trained"]:
            how = "{epochs} epochs in {train_seconds:.0f} s ({engine})".format(**self.facts)
        lines = [
            "{hash}, {parameters:,} parameters ({stored_numbers:,} stored numbers), recipe {recipe} on {dataset}, seed "
            "{seed_index}: ".format(**self.facts)
            + f"{how}; the test set was not read",
            f"weights {self.facts['weights_sha256'][:12]}: {comparison[self.facts['match']]}",
        ]
        for file in self.facts["files"]:
            line = "{file}: {format}, {size_bytes:,} bytes".format(**file)
            if check := file.get("check"):
                line += (
                    f"; onnxruntime and torch on {check['images']:,} training images: logits differ by at most "
                    f"{check['largest_difference']:.1g} of the largest, classes on {check['classes_differ']}"
                )
            lines.append(line)
        return "\n".join(lines)


def export(
    network: str | Architecture,
    onnx: str | Path | None = None,
    safetensors: str | Path | None = None,
    *,
    seed: int = 0,
    recipe: str | None = None,
    epochs: int | None = None,
    dataset: str = "auto",
    device: str = "auto",
    engine: str = "auto",
    data: str | Path | None = None,
    retrain: bool = False,
) -> Exported:
    """Write a trained network as ONNX or safetensors: the kept weights of a recorded seed, or a network of no record.

    The ONNX model takes raw pixels, uint8 (batch, channels, rows, columns), and is compared with torch before it is
    written. A network without a record is trained on all training images; so is a recorded one with ``retrain``.

    Raises:
        UsageError: no file is named, a file cannot be written, or the weights of the seed are not kept.
        ContentError: several rows fit, or the recipe does not suit the data.
        DeviceError: packages are missing, or there is no such device.
        TargetMissed: the training diverged; nothing was written.

    >>> made = export("conv3x3(4) | gap | linear(10)", safetensors="net.st", dataset="mnist-5k", recipe="smoke")
    >>> made.facts["files"][0]["format"]
    'safetensors'
    """
    wanted = {"--onnx": onnx, "--safetensors": safetensors}
    targets = {option: Path(path) for option, path in wanted.items() if path is not None}
    if not targets:
        raise UsageError("nothing to export: give --onnx FILE, --safetensors FILE, or both")
    if len({path.absolute() for path in targets.values()}) < len(targets):
        raise UsageError("--onnx and --safetensors name the same file")
    for option, path in targets.items():
        if path.is_dir():
            raise UsageError(f"{option} {path} is a folder; name a file in it")
        check_writable(path.parent, make=False)
    from harness.networks import only_row, recipe_of, recorded_rows

    place = workspace()
    given = _network(network, place, datasets.task_of(dataset))
    # The row that is meant, however the network was named; the target that it was made for has no part in weights.
    rows = given.rows or recorded_rows(given.architecture, place)
    given = replace(given, rows=tuple(replace(row, target_pct=None) for row in rows))
    asked = None if dataset == "auto" else dataset
    row = only_row(given, dataset=asked, target_pct=None, recipe_given=recipe is not None)
    named = recipe_of(row, recipe, epochs)
    if recipe is None:
        say(f"recipe {named.name}, {'as none was given' if row is None or row.recipe is None else 'that of the row'}")
    evidence = _evidence(place, given.architecture.hash, named.recipe.hash, (row and row.dataset) or asked, seed)
    if onnx is not None:
        from harness.export import LIBRARIES

        require("export", LIBRARIES, "--onnx")

    from harness.data.training_images import resolve
    from harness.evidence.weight_file import kept_indices, read_recorded
    from harness.export import Match, match, to_onnx
    from harness.training.native.native import engine_of_repeat
    from harness.training.recipe import check_batch, check_statistics
    from harness.training.result import Purpose, Status
    from harness.training.train import final_network, properties, to_safetensors
    from search_spaces.cost import analyse, stored_numbers

    kept = [] if evidence is None else kept_indices(place.records, evidence)
    if evidence is not None and not retrain and seed not in kept:
        there = f"kept are those of {', '.join(map(str, kept))}" if kept else "none are"
        raise UsageError(f"the weights of seed {seed} are not kept ({there}); --retrain trains it")
    images = resolve((row and row.dataset) or dataset, _folder(data))
    task = images.dataset.task
    check_batch(named.recipe, len(images.train_labels))
    check_statistics(named.recipe, given.architecture, task)
    recorded = evidence.seed(seed) if evidence else None
    facts: dict[str, Any] = {
        "architecture": str(given.architecture),
        "hash": given.architecture.hash,
        "parameters": analyse(given.architecture, task).parameters,
        "stored_numbers": stored_numbers(given.architecture, task),
    }
    made: Result | SeedRun
    if evidence and recorded and not retrain:
        from harness.evidence.evaluate import network_of

        weights, made = read_recorded(place.records, evidence, seed), recorded
        model, about = network_of(weights, task), dict(weights.about) | {"weights_sha256": weights.sha256}
        same = weights.sha256 == recorded.weights_sha256
        facts |= {"trained": False, "match": Match.IDENTICAL if same else Match.REPEATED}
    else:
        engine = engine_of_repeat(engine, recorded.environment.engine if recorded else None)
        made, run = _trained(_job(given.architecture, named, Purpose.VERIFY, seed, device, engine, place), images)
        if made.status is not Status.COMPLETE:
            raise TargetMissed(f"seed {seed} {made.status}: {made.message}; nothing was written")
        model, about = final_network(run), properties(made, images.dataset)
        facts |= {"trained": True, "match": match(made, recorded), "epochs": len(made.history)}
    contents: dict[Path, bytes] = {}
    files = []
    for option, path in targets.items():
        check = {}
        if option == "--onnx":
            contents[path], found = to_onnx(model, images.dataset, images.train_images[:_CHECKED_IMAGES], about)
            check = {"check": found}
        else:
            contents[path] = to_safetensors(model, about)
        files.append({"file": str(path), "size_bytes": len(contents[path]), "format": option[2:], **check})
    write_together(contents)
    return Exported(
        facts
        | {name: about[name] for name in ("recipe", "recipe_hash", "dataset", "weights_sha256")}
        | {
            "seed_index": seed,
            "seed": made.seed,
            "engine": made.environment.engine if made.environment else None,
            "train_seconds": made.train_seconds,
            "recorded_weights_sha256": recorded.weights_sha256 if recorded else None,
            "recorded_engine": recorded.environment.engine if recorded else None,
            "files": files,
        }
    )


def _evidence(place: Workspace, network: str, recipe: str, dataset: str | None, seed: int) -> Record | None:
    """Return the record of a network with a recipe, one that has this seed where there is one."""
    from harness.evidence import record

    there = [
        each
        for each in record.read_all(place.records)
        if (each.hash, each.recipe_hash) == (network, recipe) and dataset in (None, each.dataset)
    ]
    return max(there, key=lambda each: (each.seed(seed) is not None, len(each.seeds)), default=None)
