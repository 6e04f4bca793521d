"""``harness export``: train a network as its row was trained, and write it for other programs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.shared import options
from harness.data import datasets
from harness.system import errors
from harness.system.errors import TargetMissed, UsageError
from harness.system.files import check_writable, workspace, write_together
from harness.system.terminal import counted

if TYPE_CHECKING:
    from harness.data.training_images import ImageData
    from harness.evidence.record import SeedRun
    from harness.networks import NetworkArgument
    from harness.training.recipe import NamedRecipe
    from harness.training.result import Result
    from harness.training.run import Job
    from harness.training.train import Training

_CHECKED_IMAGES = 1_000


@click.command(short_help="Write a network as ONNX or safetensors; train it where no weights are kept.")
@click.argument("network")
@click.option("--onnx", type=click.Path(path_type=Path), help="Write an ONNX model there.")
@click.option("--safetensors", type=click.Path(path_type=Path), help="Write the weights there.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Index of a verification seed.")
@click.option("--recipe", help="A recipe's name or @FILE.toml [default: the row's own, else fast].")
@click.option(
    "--epochs",
    type=click.IntRange(1),
    help="Number of epochs, in place of the recipe's; needs --recipe where a row has one.",
)
@options.data_options
@options.device_option
@options.engine_option
@click.option("--retrain", is_flag=True, help="Train, even where the record's own weights are kept.")
@options.as_json
def export(
    network: str,
    onnx: Path | None,
    safetensors: Path | None,
    seed: int,
    recipe: str | None,
    epochs: int | None,
    dataset: str,
    folder: Path | None,
    device: str,
    engine: str,
    retrain: bool,
    as_json: bool,
) -> int:
    """Write a trained NETWORK for other programs, as ONNX or safetensors.

    If the weights of this seed are kept in records/weights, they are used. Otherwise the network is trained as its row
    on the leaderboard was, on all training images with this seed; the test set is not read. On the same kind of
    machine the weights are those of the record, bit for bit; the output says whether they are.

    The ONNX model takes raw pixels, uint8 (batch, 1, 28, 28), normalises them itself, and is compared with torch on
    real images before it is written; rotated filters are written out. It needs the optional packages of 'export'. The
    safetensors file has torch's names; a shared kernel is stored once, under the name of the first layer that uses it.
    Exit code 6 if packages are missing, 3 if training diverges; then nothing is written.

    \b
    harness export seed4 --onnx seed4.onnx
    harness export 4b8be5 --seed 3 --onnx net.onnx --safetensors net.safetensors
    """
    targets = {"--onnx": onnx, "--safetensors": safetensors}
    _check_places({option: path for option, path in targets.items() if path is not None})
    from harness.networks import only_row, read_network, recipe_of, recorded_rows

    place = workspace()
    given = read_network(network, place, datasets.task_of(dataset))
    # The row that is meant, however the network was named; a target has no part in weights.
    rows = given.rows or recorded_rows(given.architecture, place)
    given = replace(given, rows=tuple(replace(row, target_pct=None) for row in rows))
    asked = None if dataset == "auto" else dataset
    row = only_row(given, dataset=asked, target_pct=None, recipe_given=recipe is not None)
    named = recipe_of(row, recipe, epochs)

    # torch is loaded from here on: bad input is refused before.
    from harness.evidence import record
    from harness.export import LIBRARIES, Match, match, to_onnx

    if onnx is not None:
        errors.require("export", LIBRARIES, "--onnx")
    from harness.data.training_images import resolve
    from harness.evidence.weight_file import path_of, read_recorded
    from harness.training.recipe import check_batch, check_statistics
    from harness.training.train import final_network, properties, to_safetensors
    from search_spaces.cost import analyse, stored_numbers

    data = resolve(row.dataset if row and row.dataset and dataset == "auto" else dataset, folder)
    task = data.dataset.task
    check_batch(named.recipe, len(data.train_labels))
    check_statistics(named.recipe, given.architecture, task)
    # The target that a record was made for has no part in its weights.
    key = (given.architecture.hash, named.recipe.hash, data.dataset.name)
    with_seed = (
        item
        for item in record.read_all(place.records)
        if (item.hash, item.recipe_hash, item.dataset) == key and item.seed(seed)
    )
    evidence = next(with_seed, None)
    recorded = evidence.seed(seed) if evidence else None
    options.say_recipe(named, recipe, row)
    document: dict[str, Any] = {
        "architecture": str(given.architecture),
        "hash": given.architecture.hash,
        "parameters": analyse(given.architecture, task).parameters,
        "stored_numbers": stored_numbers(given.architecture, task),
    }
    if evidence and recorded and not retrain and path_of(place.records, evidence, seed).exists():
        from harness.evidence.evaluate import network_of

        kept = read_recorded(place.records, evidence, seed)
        model, about = network_of(kept, task), dict(kept.about) | {"weights_sha256": kept.sha256}
        same = kept.sha256 == recorded.weights_sha256
        made: Result | SeedRun = recorded
        document |= {"trained": False, "match": Match.IDENTICAL if same else Match.REPEATED}
    else:
        # A recipe may name teachers.
        job = replace(_job(given, named, seed, device, engine, recorded), teachers=place.teachers)
        made, trained = _train(job, data)
        model, about = final_network(trained), properties(made, data.dataset)
        document |= {"trained": True, "match": match(made, recorded), "epochs": len(made.history)}
    contents: dict[Path, bytes] = {}
    files = []
    if onnx is not None:
        contents[onnx], check = to_onnx(model, data.dataset, data.train_images[:_CHECKED_IMAGES], about)
        files.append({"file": str(onnx), "size_bytes": len(contents[onnx]), "format": "onnx", "check": check})
    if safetensors is not None:
        contents[safetensors] = to_safetensors(model, about)
        files.append({"file": str(safetensors), "size_bytes": len(contents[safetensors]), "format": "safetensors"})
    write_together(contents)
    document |= {name: about[name] for name in ("recipe", "recipe_hash", "dataset", "weights_sha256")}
    document |= {
        "seed_index": seed,
        "seed": made.seed,
        "engine": made.environment.engine if made.environment else None,
        "train_seconds": made.train_seconds,
        "recorded_weights_sha256": recorded.weights_sha256 if recorded else None,
        "recorded_engine": recorded.environment.engine if recorded else None,
        "files": files,
    }
    options.answer(as_json, document, _text(document))
    return 0


def _check_places(wanted: dict[str, Path]) -> None:
    """Find out now, not after the training, that nothing can be written."""
    if not wanted:
        raise UsageError("nothing to export: give --onnx FILE, --safetensors FILE, or both")
    if len({path.absolute() for path in wanted.values()}) < len(wanted):
        raise UsageError("--onnx and --safetensors name the same file")
    for option, path in wanted.items():
        if path.is_dir():
            raise UsageError(f"{option} {path} is a folder; name a file in it")
        check_writable(path.parent, make=False)


def _job(
    given: NetworkArgument, named: NamedRecipe, seed: int, device: str, engine: str, recorded: SeedRun | None
) -> Job:
    from harness.system.machine import choose_device
    from harness.training.native.native import choose_engine, engine_of_repeat
    from harness.training.result import Purpose
    from harness.training.run import Job

    chosen = choose_device(device)
    engine = engine_of_repeat(engine, recorded.environment.engine if recorded else None)
    choice = choose_engine(engine, named.recipe, chosen)
    options.say_engine(choice)
    return Job(
        architecture=given.architecture,
        recipe=named.recipe,
        recipe_name=named.name,
        purpose=Purpose.VERIFY,
        seed_index=seed,
        device=str(chosen),
        engine=choice.kind,
    )


def _train(job: Job, data: ImageData) -> tuple[Result, Training]:
    import torch

    from harness.training.progress import Reporter
    from harness.training.result import Status
    from harness.training.run import TrainingData, execute_and_keep

    steps = len(data.train_labels) // job.recipe.batch_size
    # As in a verification: the number of threads has a part in the bits.
    torch.set_num_threads(1)
    with Reporter(steps * job.recipe.epochs, "steps") as reporter:
        result, trained = execute_and_keep(job, TrainingData.of(data), on_step=lambda: reporter.advance())
    if result.status is not Status.COMPLETE:
        raise TargetMissed(f"seed {job.seed_index} {result.status}: {result.message}; nothing was written")
    return result, trained


def _text(document: dict[str, Any]) -> str:
    how = (
        f"{counted(document['epochs'], 'epoch')} in {document['train_seconds']:.0f} s ({document['engine']})"
        if document["trained"]
        else "the weights kept with the record, nothing was trained"
    )
    comparison = {
        "identical": "those of the record, bit for bit",
        "repeated": "trained again on another processor (records/weights/repeats.jsonl). They make the recorded "
        "errors, and are not the recorded ones bit for bit",
        "different": "NOT those of the record, though machine and engine are equal: please report this",
        "made elsewhere": f"another machine, torch or engine ({document['recorded_engine']}) made the recorded ones, "
        "so these are as good as those, not the same",
        "not on record": "this seed has no record here to compare with",
    }
    lines = [
        f"{document['hash']}, {document['parameters']:,} parameters ({document['stored_numbers']:,} stored numbers), "
        f"recipe {document['recipe']} on {document['dataset']}, seed {document['seed_index']}: {how}; "
        "the test set was not read",
        f"weights {document['weights_sha256'][:12]}: {comparison[document['match']]}",
    ]
    for item in document["files"]:
        line = f"{item['file']}: {item['format']}, {item['size_bytes']:,} bytes"
        if check := item.get("check"):
            line += (
                f"; onnxruntime and torch on {check['images']:,} training images: logits differ by at most "
                f"{check['largest_difference']:.1g} of the largest, classes on {check['classes_differ']}"
            )
        lines.append(line)
    return "\n".join(lines)
