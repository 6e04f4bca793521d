"""``harness evaluate``: load the weights of recorded seeds, and look what they say of images."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.shared import options
from harness.data import datasets
from harness.system import statistics
from harness.system.errors import ContentError, DataError, UsageError, typed
from harness.system.files import Workspace, workspace
from harness.system.terminal import busy, counted, say

if TYPE_CHECKING:
    from torch import Tensor

    from harness.data.other_images import LabelledImages, OwnImage
    from harness.data.training_images import ImageData
    from harness.evidence.evaluate import Evaluation
    from harness.evidence.record import Record
    from harness.evidence.weight_file import WeightFile


@click.command(short_help="Check kept weights image by image, or try your own digits.")
@click.argument("network")
@click.option(
    "--seed",
    type=options.number_or("all", "the index of a seed, counted from 0", 0, name="index"),
    default="0",
    show_default=True,
    help="Index of a recorded seed, or all.",
)
@click.option("--on", "other", help="Other labelled images: qmnist-50k, or a folder with two IDX files.")
@click.option("--images", type=click.Path(path_type=Path), help="Your own pictures of digits: a file or a folder.")
@click.option("--recipe", help="The recipe's name, where the network has several rows.")
@options.data_options
@options.as_json
def evaluate(
    network: str,
    seed: int | None,
    other: str | None,
    images: Path | None,
    recipe: str | None,
    dataset: str,
    folder: Path | None,
    as_json: bool,
) -> int:
    """Load the kept weights of NETWORK and check that they make exactly the recorded errors, image by image.

    NETWORK is a hash or name of the leaderboard, a preset, or the notation. Its weights are in records/weights; nothing
    is trained. Exit code 3 if the errors differ from the record. Each read of the test images is logged in
    records/test_reads.jsonl.

    --images classifies your own pictures, made white on black, 28x28 and centred; the confidence that it prints is the
    network's own, and nearly always high. --on evaluates on other labelled images, and declares that in
    records/ledger.jsonl beforehand. docs/examples/evaluate_plain.py checks a record without this program.

    \b
    harness evaluate eab8ff
    harness evaluate eab8ff --seed all
    harness evaluate eab8ff --on qmnist-50k --seed all
    harness evaluate eab8ff --images my-digits/
    """
    if other is not None and images is not None:
        raise UsageError("--on is for labelled images, --images for pictures without labels: give one of them")
    from harness.evidence.weight_file import kept_indices, read_recorded

    place = workspace()
    evidence = _evidence(network, place, None if dataset == "auto" else dataset, recipe)
    indices = [seed] if seed is not None else kept_indices(place.records, evidence) or [0]
    weights = [read_recorded(place.records, evidence, index) for index in indices]
    if images is not None:
        from harness.data.other_images import own_images

        pictures, faults = own_images(images)
        _own(evidence, weights, pictures, as_json)
        options.say_left_out(fault.message for fault in faults)
        return DataError.exit_code if faults else 0

    if other is not None:
        from harness.data.other_images import labelled_images

        labelled = labelled_images(other, datasets.dataset(evidence.dataset), folder)
        return _elsewhere(evidence, indices, weights, labelled, place, as_json)
    from harness.data.training_images import load

    return _recorded(evidence, indices, weights, load(evidence.dataset, folder), place, as_json)


def _evidence(network: str, place: Workspace, dataset: str | None, recipe: str | None) -> Record:
    """Return the record that is meant; of several targets the one with most seeds: a target has no part in weights."""
    from harness.evidence import record
    from harness.networks import read_network

    network_hash = read_network(network, place, datasets.task_of(dataset or datasets.AUTO)).architecture.hash
    there = [item for item in record.read_all(place.records) if item.hash == network_hash]
    fitting = [item for item in there if dataset in (None, item.dataset) and recipe in (None, item.recipe_name)]
    rows = "; ".join(sorted({f"{item.recipe_name} on {item.dataset}" for item in fitting or there}))
    if not fitting:
        others = f" by that recipe or on that data set: {rows}" if there else ""
        given = {"--dataset": dataset, "--recipe": recipe}
        asked = [word for name, value in given.items() if value is not None for word in (name, value)]
        hint = f"{typed('verify', network, *asked)} trains it, which takes minutes, and keeps record and weights"
        raise ContentError(f"{network_hash} has no record here{others}", hint=hint)
    if len({(item.recipe_hash, item.dataset) for item in fitting}) > 1:
        raise ContentError(f"{network_hash} has several rows: {rows}", hint="choose with --recipe or --dataset")
    return max(fitting, key=lambda item: len(item.seeds))


def _probabilities(evidence: Record, weights: list[WeightFile], pixels: Tensor) -> list[Tensor]:
    """Return each seed's probabilities, (images, classes)."""
    from harness.evidence.evaluate import probabilities

    spec = datasets.dataset(evidence.dataset)
    with busy(f"evaluating {counted(len(weights), 'seed')} on {counted(len(pixels), 'image')}"):
        return [probabilities(item, pixels, spec, evidence.recipe.precision) for item in weights]


