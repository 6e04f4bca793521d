"""Measure how many errors on unseen images there are for each on validation, on training images alone.

The training images that are not in the validation split V are divided into five stratified folds. For each reference
network and fold, with a seed of its own for each training:

- as a search does: trained on all images but V and the fold, errors counted on V;
- as a verification does: trained on all images but the fold, V included, errors counted on the fold.

The second count by the first is a ratio of that network and fold, and the test set has no part in it. A verification
here has a quarter more images to train on than a search, where the real one has a fifth more (60,000 and 50,000).
`two_way_layout` says what the ratios give. What seeds contribute to the logarithm of a ratio is known: two counts,
each with the deviation that `SEED_SHARE` says.

    python -m benchmarks.third_split --data FOLDER

keeps every finished run in benchmarks/results/third-split.json, trains what is not there, and writes what a search
allows for, harness/evidence/error-ratios.json. All networks of a fold come before the next fold, so what is on file of
an interrupted measurement is balanced: `--folds 3` takes the first three.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch

from benchmarks.two_way_layout import layout
from harness.data.training_images import ImageData, Split, load, split
from harness.search.race import SEED_SHARE
from harness.system import files
from harness.system.document import documented, read_as
from harness.system.errors import HarnessError
from harness.system.statistics import mean
from harness.training.native.native import load as load_engine
from harness.training.recipe import named_recipe
from harness.training.result import Purpose, Result, Status, to_document
from harness.training.run import Job, TrainingData, execute
from search_spaces.errors import SearchSpaceError
from search_spaces.notation import parse_network

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "benchmarks" / "results" / "third-split.json"
OFFSETS = ROOT / "harness" / "evidence" / "error-ratios.json"
FOLDS = 5
WORKERS = 2
RECIPE = "small"
# Epochs and network, fixed before anything was measured: of each form one that a search names, trained as long as it
# trains it. Until 2026-11-22 they were trained for five to eight epochs.
NETWORKS = (
    (
        12,
        "conv3x3(10) bn relu dropout(0.05) | avgpool | conv1x1(4) | conv3x3(16, pad=0) bn relu conv3x3(16, pad=0) "
        "bn relu conv3x3(16, pad=0) bn relu conv3x3(16, pad=0) bn relu | conv1x1(10) | gap",
    ),
    (
        30,
        "conv3x3(8) bn relu | avgpool | conv1x1(4) | conv3x3(12, pad=0) bn relu conv3x3(12, pad=0) bn relu "
        "conv3x3(12, pad=0) bn relu conv3x3(12, pad=0) bn relu | gap | linear(10)",
    ),
    (
        30,
        "conv3x3(16) bn relu | avgpool | conv1x1(8) conv3x3(20, tie=b) bn relu | avgpool | "
        "res(conv1x1(8, tie=c) conv3x3(20, tie=b) bn) relu res(conv1x1(8, tie=c) conv3x3(20, tie=b) bn) relu | gap | "
        "linear(10)",
    ),
    (
        30,
        "conv3x3(8, poses=4) bn(poses=4) relu | avgpool | conv1x1(12, poses=4) conv3x3(48, poses=4, tie=b) "
        "bn(poses=4) relu | avgpool | res(conv1x1(12, poses=4, tie=c) conv3x3(48, poses=4, tie=b) bn(poses=4)) relu "
        "res(conv1x1(12, poses=4, tie=c) conv3x3(48, poses=4, tie=b) bn(poses=4)) relu "
        "res(conv1x1(12, poses=4, tie=c) conv3x3(48, poses=4, tie=b) bn(poses=4)) relu "
        "res(conv1x1(12, poses=4, tie=c) conv3x3(48, poses=4, tie=b) bn(poses=4)) relu | gap "
        "conv1x1(24, poses=4) | linear(10)",
    ),
    (
        60,
        "conv3x3(16) bn relu | avgpool | conv1x1(16) bn relu res(dwconv3x3 conv1x1(16) bn) relu "
        "res(dwconv3x3 conv1x1(16) bn) relu | avgpool | res(dwconv3x3 conv1x1(16) bn) relu "
        "res(dwconv3x3 conv1x1(16) bn) relu res(dwconv3x3 conv1x1(16) bn) relu | gap | linear(10)",
    ),
)


class Stage(StrEnum):
    """Which of the two a training stands for."""

    SEARCH = "search"
    VERIFICATION = "verification"


def stratified_folds(labels: Sequence[int], among: Sequence[int], count: int, tag: str) -> list[list[int]]:
    """Divide the indices ``among`` into ``count`` folds, each in ascending order.

    Within a class the indices are ranked as for `harness.data.data_files.stratified_choice`, and the classes, the
    lowest first, are dealt out one index a fold in turn. So folds differ by at most one image, and by at most one of
    each class.

    Raises:
        ValueError: fewer indices than folds, or no fold.
    """
    if not 1 <= count <= len(among):
        raise ValueError(f"cannot divide {len(among)} images into {count} folds")
    ranked = sorted(among, key=lambda index: (labels[index], hashlib.sha256(f"{tag}:{index}".encode()).digest()))
    return [sorted(ranked[fold::count]) for fold in range(count)]


@dataclass(frozen=True, slots=True)
class Parts:
    """The training images divided: indices of the validation split and of each fold, ascending."""

    validation: list[int]
    folds: list[list[int]]


@dataclass(frozen=True, slots=True)
class Task:
    """One training: its fold, counted from zero, what it stands for, and the job."""

    fold: int
    stage: Stage
    job: Job


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class FoldRun:
    """A finished training as it is kept; ``validation_errors`` of its result are the errors of its stage."""

    fold: int
    stage: Stage
    result: Result


def parts_of(data: ImageData) -> Parts:
    """Return the fixed validation split, and the other images in folds; their tag is ``third-split-v1:`` and the name.

    Stratified: see `stratified_folds`.
    """
    known = split(data)
    tag = f"third-split-v1:{data.dataset.name}"
    folds = stratified_folds(data.train_labels.tolist(), known.train.tolist(), FOLDS, tag)
    return Parts(known.validation.tolist(), folds)


def split_of(parts: Parts, fold: int, stage: Stage) -> Split:
    """Return what a training of this stage trains on, and what its errors are counted on."""
    rest = [index for number, part in enumerate(parts.folds) if number != fold for index in part]
    match stage:
        case Stage.SEARCH:
            training, unseen = rest, parts.validation
        case Stage.VERIFICATION:
            training, unseen = rest + parts.validation, parts.folds[fold]
    return Split(train=torch.tensor(sorted(training)), validation=torch.tensor(unseen))


def tasks_of(networks: Sequence[tuple[int, str]], folds: int, seeds: int) -> list[Task]:
    """Return all trainings of networks given as epochs and text: a seed's fold by fold, a fold's network by network.

    Each training has a seed index of its own. A common one would begin all trainings of a network with the same
    weights, and what seeds contribute would not be that of independent seeds.

    Raises:
        SearchSpaceError: a text is no network.
    """
    return [
        Task(fold, stage, _job(*network, (seed * FOLDS + fold) * len(Stage) + place))
        for seed in range(seeds)
        for fold in range(folds)
        for network in networks
        for place, stage in enumerate(Stage)
    ]


def _job(epochs: int, text: str, seed_index: int) -> Job:
    recipe = named_recipe(RECIPE, epochs=epochs)
    return Job(
        architecture=parse_network(text),
        recipe=recipe.recipe,
        recipe_name=recipe.name,
        purpose=Purpose.REFERENCE,
        seed_index=seed_index,
        engine="native",
    )


# The data of a worker process, loaded once.
_held: list[tuple[ImageData, Parts]] = []


def _hold(folder: Path | None) -> None:
    torch.set_num_threads(1)
    data = load("mnist", folder)
    _held[:] = [(data, parts_of(data))]


def _run(task: Task) -> FoldRun:
    data, parts = _held[0]
    result = execute(task.job, TrainingData(data, split_of(parts, task.fold, task.stage)))
    return FoldRun(fold=task.fold, stage=task.stage, result=result)


def trained(tasks: Sequence[Task], folder: Path | None, path: Path) -> list[FoldRun]:
    """Return the runs of all tasks in their order; ``path`` holds those of earlier calls and gains the new ones.

    Raises:
        HarnessError: a training diverged, so that it has no errors to compare.
    """
    kept = read_as(list[FoldRun], path.read_bytes(), str(path)) if path.exists() else []
    data_hash = load("mnist", folder).data_hash
    found = {
        _key(run.fold, run.stage, run.result.hash, run.result.recipe_hash, run.result.seed_index): run
        for run in kept
        if run.result.environment is not None and run.result.environment.data_hash == data_hash
    }
    missing = [task for task in tasks if _task_key(task) not in found]
    if missing:
        # Compiled here once, not by two workers at the same time.
        load_engine()
        with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn"), _hold, (folder,)) as pool:
            futures = {pool.submit(_run, task): task for task in missing}
            try:
                for future in as_completed(futures):
                    run = future.result()
                    kept.append(run)
                    found[_task_key(futures[future])] = run
                    files.write_json(path, [_document(item) for item in kept])
                    print(f"{len(kept)} on file: {_text(run)}", flush=True)
            finally:
                pool.shutdown(cancel_futures=True)
    runs = [found[_task_key(task)] for task in tasks]
    for run in runs:
        if run.result.status is not Status.COMPLETE:
            raise HarnessError(f"{_text(run)}: {run.result.status}, {run.result.message}")
    return runs


def _key(fold: int, stage: Stage, network: str, recipe: str, seed_index: int) -> tuple[int, str, str, str, int]:
    return (fold, stage, network, recipe, seed_index)


def _task_key(task: Task) -> tuple[int, str, str, str, int]:
    return _key(task.fold, task.stage, task.job.architecture.hash, task.job.recipe.hash, task.job.seed_index)


def _document(run: FoldRun) -> dict[str, Any]:
    return {"fold": run.fold, "stage": run.stage, "result": to_document(run.result)}


def _text(run: FoldRun) -> str:
    made = run.result
    return (
        f"fold {run.fold + 1}, {run.stage}, {made.parameters:,} parameters, {made.recipe_name}, seed "
        f"{made.seed_index}: {made.validation_errors} of {made.validation_size} wrong, {made.train_seconds:.0f} s"
    )


def offset_document(runs: Sequence[FoldRun], seeds: int) -> dict[str, Any]:
    """Return what error-ratios.json says of complete runs: ratio, errors, deviations and the protocol.

    Raises:
        ValueError: fewer than two networks or folds.
    """
    networks = list({(run.result.hash, run.result.recipe_hash): run.result for run in runs}.items())
    folds = sorted({run.fold for run in runs})
    cells = [[math.log(_ratio(runs, network, fold)) for fold in folds] for network, _ in networks]
    found = layout(cells, 2 * SEED_SHARE**2 / seeds)
    commits = sorted({run.result.environment.commit or "unknown" for run in runs if run.result.environment})
    names = [f"{made.hash} ({made.parameters:,} parameters, {made.recipe.epochs} epochs)" for _, made in networks]
    return {
        "errors_ratio": round(math.exp(found.mean), 4),
        "relative_error": round(found.standard_error, 4),
        "network_deviation": round(found.network_deviation, 4),
        "images_deviation": round(found.fold_deviation, 4),
        "protocol": f"training images alone, recipe {RECIPE}, {', '.join(names)}; {len(folds)} of {FOLDS} folds, "
        f"seeds a count: {seeds}; commit {', '.join(commit[:12] for commit in commits)}",
    }


def _ratio(runs: Sequence[FoldRun], network: tuple[str, str], fold: int) -> float:
    """Return the share that is wrong after a verification by that after a search, of one network and fold."""
    wrong = {}
    for stage in Stage:
        mine = [run.result for run in runs if (run.fold, run.stage) == (fold, stage)]
        mine = [result for result in mine if (result.hash, result.recipe_hash) == network]
        wrong[stage] = mean([100 - (result.validation_accuracy_pct or 0.0) for result in mine])
    return wrong[Stage.VERIFICATION] / wrong[Stage.SEARCH]


def network_argument(given: str) -> tuple[int, str]:
    """Return epochs and text of ``EPOCHS: NETWORK``, for argparse."""
    epochs, _, text = given.partition(":")
    try:
        return int(epochs), str(parse_network(text.strip()))
    except (ValueError, SearchSpaceError) as error:
        raise argparse.ArgumentTypeError(f"{given!r} is not EPOCHS: NETWORK: {error}") from error


def main() -> None:
    """Train what is missing and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--networks", nargs="+", type=network_argument, default=NETWORKS, metavar="EPOCHS: NETWORK", help="two or more"
    )
    parser.add_argument("--folds", type=int, default=FOLDS, choices=range(2, FOLDS + 1), help="the first so many")
    parser.add_argument("--seeds", type=int, default=1, help="trainings a count")
    parser.add_argument("--data", type=Path, default=os.environ.get("HARNESS_DATA"))
    given = parser.parse_args()
    if len(set(given.networks)) < 2 or given.seeds < 1:
        parser.error("two different networks and one seed are needed at least")
    runs = trained(tasks_of(given.networks, given.folds, given.seeds), given.data, RUNS)
    for search, verification in zip(runs[::2], runs[1::2], strict=True):
        ratio = _ratio([search, verification], (search.result.hash, search.result.recipe_hash), search.fold)
        print(f"fold {search.fold + 1}, {search.result.parameters:,} parameters: ratio {ratio:.3f}")
    document: dict[str, Any] = json.loads(OFFSETS.read_text(encoding="utf-8"))
    document["mnist"] = offset_document(runs, given.seeds)
    files.write_json(OFFSETS, document)
    print(json.dumps(document["mnist"], indent=1))


if __name__ == "__main__":
    main()
