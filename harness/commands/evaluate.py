"""``harness evaluate``: load the weights of recorded seeds, and look what they say of images."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands import options
from harness.data import datasets
from harness.system import statistics
from harness.system.errors import DataError, UsageError
from harness.system.files import workspace
from harness.system.terminal import busy, counted, say

if TYPE_CHECKING:
    from torch import Tensor

    from harness.data.other_images import OwnImage
    from harness.evidence.evaluate import Evaluation
    from harness.evidence.record import Record
    from harness.evidence.weight_file import WeightFile


@click.command(short_help="Check kept weights image by image, or try your own digits.")
@click.argument("network")
@click.option(
    "--seed",
    type=options.number_or("all", "the index of a seed, counted from 0", 0, name="index"),
    default="0",
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

    NETWORK is a hash or name of the leaderboard, a preset, or the notation. Its weights came with the program or are in
    runs/records/weights; nothing is trained. Exit code 3 if the errors differ from the record. Each read of the test
    images is logged in runs/records/test_reads.jsonl.

    --images classifies your own pictures, made white on black, 28x28 and centred; the confidence that it prints is the
    network's own, and nearly always high. --on evaluates on other labelled images, and declares that in
    runs/records/ledger.jsonl beforehand. docs/examples/evaluate_plain.py checks a record without this program.

    \b
    harness evaluate eab8ff
    harness evaluate eab8ff --seed all
    harness evaluate eab8ff --on qmnist-50k --seed all
    harness evaluate eab8ff --images my-digits/
    """
    if other is not None and images is not None:
        raise UsageError("--on is for labelled images, --images for pictures without labels: give one of them")
    from harness.evidence.weight_file import kept_indices, read_recorded
    from harness.networks import read_record

    place = workspace()
    evidence = read_record(network, place, None if dataset == "auto" else dataset, recipe)
    indices = [seed] if seed is not None else kept_indices(place.records, evidence) or [0]
    weights = [read_recorded(place.records, evidence, index) for index in indices]
    if images is not None:
        from harness.data.other_images import own_images

        pictures, faults = own_images(images)
        _own(evidence, weights, pictures, as_json)
        options.say_left_out(fault.message for fault in faults)
        return DataError.exit_code if faults else 0

    from harness.evidence.evaluate import evaluated

    precision = evidence.recipe.precision
    runs = [evidence.seed(index) for index in indices]
    if other is None:
        from harness.data.testset import read_test_set
        from harness.data.training_images import load

        named = f"seed{'s' if len(indices) > 1 else ''} {', '.join(map(str, indices))}"
        purpose = f"evaluate {evidence.hash} {evidence.recipe_name} {named}"
        pixels, labels = read_test_set(load(evidence.dataset, folder), purpose=purpose, log=place.test_log)
        found = [
            replace(
                evaluated(index, sure, labels, precision, run),
                repeated=run is not None and kept.sha256 != run.weights_sha256,
            )
            for index, sure, kept, run in zip(
                indices, _probabilities(evidence, weights, pixels), weights, runs, strict=True
            )
        ]
        _show(evidence, found, f"{evidence.dataset} test", as_json)
        return 0 if all(item.as_recorded for item in found) else 3

    from harness.data.other_images import labelled_images
    from harness.evidence import ledger
    from harness.training.result import code_version

    labelled = labelled_images(other, datasets.dataset(evidence.dataset), folder)
    # Entered before a network sees the images; a second evaluation is held to the first.
    entry = ledger.register(
        place.ledger,
        ledger.Registration(
            hash=evidence.hash,
            recipe_hash=evidence.recipe_hash,
            dataset=evidence.dataset,
            protocol_version=evidence.protocol_version,
            on=labelled.name,
            on_sha256=labelled.sha256,
            images=len(labelled.labels),
            indices=tuple(indices),
            declared_utc="",
            commit=code_version()[0],
        ),
    )
    sures = _probabilities(evidence, weights, labelled.pixels)
    found = [
        evaluated(index, sure, labelled.labels, precision, None) for index, sure in zip(indices, sures, strict=True)
    ]
    errors = tuple(item.errors for item in found)
    if not entry.errors:
        ledger.end_registration(place.ledger, entry, errors, *_bounds(evidence, found))
    _show(evidence, found, labelled.name, as_json, on_sha256=labelled.sha256)
    if entry.errors and entry.errors != errors:
        say(f"an earlier evaluation of these seeds and images had other errors: {entry.errors}", "warning")
        return 3
    return 0


def _probabilities(evidence: Record, weights: list[WeightFile], pixels: Tensor) -> list[Tensor]:
    from harness.evidence.evaluate import probabilities

    spec = datasets.dataset(evidence.dataset)
    with busy(f"evaluating {counted(len(weights), 'seed')} on {counted(len(pixels), 'image')}"):
        return [probabilities(item, pixels, spec, evidence.recipe.precision) for item in weights]


def _bounds(evidence: Record, found: list[Evaluation]) -> tuple[float | None, float | None]:
    from harness.evidence.bounds import over_images, over_seeds

    # The seeds whose weights are kept, or that somebody chose, may not be a random sample.
    if len(found) < len(evidence.seeds):
        return None, None
    wrong = [[image for image, _ in item.wrong] for item in found]
    return over_seeds([item.accuracy_pct for item in found]), over_images(wrong, found[0].images)


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
    for item in found:
        line = f"seed {item.index}: {item.errors:,} errors ({item.accuracy_pct:.2f} %)"
        if item.recorded_errors is not None:
            shown = ", ".join(map(str, item.differing[:8])) + (", ..." if len(item.differing) > 8 else "")
            line += ", as recorded" if item.as_recorded else f", NOT as recorded ({item.recorded_errors:,} errors)"
            line += f", other classes: {shown}" if shown else ", image by image"
            line += f" ({item.ties} of them between two almost equal classes)" if item.ties else ""
            line += "; weights of a repeat, with other last bits" if item.repeated else ""
        lines.append(line)
    if len(found) > 1:
        bounds = "" if bound is None else f"; 99 % lower bound {bound:.3f} %, over images too {image_bound:.3f} %"
        lines.append(f"{len(found)} of {len(evidence.seeds)} recorded seeds: mean {mean:.3f} %{bounds}")
    options.answer(as_json, document, "\n".join(lines))


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
    lines = [
        f"{item['file']}: {item['says']}, confidence {100 * item['confidence']:.1f} %; "
        f"next {item['next']}, {100 * item['next_confidence']:.1f} %" + (f"  ({item['done']})" if item["done"] else "")
        for item in found
    ]
    options.answer(as_json, {"hash": evidence.hash, "dataset": evidence.dataset, "images": found}, "\n".join(lines))