def _recorded(
    evidence: Record, indices: list[int], weights: list[WeightFile], data: ImageData, place: Workspace, as_json: bool
) -> int:
    from harness.data.testset import read_test_set
    from harness.evidence.evaluate import evaluated

    named = f"seed{'s' if len(indices) > 1 else ''} {', '.join(map(str, indices))}"
    purpose = f"evaluate {evidence.hash} {evidence.recipe_name} {named}"
    pixels, labels = read_test_set(data, purpose=purpose, log=place.test_log)
    by_seed = _probabilities(evidence, weights, pixels)
    found = []
    for index, each, kept in zip(indices, by_seed, weights, strict=True):
        run = evidence.seed(index)
        made = evaluated(index, each, labels, evidence.recipe.precision, run)
        found.append(replace(made, repeated=run is not None and kept.sha256 != run.weights_sha256))
    _show(evidence, found, f"{evidence.dataset} test", as_json)
    return 0 if all(item.as_recorded for item in found) else 3


def _elsewhere(
    evidence: Record,
    indices: list[int],
    weights: list[WeightFile],
    images: LabelledImages,
    place: Workspace,
    as_json: bool,
) -> int:
    """Enter an evaluation on other images, make it, and enter what came of it; a second one is held to the first."""
    from harness.evidence import ledger
    from harness.evidence.evaluate import evaluated
    from harness.training.result import code_version

    entry = ledger.register(
        place.ledger,
        ledger.Registration(
            hash=evidence.hash,
            recipe_hash=evidence.recipe_hash,
            dataset=evidence.dataset,
            protocol_version=evidence.protocol_version,
            on=images.name,
            on_sha256=images.sha256,
            images=len(images.labels),
            indices=tuple(indices),
            declared_utc="",
            commit=code_version()[0],
        ),
    )
    by_seed = _probabilities(evidence, weights, images.pixels)
    found = [
        evaluated(index, each, images.labels, evidence.recipe.precision, None)
        for index, each in zip(indices, by_seed, strict=True)
    ]
    errors = tuple(item.errors for item in found)
    if not entry.errors:
        ledger.end_registration(place.ledger, entry, errors, *_bounds(evidence, found))
    _show(evidence, found, images.name, as_json, on_sha256=images.sha256)
    if entry.errors and entry.errors != errors:
        say(f"an earlier evaluation of these seeds and images had other errors: {entry.errors}", "warning")
        return 3
    return 0


def _bounds(evidence: Record, found: list[Evaluation]) -> tuple[float | None, float | None]:
    """Return the 99 % lower bounds over seeds, and over seeds and images; None for one seed or a part of the record's.

    The seeds whose weights are kept, or that somebody chose, may not be a random sample.
    """
    from harness.evidence.bounds import components
    from harness.evidence.ledger import CONFIDENCE
    from harness.training.result import finite

    if len(found) < len(evidence.seeds):
        return None, None
    over_seeds = finite(statistics.lower_bound([item.accuracy_pct for item in found], CONFIDENCE))
    parts = components([[image for image, _ in item.wrong] for item in found], found[0].images)
    return over_seeds, None if parts is None else finite(parts.lower_bound_pct(CONFIDENCE))


