"""``harness evaluate``: load the weights of recorded seeds and classify images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.data import datasets
from harness.interface import options
from harness.searching.option_types import number_or
from harness.system import files, statistics
from harness.system.errors import DataError, TargetMissed, UsageError
from harness.system.files import Workspace
from harness.system.terminal import Column, busy, console, counted, say, show_table

if TYPE_CHECKING:
    from harness.evidence.evaluation import Evaluation
    from harness.evidence.ledger import Registration
    from harness.evidence.record import Record


_MAX_NAMED_IMAGES = 8  # test images of a seed, in the text


@click.command(short_help="Check kept weights image by image, or count the errors of your own.")
@click.argument("network")
@click.option(
    "--seed",
    type=number_or("all", "the index of a seed, counted from 0", 0, name="index"),
    default="0",
    help="Index of a recorded seed, or all.",
)
@click.option("--on", "other_data", help="Different labelled images: qmnist-50k, or a path of data with a single part.")
@click.option("--images", type=click.Path(path_type=Path), help="Your own pictures to classify: a file or a folder.")
@click.option("--weights", type=click.Path(path_type=Path), help="Count the errors with the weights of this file.")
@click.option("--test", "reads_test", is_flag=True, help="With --weights: use the test images; the read is logged.")
@click.option(
    "--normalise",
    type=(float, click.FloatRange(0, min_open=True)),
    metavar="MEAN DEVIATION",
    help="With --weights: the network expects (x - MEAN) / DEVIATION for pixels x from 0 to 1; else as the data set.",
)
@click.option("--recipe", help="Name or hash of the recipe, if the network has several rows.")
@click.option("--c", "in_c", is_flag=True, help="Compile an integer network and compare all logits.")
@options.json_and("dataset", "data")
def evaluate(
    network: str,
    seed: int | None,
    other_data: str | None,
    images: Path | None,
    weights: Path | None,
    reads_test: bool,
    normalise: tuple[float, float] | None,
    recipe: str | None,
    in_c: bool,
    dataset: str,
    data: Path | None,
    as_json: bool,
) -> int:
    """Load the kept weights of NETWORK and check that the errors are exactly the recorded errors, image by image.

    NETWORK is a hash or name of the leaderboard, a preset, or the notation. The weights are part of the program, or in
    runs/records/weights; nothing is trained. Exit code 3 if the errors differ from the record. Each read of the test
    images is logged in runs/records/test_reads.jsonl. A table states precision, recall, F1 and support of each class,
    as scikit-learn computes them, over all evaluated seeds; --json adds the confusion matrix of each seed. For two
    classes the ROC AUC of each seed is stated.

    --images classifies your own pictures; digits for an MNIST network are converted to white on black, 28x28, centred.
    Pictures for Fashion-MNIST and KMNIST must be as in the data set: grey, 28x28, bright on black. The printed
    confidence is the output of the network, and nearly always high. --on evaluates on different labelled images, in any
    form that --dataset accepts, and declares the evaluation in runs/records/ledger.jsonl beforehand. --c compiles an
    integer network with the C compiler of this machine, and compares all logits of the test images with the reference.
    examples/evaluate_plain.py checks a record without this program.

    --weights counts the errors of a network, such as a PyTorch module FILE.py:NAME (the code is executed), with weights
    that you have: a safetensors file, or a state_dict that torch.save wrote (no code of the file is executed). The
    images are the 10,000 validation images, which are training images of weights that were trained on all training
    images; --test reads the test images. Nothing is recorded.

    \b
    harness evaluate eab8ff
    harness evaluate eab8ff --seed all
    harness evaluate eab8ff --on qmnist-50k --seed all
    harness evaluate eab8ff --images my-digits/
    harness evaluate net.py:Net --weights net.pt --normalise 0 1
    """
    if sum((other_data is not None, images is not None, weights is not None, in_c)) > 1:
        options_text = "--on (labelled images), --images (pictures without labels), --weights (a file) and --c (C code)"
        raise UsageError(f"{options_text} cannot be combined")
    if weights is not None:
        options.print_result(as_json, *_evaluate_weights(network, weights, (dataset, data), reads_test, normalise))
        return 0
    if reads_test or normalise:
        raise UsageError("--test and --normalise require --weights")
    from harness.evidence.evaluation import evaluate_seeds
    from harness.interface.lookup import read_record

    workspace = files.workspace()
    record = read_record(network, workspace, dataset, recipe)
    # Without kept weights, seed 0 leads to the message that states how to get weights.
    indices = [seed] if seed is not None else record.kept_indices(workspace.records) or [0]
    if in_c:
        return _compare_c(record, indices, workspace, data, as_json)
    if images is not None:
        return _classify(record, indices, images, workspace, as_json)
    with busy(f"evaluating {counted(len(indices), 'seed')}"):
        seeds, entry = evaluate_seeds(record, indices, workspace, data, other_data)
    document = _document(record, seeds, entry)
    options.print_result(as_json, document, _text(record, seeds, document))
    if not as_json:
        rows = document["class_scores"]
        columns = [Column(name, is_numeric=name != "class") for name in rows[0]]
        cells = [[f"{value:.4f}" if isinstance(value, float) else str(value) for value in row.values()] for row in rows]
        show_table(console(), cells, [""] * len(rows), columns)
    if entry is not None and entry.errors not in ((), tuple(item.errors for item in seeds)):
        say(f"an earlier evaluation of these seeds and images had different errors: {entry.errors}", "warning")
        return TargetMissed.exit_code
    # None: the images are not the recorded images.
    return TargetMissed.exit_code if any(item.as_recorded is False for item in seeds) else 0


def _evaluate_weights(
    network: str, path: Path, data: tuple[str, Path | None], reads_test: bool, normalise: tuple[float, float] | None
) -> tuple[dict[str, Any], str]:
    """Return the facts as JSON values and as text.

    ``data`` is the name of the data set and the folder; further arguments are options of ``evaluate``.
    """
    import torch

    from harness.data.training_images import load
    from harness.evidence.evaluation import evaluate_weights
    from harness.interface.lookup import network_argument
    from harness.training.checkpoint import load_weights
    from harness.training.torch_network import build
    from harness.training.user_modules.execution import SeededModule, load_value, made_module, quiet
    from harness.training.user_modules.source import names_module

    workspace = files.workspace()
    images = load(*data)
    spec = images.dataset
    scale = spec.mean, spec.std
    if normalise is not None:
        scale = normalise[:1] * len(spec.mean), normalise[1:] * len(spec.mean)
    if names_module(network):
        module = made_module(load_value(network), network)
        with quiet(network), torch.no_grad():
            module.eval()(torch.zeros(1, *spec.image_shape))  # gives lazy layers their shapes
    else:
        module = build(network_argument(network, workspace, spec.task).architecture, spec.task)
    location = load_weights(module, path, network)
    part = "test" if reads_test else "validation"
    with busy("evaluating the weights"):
        classifier = SeededModule(module, spec.classes, ends_in_softmax=False)
        name = f"{network} --weights {path.name}"
        result = evaluate_weights(classifier, name, images, scale, workspace.test_log if reads_test else None)
    facts: dict[str, Any] = {"network": network, "weights": str(path), "location": location, "dataset": spec.name}
    facts |= {"images": part, "mean": scale[0], "deviation": scale[1], "accuracy_pct": result.accuracy_pct}
    mean, deviation = (", ".join(f"{value:g}" for value in values) for values in scale)
    text = f"{network}: {counted(result.errors, 'error')} in {result.images:,} {spec.name} {part} images"
    text += f" ({result.accuracy_pct:.2f} %), pixels (x - {mean}) / {deviation} with x from 0 to 1"
    text += f"; weights {location} of {path}" if location else ""
    if not reads_test:
        text += "\nthese images belong to the training images: weights that were trained on them have fewer errors here"
    return facts | {"errors": result.errors, "confusion": result.confusion}, text


def _document(record: Record, seeds: Sequence[Evaluation], entry: Registration | None) -> dict[str, Any]:
    from harness.evidence.evaluation import bounds_of

    bound_pct, images_bound_pct = bounds_of(record, seeds)
    properties = ("errors", "accuracy_pct", "as_recorded")
    seed_rows = [asdict(item) | {name: getattr(item, name) for name in properties} for item in seeds]
    for row in seed_rows:
        del row["group_sizes"]  # facts of the images, not of a seed
    document: dict[str, Any] = {field: getattr(record, field) for field in ("hash", "parameters", "dataset")}
    document |= {"recipe": record.recipe_name, "images": f"{record.dataset} test"}
    document["mean_accuracy_pct"] = statistics.mean([item.accuracy_pct for item in seeds])
    document |= {"lower_bound_pct": bound_pct, "lower_bound_images_pct": images_bound_pct}
    if entry is not None:
        document |= {"images": entry.on, "on_sha256": entry.on_sha256}
    return document | {"seeds": seed_rows, "class_scores": _class_rows(record, seeds)}


def _text(record: Record, seeds: Sequence[Evaluation], document: dict[str, Any]) -> str:
    lines = [
        f"{record.hash}, {record.parameters:,} parameters, recipe {record.recipe_name}, trained on "
        f"{record.dataset}; {seeds[0].images:,} {document['images']} images",
        *map(_seed_line, seeds),
    ]
    if len(seeds) > 1:
        line = f"{len(seeds)} of {len(record.seeds)} recorded seeds: mean {document['mean_accuracy_pct']:.3f} %"
        if document["lower_bound_pct"] is not None:
            line += f"; 99 % lower bound {document['lower_bound_pct']:.3f} %"
            line += f", over seeds and images {document['lower_bound_images_pct']:.3f} %"
        lines.append(line)
    return "\n".join(lines)


def _class_rows(record: Record, seeds: Sequence[Evaluation]) -> list[dict[str, Any]]:
    import numpy as np

    confusion = np.sum([item.confusion for item in seeds], axis=0).tolist()
    names = datasets.dataset(record.dataset).class_labels
    scores = statistics.class_scores(confusion, len(seeds))
    return [{"class": name, **asdict(item)} for name, item in zip(names, scores, strict=True)]


def _seed_line(seed: Evaluation) -> str:
    line = f"seed {seed.index}: {counted(seed.errors, 'error')} ({seed.accuracy_pct:.2f} %)"
    if seed.roc_auc is not None:
        line += f", ROC AUC {seed.roc_auc:.4f}"
    if seed.recorded_errors is None:
        return line
    images = [str(index) for index in seed.differing[:_MAX_NAMED_IMAGES]]
    if len(seed.differing) > _MAX_NAMED_IMAGES:
        images.append("...")
    line += ", as recorded" if seed.as_recorded else f", NOT as recorded ({counted(seed.recorded_errors, 'error')})"
    line += f", different classes on images {', '.join(images)}" if images else ", image by image"
    if seed.ties:
        line += f" ({counted(seed.ties, 'image')} with two almost equal logits)"
    if seed.repeated:
        line += "; weights of a repeated training, with different last bits"
    return line


def _compare_c(record: Record, indices: list[int], workspace: Workspace, data: Path | None, as_json: bool) -> int:
    from harness.interface.formats import format_of

    c_format = format_of("c")
    seeds = []
    lines = []
    for index in indices:
        with busy(f"comparing seed {index}"):
            seed = c_format.compare(record, index, workspace, data)
        seeds.append({"index": index} | seed)
        lines.append(
            f"seed {index}: {seed['logits'] - seed['differing']:,} of {seed['logits']:,} logits equal with "
            f"{seed['compiler']}, {counted(seed['errors'], 'error')} in {counted(seed['images'], 'image')}"
        )
    document = {"hash": record.hash, "dataset": record.dataset, "seeds": seeds}
    options.print_result(as_json, document, "\n".join(lines))
    is_equal = all(not seed["differing"] and seed["errors"] == seed["recorded_errors"] for seed in seeds)
    return 0 if is_equal else TargetMissed.exit_code


def _classify(record: Record, indices: list[int], images: Path, workspace: Workspace, as_json: bool) -> int:
    import numpy as np
    import torch

    from harness.data.other_images import pictures_at
    from harness.evidence.evaluation import probabilities
    from harness.evidence.record import read_recorded

    weight_files = [read_recorded(workspace.records, record, index) for index in indices]
    spec = datasets.dataset(record.dataset)
    precision = record.recipe.precision
    pictures, faults = pictures_at(images, spec)
    pixels = torch.from_numpy(np.stack([picture.pixels for picture in pictures]))
    class_names = spec.class_names or range(spec.classes)
    confidences = torch.stack([probabilities(weights, pixels, spec, precision) for weights in weight_files]).mean(0)
    rows = []
    lines = []
    # As the C and the page name the first class; ``topk`` does not guarantee this order.
    ranking = torch.sort(confidences, dim=1, descending=True, stable=True)
    best_two = zip(pictures, ranking.values[:, :2].tolist(), ranking.indices[:, :2].tolist(), strict=True)
    for picture, (confidence, next_confidence), classes in best_two:
        says, runner_up = (class_names[index] for index in classes)
        row = {"file": str(picture.path), "says": says, "confidence": confidence, "next": runner_up}
        rows.append(row | {"next_confidence": next_confidence, "done": picture.conversions})
        line = f"{picture.path}: {says}, confidence {100 * confidence:.1f} %; next {runner_up}, "
        line += f"{100 * next_confidence:.1f} %"
        lines.append(f"{line}  ({picture.conversions})" if picture.conversions else line)
    document = {"hash": record.hash, "dataset": record.dataset, "images": rows}
    options.print_result(as_json, document, "\n".join(lines))
    options.say_left_out(fault.message for fault in faults)
    return DataError.exit_code if faults else 0
