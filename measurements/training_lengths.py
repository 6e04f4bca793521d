"""Compares one long training, read at several lengths, with a separate cosine schedule for each length.

Variants, all with the other settings of the recipe ``small``, equal first weights per seed, and BN statistics that are
recomputed from training images before validation:

- ``cosine``: the training of the product, from scratch for each length.
- ``decayed``: a run at a constant rate, from which a branch per length decays linearly to 0 in the last epochs (Hägele
  et al., arXiv 2405.18392).
- ``averaged-25`` and ``averaged-10``: the same run without decay, equal weights for all steps of the last 25 or 10 % of
  the epochs (Izmailov et al., arXiv 1803.05407).

    python -m measurements.training_lengths train OUTPUT [--seeds 0 1 2] [--networks plain] [--minutes 60]

appends a JSON line per variant, length and seed. Seeds are trained in turn, so that a run that is cut short has
complete comparisons. No test image is read.

    python -m measurements.training_lengths table OUTPUT

prints the errors and the differences from cosine with 95 % confidence intervals.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, product
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from harness.data.training_images import load
from harness.spaces.network import MNIST, Architecture, analyse
from harness.spaces.notation import parse_network
from harness.training.native.driver import FlatState, NativeProgram
from harness.training.native.engine import choose_engine
from harness.training.recipe import Recipe, StepSettings, named_recipe, recipe_from
from harness.training.result import Purpose, derive_seed
from harness.training.run import TrainingData
from harness.training.torch_network import Images, epoch_maps
from harness.training.training_loop import Training, start

_BLOCK = "res(dwconv3x3 conv1x1(20) bn) relu"
_POSED = "conv1x1(12, poses=4{tie}) conv3x3(32, poses=4, tie=t1) bn(poses=4)"
_POSED_BLOCK = f"res({_POSED.format(tie=', tie=t2')}) relu"
NETWORKS = {
    "plain": "conv3x3(4) bn relu | avgpool | conv3x3(10) bn relu | avgpool | conv3x3(16, pad=0) bn relu "
    "conv3x3(16, pad=0) bn relu conv3x3(16, pad=0) bn relu | conv1x1(10) | gap",
    "separable": f"conv3x3(16, stride=2) bn relu | conv1x1(12) bn relu | avgpool | conv1x1(20) bn relu "
    f"{_BLOCK} {_BLOCK} | gap | linear(10)",
    "rotated": f"conv3x3(12, stride=2, poses=4) bn(poses=4) relu | {_POSED.format(tie='')} relu | maxpool | "
    f"{_POSED_BLOCK} {_POSED_BLOCK} | gap conv1x1(24, poses=4) | linear(10)",
}
DECAY_EPOCHS = {8: 2, 15: 3, 30: 6, 60: 12}  # epochs of decay by length, a fifth, rounded up to whole epochs
_LONGEST = {"rotated": 30}  # epochs; networks that are too slow for 60
_WARMUP_EPOCHS = 1  # of the run at a constant rate
_AVERAGED_SHARES = (25, 10)  # per cent of the epochs
_JUDGED = (15, 30, 60)  # lengths of the decision rule, in epochs
_CPU = torch.device("cpu")


def lengths_of(name: str) -> list[int]:
    """Return the lengths at which a network is trained, in epochs."""
    return [length for length in DECAY_EPOCHS if length <= _LONGEST.get(name, 60)]


def new_run(architecture: Architecture, recipe: Recipe, seed: int, images: Images) -> Training:
    """Return an untrained run of the native engine."""
    engine = choose_engine("native", recipe, _CPU, architecture.op_types).engine
    assert engine is not None
    run = start(architecture, recipe, seed, _CPU, engine, task=MNIST)
    run.native = NativeProgram(engine, architecture, recipe, images)
    return run


def _train_epoch(run: Training, images: Images, settings: StepSettings, average: list[Tensor] | None) -> None:
    """Train an epoch as ``Training.train`` of the product, with the rates and averaging weights of ``settings``.

    ``average`` is the average at the beginning of the epoch; None begins a new average.
    """
    assert run.native is not None
    order = torch.randperm(len(images), generator=run.generator)
    steps = len(settings.rates)
    maps = epoch_maps(run.recipe, run.generator, steps, run.task)
    flat = FlatState.of(run.network, run.optimizer, average, run.native.number_type)
    loss = run.native.train(flat, images, order, maps, settings, run.step)
    run.step += steps
    flat.restore(run.network, run.optimizer, run.step)
    run.average = flat.restored_average(run.network)
    run.end_epoch(loss / steps, settings.rates[-1], 0.0)


def validation_errors(run: Training, average: list[Tensor], images: Images, validation: Images) -> int:
    """Return the validation errors of averaged weights, with BN statistics recomputed as at the end of a training.

    Args:
        run: Training that has made the weights; not changed.
        average: Averaged weights.
        images: Training images.
        validation: Validation images.
    """
    epochs = len(run.history)
    finished = replace(run, recipe=replace(run.recipe, epochs=epochs), average=average, finished_average=None)
    finished.finish_average(images)
    return finished.evaluation(validation).errors


def decayed_branch(run: Training, length: int, images: Images) -> Training:
    """Return a copy of ``run``, trained up to ``length`` epochs with a linear decay of the rate to 0."""
    branch = start(run.architecture, run.recipe, 0, _CPU, run.engine, task=MNIST)
    branch.resume(copy.deepcopy(run.checkpoint()))
    branch.native = run.native
    count = len(images) // run.recipe.batch_size
    total = count * DECAY_EPOCHS[length]
    average = None
    for first in range(0, total, count):
        rates = [run.recipe.learning_rate * (1 - step / total) for step in range(first, first + count)]
        # The moving average of the product, begun with the branch.
        limit = run.recipe.average_decay
        decays = [min(limit, (1 + step) / (10 + step)) for step in range(first + 1, first + count + 1)]
        _train_epoch(branch, images, StepSettings(rates, [1 - decay for decay in decays], 1), average)
        average = branch.average
    return branch


def cosine_runs(
    architecture: Architecture, lengths: list[int], seed: int, images: Images, validation: Images
) -> Iterator[tuple[str, int, int]]:
    """Train as the product does, from scratch for each length; yield variant, length and validation errors."""
    for length in lengths:
        run = new_run(architecture, named_recipe("small", epochs=length).recipe, seed, images)
        while len(run.history) < length:
            run.train(images)
        assert run.average is not None
        yield "cosine", length, validation_errors(run, run.average, images, validation)


def constant_runs(
    architecture: Architecture, rate: float, lengths: list[int], seed: int, images: Images, validation: Images
) -> Iterator[tuple[str, int, int]]:
    """Train once at a constant rate, with a branch per length; yield variant, length and validation errors."""
    longest = lengths[-1]
    constant = {"learning_rate": rate, "schedule": "constant", "warmup": _WARMUP_EPOCHS / longest}
    recipe = recipe_from(named_recipe("small", epochs=longest).recipe.document | constant)
    run = new_run(architecture, recipe, seed, images)
    count = len(images) // recipe.batch_size
    # Equal weights for the steps of an epoch; averages over several epochs are means of these averages.
    shares = [1 / step for step in range(1, count + 1)]
    epoch_means: list[list[Tensor]] = []
    while len(run.history) < longest:
        _train_epoch(run, images, StepSettings(recipe.epoch_steps(run.step, count).rates, shares, 1), None)
        assert run.average is not None
        epoch_means.append(run.average)
        done = len(run.history)
        for length in (each for each in lengths if done == each - DECAY_EPOCHS[each]):
            branch = decayed_branch(run, length, images)
            assert branch.average is not None
            yield "decayed", length, validation_errors(branch, branch.average, images, validation)
        for share in _AVERAGED_SHARES if done in lengths else ():
            last = epoch_means[-max(1, math.floor(share * done / 100 + 0.5)) :]
            mean = [torch.stack(parts).mean(0) for parts in zip(*last, strict=True)]
            yield f"averaged-{share}", done, validation_errors(run, mean, images, validation)


def train(arguments: argparse.Namespace) -> None:
    """Train all networks with all seeds and append the validation errors to the output."""
    end = time.monotonic() + 60 * arguments.minutes
    images, validation = TrainingData(load("mnist", arguments.data)).parts(_CPU, 0)
    assert validation is not None
    for index, name in product(arguments.seeds, arguments.networks):
        architecture = parse_network(NETWORKS[name])
        seed = derive_seed(architecture.hash, named_recipe("small", epochs=60).recipe.hash, Purpose.TRAIN, index)
        lengths = [length for length in lengths_of(name) if length <= arguments.longest]
        about = {"network": name, "parameters": analyse(architecture, MNIST).parameters, "seed": index}
        about["rate"] = arguments.rate
        began = time.process_time()
        for variant, length, errors in chain(
            constant_runs(architecture, arguments.rate, lengths, seed, images, validation),
            cosine_runs(architecture, lengths, seed, images, validation),
        ):
            row = {"variant": variant, "epochs": length, "errors": errors}
            seconds = round(time.process_time() - began, 1)
            began = time.process_time()
            with arguments.output.open("a") as file:
                file.write(json.dumps(about | row | {"seconds": seconds}) + "\n")
        if time.monotonic() > end:
            return


def interval(values: list[float]) -> str:
    """Return the mean with the half width of the 95 % confidence interval (Student's t); without it for one value."""
    if len(values) < 2:
        return f"{fmean(values):+.1f}"
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{fmean(values):+.1f} ± {half:.1f}"


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield Markdown rows by network and length, and the mean difference of each variant at the judged lengths.

    A network and seed counts if all its variants and lengths are present; its differences at the judged lengths are
    averaged first, because the variants at these lengths share a run.
    """
    errors = {(row["network"], row["seed"], row["epochs"], row["variant"]): row["errors"] for row in rows}
    variants = ["decayed", *(f"averaged-{share}" for share in _AVERAGED_SHARES)]
    titles = ["network", "epochs", "seeds", "cosine", *variants, *(f"{variant} - cosine" for variant in variants)]
    yield f"| {' | '.join(titles)} |"
    yield f"| {' | '.join(['---'] * len(titles))} |"
    overall: dict[str, list[float]] = {variant: [] for variant in variants}
    for name in NETWORKS:
        cells = list(product(lengths_of(name), ["cosine", *variants]))
        seeds = sorted({seed for network, seed, _, _ in errors if network == name})
        seeds = [seed for seed in seeds if all((name, seed, *cell) in errors for cell in cells)]
        counts = {cell: [errors[name, seed, *cell] for seed in seeds] for cell in cells}
        differences = {
            cell: [count - base for count, base in zip(counts[cell], counts[cell[0], "cosine"], strict=True)]
            for cell in cells
        }
        for length in lengths_of(name) if seeds else ():
            means = [f"{fmean(counts[length, variant]):.1f}" for variant in ("cosine", *variants)]
            intervals = [interval(differences[length, variant]) for variant in variants]
            yield f"| {' | '.join([name, str(length), str(len(seeds)), *means, *intervals])} |"
        for variant in variants:
            judged = [differences[length, variant] for length in lengths_of(name) if length in _JUDGED]
            overall[variant] += [fmean(parts) for parts in zip(*judged, strict=True)]
    for variant, values in overall.items():
        yield f"{variant} - cosine, {len(values)} pairs of network and seed: {interval(values)} errors"


def main() -> None:
    """Parse the arguments and train or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train")
    training.add_argument("output", type=Path)
    training.add_argument("--data", type=Path, help="folder of the data; default: the user's cache")
    training.add_argument("--seeds", type=int, nargs="+", default=list(range(8)))
    training.add_argument("--rate", type=float, default=0.1, help="constant learning rate")
    training.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    training.add_argument("--longest", type=int, default=60, help="longest training, in epochs")
    training.add_argument("--minutes", type=float, default=math.inf, help="no further network and seed afterwards")
    commands.add_parser("table").add_argument("output", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "train":
        torch.set_num_threads(1)
        train(arguments)
    else:
        print("\n".join(table([json.loads(line) for line in arguments.output.read_text().splitlines()])))


if __name__ == "__main__":
    main()
