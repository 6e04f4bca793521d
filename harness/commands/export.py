"""``harness export``: train a network as its row was trained, and write it for other programs."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.shared import options
from harness.data import datasets
from harness.system import errors, files
from harness.system.errors import TargetMissed, UsageError
from harness.system.files import Workspace, check_writable, workspace
from harness.system.terminal import counted

if TYPE_CHECKING:
    from harness.commands.shared.network_argument import KnownRow, NetworkArgument
    from harness.data.training_images import ImageData
    from harness.evidence.record import Record, SeedRun
    from harness.training.build import Network
    from harness.training.recipe import NamedRecipe
    from harness.training.result import Result
    from harness.training.run import Job
    from harness.training.train import Training


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

    The ONNX model takes raw pixels, and is compared with torch on real images before it is written. It needs the
    optional packages onnx and onnxruntime: where they are missing, the message says how to install them. Exit code 6 if
    they are missing, 3 if training diverges; then nothing is written.

    \b
    harness export seed4 --onnx seed4.onnx
    harness export 4b8be5 --seed 3 --onnx net.onnx --safetensors net.safetensors
    """
    targets = {"--onnx": onnx, "--safetensors": safetensors}
    wanted = {option: path for option, path in targets.items() if path is not None}
    _check_places(wanted)

    from harness.commands.shared.network_argument import read_network, recipe_of

    place = workspace()
    given = read_network(network, place, datasets.task_of(dataset))
    row = _row(given, place, None if dataset == "auto" else dataset, recipe_given=recipe is not None)
    named = recipe_of(row, recipe, epochs)

    # torch is loaded from here on: bad input is refused before.
    from harness.evidence import record
    from harness.export import LIBRARIES, record_of_seed

    if onnx is not None:
        errors.require("export", LIBRARIES, "--onnx")
    from harness.data.training_images import resolve
    from harness.training.recipe import check_batch, check_statistics
    from harness.training.weights import final_network, properties

    data = resolve(row.dataset if row and row.dataset and dataset == "auto" else dataset, folder)
    check_batch(named.recipe, len(data.train_labels))
    check_statistics(named.recipe, given.architecture, data.dataset.task)
    evidence = record_of_seed(
        record.read_all(place.records), given.architecture.hash, named.recipe.hash, data.dataset.name, seed
    )
    recorded = evidence.seed(seed) if evidence else None
    kept = None if retrain or evidence is None else _kept(evidence, place, seed)
    if kept is not None and recorded is not None:
        options.say_recipe(named, recipe, row)
        learned, about = kept
        facts = _facts_of_record(about, recorded)
    else:
        # A recipe may name teachers.
        job = replace(_job(given, named, seed, device, engine, recorded), teachers=place.teachers)
        options.say_recipe(named, recipe, row)
        result, trained = _train(job, data)
        learned, about = final_network(trained), properties(result, data.dataset)
        facts = _facts_of_result(result, recorded)
    written = _write(wanted, given, data, learned, about)
    document = _document(given, data, facts, recorded, written)
    options.print_json(document) if as_json else click.echo(_text(document))
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


def _row(given: NetworkArgument, place: Workspace, dataset: str | None, *, recipe_given: bool) -> KnownRow | None:
    """Return the row that is meant, however the network was named; a target has no part in weights."""
    from harness.commands.shared.network_argument import only_row, recorded_rows

    rows = given.rows or recorded_rows(given.architecture, place)
    rows = tuple(replace(row, target_pct=None) for row in rows)
    return only_row(replace(given, rows=rows), dataset=dataset, target_pct=None, recipe_given=recipe_given)


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


def _kept(evidence: Record, place: Workspace, seed: int) -> tuple[Network, dict[str, str]] | None:
    """Return the network that is kept with the record, and what its file says of itself; None where none is kept."""
    from harness.evidence.verification.evaluation import network_of
    from harness.evidence.weight_file import path_of, read_recorded

    if not path_of(place.records, evidence, seed).exists():
        return None
    found = read_recorded(place.records, evidence, seed)
    about = dict(found.about) | {"weights_sha256": found.sha256}
    return network_of(found, datasets.dataset(evidence.dataset).task), about


