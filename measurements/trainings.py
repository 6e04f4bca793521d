"""Collect the prior observations of the surrogate model from the files of the repository.

    python -m measurements.trainings collect

writes harness/searching/trainings-mnist.csv, with a row per network and recipe, and trainings-mnist.json, with counts
per source. Only complete trainings on the fixed 50,000 images of mnist are used, with the validation errors at the last
epoch, and only recipes that equal ``small`` or ``fast`` except for epochs, batch size, learning rate and share of
shifted images. The tables below measurements/tables on other data sets give harness/searching/trainings-elsewhere.csv,
with a row per network and table.

    python -m measurements.trainings images FILE ...

writes trained-images.json, with digests of the training images of mnist and of the files of ``measurements.data_sets``,
so that searches on the same images leave the trainings out.

    python -m measurements.trainings keep STUDY ...

appends the trainings of the searches in the given folders to measurements/results/trainings.jsonl, which is a source of
``collect``. All complete trainings are kept: a selection by errors would bias the surrogate model towards few errors.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.bench.table import read_table
from harness.data import user
from harness.data.training_images import image_digests, load
from harness.evidence.leaderboard_table import read
from harness.searching.surrogate.model import IMAGES
from harness.searching.surrogate.prior import PriorDataset, PriorTraining, comparable, csv_of, elsewhere
from harness.spaces.network import Architecture
from harness.spaces.notation import parse_notation
from harness.studies.log import read_state
from harness.studies.standing import Standing
from harness.system import files, statistics
from harness.system.document import csv_text
from harness.training.recipe import Recipe, named_recipe, recipe_by_hash, recipe_from
from harness.training.result import PROTOCOL_VERSION, Purpose, Status, derive_seed

ROOT = Path(__file__).resolve().parent.parent
PACKAGED = ROOT / "harness" / "searching"
TABLES = ROOT / "measurements" / "tables"
RECORDING = ROOT / "measurements" / "results" / "trainings.jsonl"
DATASET = "mnist"
SKETCH_SIZE = 256  # digests per data set; a tenth of the images in common are overlooked in 2 cases of 10^12
_OTHER_RECIPE = "another recipe"  # reason for which a run is skipped; part of trainings-mnist.json


@dataclass(frozen=True, slots=True)
class SourceTraining:
    """Training, or mean of several trainings.

    Attributes:
        errors: Number of wrong images out of 10,000.
        seed: Identifier of the random numbers; empty for a mean.
        runs: Number of trainings.
    """

    architecture: Architecture
    recipe: Recipe
    errors: float
    seed: str
    runs: int = 1

    @property
    def key(self) -> tuple[str, str]:
        """Hash of the network and hash of the recipe."""
        return self.architecture.hash, self.recipe.hash


@dataclass(frozen=True, slots=True)
class Source:
    """Trainings of a file, with the digest of the file and the number of skipped runs by reason."""

    sha256: str
    trainings: tuple[SourceTraining, ...]
    left_out: dict[str, int]


def _errors(accuracy_pct: float) -> int:
    """Return the wrong images out of ``IMAGES``."""
    errors = (100 - accuracy_pct) * IMAGES / 100
    assert abs(errors - round(errors)) < 1e-6, f"{accuracy_pct} % is no accuracy of {IMAGES:,} images"
    return round(errors)


def _of_table(path: Path) -> Iterator[SourceTraining | str]:
    table = read_table(path.parent)
    for row in table.rows:
        if row.rung != table.facts.rungs[-1]:
            continue
        if row.status is not Status.COMPLETE:
            yield "a run that diverged"
        else:
            errors = _errors(row.validation_accuracy_pct)
            yield SourceTraining(parse_notation(row.architecture), table.facts.recipe, errors, f"bench {row.seed}")


def _of_rows(path: Path) -> Iterator[SourceTraining | str]:
    document = json.loads(path.read_bytes())
    # Some recorded recipes have a field that the program no longer has.
    fields = {each.name for each in dataclasses.fields(Recipe)}
    recipes = {
        name: recipe_from(stated, str(path)) for name, stated in document["recipes"].items() if stated.keys() <= fields
    }
    for row in document["rows"]:
        for run in row["runs"]:
            if row["recipe_hash"] not in recipes:
                yield _OTHER_RECIPE
                continue
            errors = _errors(run["validation_accuracy_pct"])
            seed = f"{Purpose.REFERENCE} {run['seed_index']}"
            yield SourceTraining(parse_notation(row["network"]), recipes[row["recipe_hash"]], errors, seed)


def _of_recording(path: Path) -> Iterator[SourceTraining | str]:
    for line in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        if line["errors"] is None:
            yield "a run without validation errors"
        else:
            recipe = named_recipe(line["recipe"], epochs=line["epochs"]).recipe
            yield SourceTraining(parse_notation(line["network"]), recipe, line["errors"], _seed_name(line))


def _seed_name(line: Mapping[str, Any]) -> str:
    """Return the identifier of the random numbers of a recorded line."""
    if (purpose := line.get("purpose", Purpose.REFERENCE)) == Purpose.REFERENCE:
        return f"{purpose} {line['seed']}"
    return f"{purpose} {line['seed']}, study {line['study_seed']}"


def _of_leaderboard(path: Path) -> Iterator[SourceTraining | str]:
    for row in read(path):
        if row.tier is not Standing.SEARCHED or row.dataset != DATASET:
            continue
        if row.epochs is None or row.validation_accuracy_pct is None or not row.validation_seeds:
            yield "a row without validation errors"
        elif (recipe := recipe_by_hash(row.recipe_hash, row.epochs)) is None:
            yield _OTHER_RECIPE
        else:
            # The file has a rounded mean accuracy: recover the integer total of errors over the runs, then divide.
            errors = round((100 - row.validation_accuracy_pct) * IMAGES / 100 * row.validation_seeds)
            yield SourceTraining(row.architecture, recipe, errors / row.validation_seeds, "", row.validation_seeds)


# Functions that yield the trainings of a file, and the reason for each run that is skipped. Order of precedence: a run
# that is in several files is taken from the first of these files.
READERS: dict[str, Callable[[Path], Iterable[SourceTraining | str]]] = {
    "measurements/tables/mnist-bench/table.csv": _of_table,
    "measurements/results/topologies.json": _of_rows,
    "measurements/results/poses.json": _of_rows,
    "measurements/results/trainings.jsonl": _of_recording,
    "leaderboard.csv": _of_leaderboard,
}


def sources(root: Path) -> dict[str, Source]:
    """Return the trainings of each source file by file name; a repeated run is taken from the first file only."""
    known: set[tuple[str, str, str]] = set()
    sources_by_name: dict[str, Source] = {}
    for name, reader in READERS.items():
        trainings: list[SourceTraining] = []
        left_out: Counter[str] = Counter()
        for item in reader(root / name):
            if isinstance(item, str):
                left_out[item] += 1
            elif not comparable(item.recipe):
                left_out[_OTHER_RECIPE] += 1
            elif item.seed and (*item.key, item.seed) in known:
                left_out["a run that is told already"] += 1
            else:
                known.add((*item.key, item.seed))
                trainings.append(item)
        content = (root / name).read_bytes()
        if name == "leaderboard.csv":
            # Hash the used rows only, otherwise each new record would change the digest.
            rows = sorted([*item.key, item.errors, item.runs] for item in trainings)
            content = csv_text(["hash", "recipe_hash", "errors", "runs"], rows).encode()
        digest = hashlib.sha256(content).hexdigest()
        sources_by_name[name] = Source(digest, tuple(trainings), dict(sorted(left_out.items())))
    return sources_by_name


def collected(sources_by_name: Mapping[str, Source]) -> tuple[PriorTraining, ...]:
    """Return the mean training for each network and recipe, in order of family, network and epochs."""
    # (name of the source, training) by network and recipe.
    alike: dict[tuple[str, str], list[tuple[str, SourceTraining]]] = defaultdict(list)
    for name, source in sources_by_name.items():
        for training in source.trainings:
            alike[training.key].append((name, training))
    trainings = []
    for group in alike.values():
        runs = sum(training.runs for _, training in group)
        errors = sum(training.errors * training.runs for _, training in group) / runs
        names = " ".join(dict.fromkeys(name for name, _ in group))
        _, first = group[0]
        trainings.append(PriorTraining.of(first.architecture, first.recipe, errors, runs, names))

    def order(item: PriorTraining) -> tuple[str, str, int, str, float]:
        return item.architecture.family, str(item.architecture), item.epochs, item.source, item.errors

    return tuple(sorted(trainings, key=order))


def provenance(sources_by_name: Mapping[str, Source], trainings: tuple[PriorTraining, ...]) -> dict[str, Any]:
    """Return the sources of the trainings with numbers of rows, used runs and skipped runs, as plain JSON values."""

    def of_source(name: str, source: Source) -> dict[str, Any]:
        rows = {training.key for training in source.trainings}
        counted = {"rows": len(rows), "runs": sum(training.runs for training in source.trainings)}
        return {"name": name, "sha256": source.sha256, **counted, "left_out": source.left_out}

    return {
        "dataset": DATASET,
        "command": "python -m measurements.trainings collect",
        "sha256": hashlib.sha256(csv_of(trainings).encode()).hexdigest(),
        "rows": len(trainings),
        "runs": sum(item.runs for item in trainings),
        "sources": [of_source(name, source) for name, source in sources_by_name.items()],
    }


def collected_elsewhere(folder: Path) -> tuple[PriorTraining, ...]:
    """Return the mean training for each network of each table in ``folder`` on a data set other than mnist, sorted."""
    trainings = []
    for path in sorted(folder.glob("*/table.json")):
        table = read_table(path.parent)
        if table.facts.dataset == DATASET:
            continue
        source = f"measurements/tables/{table.facts.name}/table.csv"
        last = table.facts.rungs[-1]
        for runs in table.runs.values():
            rows = [run[last] for run in runs.values() if run[last].status is Status.COMPLETE]
            if rows:
                errors = statistics.mean([100 - row.validation_accuracy_pct for row in rows]) * IMAGES / 100
                network = parse_notation(rows[0].architecture)
                training = PriorTraining.of(network, table.facts.recipe, round(errors, 3), len(rows), source)
                trainings.append(replace(training, dataset=PriorDataset.of(table.data)))

    def order(item: PriorTraining) -> tuple[str, str, str, int]:
        assert item.dataset is not None
        return item.dataset.name, item.architecture.family, str(item.architecture), item.epochs

    return tuple(sorted(trainings, key=order))


def keep(studies: Iterable[Path], path: Path) -> int:
    """Append the new complete trainings of searches with the recipe ``small`` to ``path``; return the number added."""
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    done = {(line["hash"], line["epochs"], _seed_name(line)) for line in lines}
    before = len(done)
    for folder in studies:
        study = read_state(folder)
        config = study.config
        for run in study.results if config.protocol_version == PROTOCOL_VERSION else ():
            if run.dataset != DATASET or run.purpose not in (Purpose.SEARCH, Purpose.CONFIRM):
                continue
            small = named_recipe("small", epochs=run.recipe.epochs).recipe
            if run.recipe != small or run.status is not Status.COMPLETE or run.validation_errors is None:
                continue
            # Old searches derived seeds from ``config.seed`` instead of ``config.run_seed``.
            seed = derive_seed(run.hash, run.recipe_hash, run.purpose, run.seed_index, config.run_seed)
            line = {"hash": run.hash, "recipe": "small", "epochs": run.recipe.epochs, "seed": run.seed_index}
            line |= {"parameters": run.parameters, "macs": run.macs, "errors": run.validation_errors}
            line |= {"seconds": round(run.train_seconds, 1), "network": str(run.architecture), "purpose": run.purpose}
            line["study_seed"] = config.run_seed if run.seed == seed else config.seed
            if (key := (run.hash, run.recipe.epochs, _seed_name(line))) not in done:
                files.append_line(path, json.dumps(line, allow_nan=False))
                done.add(key)
    return len(done) - before


def sketches(paths: Sequence[Path]) -> dict[str, list[str]]:
    """Return the smallest digests of the training images of mnist and of the ``.npz`` files, by data set."""
    names = {DATASET: DATASET}
    for dataset in {item.dataset for item in elsewhere(DATASET) if item.dataset is not None}:
        [path] = (path for path in paths if path.stem == dataset.name.partition("-")[0])
        # Since the trainings were made, parts with nearly equal images are refused; the images are the same.
        names[dataset.name] = user.Data.read(path, channels="first", allow_overlap=True).name
    digests = {key: sorted(image_digests(load(name).train_images.numpy())) for key, name in sorted(names.items())}
    return {key: of_set[:SKETCH_SIZE] for key, of_set in digests.items()}


def main() -> None:
    """Run the command ``collect``, ``images`` or ``keep``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("collect", help="write what ships, from the files of the repository")
    keeping = commands.add_parser("keep", help="keep the trainings of searches")
    keeping.add_argument("studies", type=Path, nargs="+", metavar="STUDY", help="the folder of a search on mnist")
    sketching = commands.add_parser("images", help="write the digests of the images of the trainings")
    sketching.add_argument("files", type=Path, nargs="+", metavar="FILE", help="an .npz of measurements.data_sets")
    arguments = parser.parse_args()
    if arguments.command == "images":
        files.write_json(PACKAGED / "trained-images.json", sketches(arguments.files))
        return
    if arguments.command == "keep":
        print(f"{keep(arguments.studies, RECORDING):,} trainings were not on file")
        return
    sources_by_name = sources(ROOT)
    trainings = collected(sources_by_name)
    document = provenance(sources_by_name, trainings)
    files.write_together(
        {
            PACKAGED / f"trainings-{DATASET}.csv": csv_of(trainings).encode(),
            PACKAGED / f"trainings-{DATASET}.json": files.json_text(document).encode(),
            PACKAGED / "trainings-elsewhere.csv": csv_of(collected_elsewhere(TABLES)).encode(),
        }
    )
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