def _show(evidence: Record, found: list[Evaluation], images: str, as_json: bool, **more: Any) -> None:
    mean = statistics.mean([item.accuracy_pct for item in found])
    bound, image_bound = _bounds(evidence, found)
    document: dict[str, Any] = {
        "hash": evidence.hash,
        "parameters": evidence.parameters,
        "recipe": evidence.recipe_name,
        "dataset": evidence.dataset,
        "images": images,
        "mean_accuracy_pct": mean,
        "lower_bound_pct": bound,
        "lower_bound_images_pct": image_bound,
        **more,
        "seeds": [
            asdict(item) | {"errors": item.errors, "accuracy_pct": item.accuracy_pct, "as_recorded": item.as_recorded}
            for item in found
        ],
    }
    lines = [
        f"{evidence.hash}, {evidence.parameters:,} parameters, recipe {evidence.recipe_name}, trained on "
        f"{evidence.dataset}; {found[0].images:,} {images} images"
    ]
    lines += [f"seed {item.index}: {item.errors:,} errors ({item.accuracy_pct:.2f} %){_told(item)}" for item in found]
    if again := ", ".join(str(item.index) for item in found if item.repeated):
        lines.append(
            f"seed {again}: these weights come from a repeat of the run on another kind of processor, so their last "
            "bits differ from the recorded ones (records/weights/repeats.jsonl)"
        )
    if bound is not None and image_bound is not None:
        bounds = f"{bound:.3f} % over seeds, {image_bound:.3f} % over seeds and images"
        lines.append(f"{len(found)} seeds: mean {mean:.3f} %; 99 % lower bound {bounds}")
    elif len(found) > 1:
        recorded = f"{len(found)} seeds of the {len(evidence.seeds)} on record"
        lines.append(f"{recorded}: mean {mean:.3f} %; bounds need all of them")
    options.answer(as_json, document, "\n".join(lines))


def _told(found: Evaluation) -> str:
    if found.recorded_errors is None:
        return ""
    if not found.differing:
        return ", as recorded, image by image"
    shown = ", ".join(map(str, found.differing[:8])) + (", ..." if len(found.differing) > 8 else "")
    if found.as_recorded:
        return f", as recorded but for {counted(found.ties, 'image')} with two almost equal classes: {shown}"
    other = counted(len(found.differing), "image")
    return f": NOT as recorded ({found.recorded_errors:,} errors there); {other} got another class: {shown}"


def _own(evidence: Record, weights: list[WeightFile], pictures: list[OwnImage], as_json: bool) -> None:
    import numpy as np
    import torch

    from harness.evidence.evaluate import together

    pixels = torch.from_numpy(np.stack([picture.pixels for picture in pictures]))[:, None]
    by_class, order = together(_probabilities(evidence, weights, pixels)).sort(1, descending=True)
    found: list[dict[str, Any]] = [
        {
            "file": str(picture.path),
            "says": int(order[number, 0]),
            "confidence": float(by_class[number, 0]),
            "next": int(order[number, 1]),
            "next_confidence": float(by_class[number, 1]),
            "done": picture.done,
        }
        for number, picture in enumerate(pictures)
    ]
    lines = [f"the mean of {len(weights)} networks, one for each seed"] if len(weights) > 1 else []
    lines += [
        f"{item['file']}: {item['says']}, confidence {100 * item['confidence']:.1f} %; "
        f"next {item['next']}, {100 * item['next_confidence']:.1f} %" + (f"  ({item['done']})" if item["done"] else "")
        for item in found
    ]
    options.answer(as_json, {"hash": evidence.hash, "dataset": evidence.dataset, "images": found}, "\n".join(lines))