def _write(
    wanted: dict[str, Path], given: NetworkArgument, data: ImageData, network: Network, about: dict[str, str]
) -> list[dict[str, Any]]:
    """Make all files, then write them; return what is to be said of each."""
    from harness import export as files_of
    from harness.training.weights import to_safetensors

    made: list[tuple[Path, bytes, dict[str, Any]]] = []
    for option, path in wanted.items():
        if option == "--safetensors":
            made.append((path, to_safetensors(network, about), {"format": "safetensors"}))
            continue
        pixels = data.train_images[: files_of.CHECKED_IMAGES]
        content, check = files_of.to_onnx(given.architecture, network, data.dataset, pixels, about)
        made.append((path, content, {"format": "onnx", "check": asdict(check)}))
    files.write_together({path: content for path, content, _ in made})
    return [{"file": str(path), "size_bytes": len(content), **said} for path, content, said in made]


def _facts_of_record(about: dict[str, str], recorded: SeedRun) -> dict[str, Any]:
    from harness.export import Match

    return {
        "trained": False,
        "recipe": about["recipe"],
        "recipe_hash": about["recipe_hash"],
        "dataset": about["dataset"],
        "seed_index": recorded.index,
        "seed": recorded.seed,
        "engine": recorded.environment.engine,
        "train_seconds": recorded.train_seconds,
        "weights_sha256": about["weights_sha256"],
        "match": Match.IDENTICAL if about["weights_sha256"] == recorded.weights_sha256 else Match.REPEATED,
    }


def _facts_of_result(result: Result, recorded: SeedRun | None) -> dict[str, Any]:
    from harness.export import match

    return {
        "trained": True,
        "recipe": result.recipe_name,
        "recipe_hash": result.recipe_hash,
        "dataset": result.dataset,
        "seed_index": result.seed_index,
        "seed": result.seed,
        "engine": result.environment.engine if result.environment else None,
        "train_seconds": result.train_seconds,
        "weights_sha256": result.weights_sha256,
        "match": match(result, recorded),
        "epochs": len(result.history),
    }


def _document(
    given: NetworkArgument,
    data: ImageData,
    facts: dict[str, Any],
    recorded: SeedRun | None,
    written: list[dict[str, Any]],
) -> dict[str, Any]:
    from search_spaces.cost import analyse, stored_numbers

    return {
        "architecture": str(given.architecture),
        "hash": given.architecture.hash,
        "parameters": analyse(given.architecture, data.dataset.task).parameters,
        "stored_numbers": stored_numbers(given.architecture, data.dataset.task),
        **facts,
        "recorded_weights_sha256": recorded.weights_sha256 if recorded else None,
        "recorded_engine": recorded.environment.engine if recorded else None,
        "files": written,
    }


def _text(document: dict[str, Any]) -> str:
    how = (
        f"{counted(document['epochs'], 'epoch')} in {document['train_seconds']:.0f} s ({document['engine']})"
        if document["trained"]
        else "the weights kept with the record, nothing was trained"
    )
    lines = [
        f"{document['hash']}, {document['parameters']:,} parameters ({document['stored_numbers']:,} stored numbers), "
        f"recipe {document['recipe']} on {document['dataset']}, seed {document['seed_index']}: {how}; "
        "the test set was not read",
        _match_text(document),
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


def _match_text(document: dict[str, Any]) -> str:
    weights = f"weights {document['weights_sha256'][:12]}"
    match document["match"]:
        case "identical":
            return f"{weights}: those of the record, bit for bit"
        case "repeated":
            return (
                f"{weights}: trained again on another processor (records/weights/repeats.jsonl). They make the "
                "recorded errors, and are not the recorded ones bit for bit"
            )
        case "different":
            return f"{weights}: NOT those of the record, though machine and engine are equal: please report this"
        case "made elsewhere":
            return (
                f"{weights}: another machine, torch or engine ({document['recorded_engine']}) made the recorded ones, "
                "so these are as good as those, not the same"
            )
        case _:
            return f"{weights}: this seed has no record here to compare with"
