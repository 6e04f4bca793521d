"""Past trainings, which the prior of a search is fitted to, collected from the repository's files.

    python -m benchmarks.trainings collect

writes harness/searching/trainings-mnist.csv, a row a network and recipe, and trainings-mnist.json: what each source
gave. Only whole trainings on the fixed 50,000 images of mnist count, by their validation errors at the last epoch, and
only recipes that are ``small`` or ``fast`` but for epochs, batch, rate and share of moved images. All tables of other
data sets below benchmarks/tables make harness/searching/trainings-elsewhere.csv, a row a network and table.

    python -m benchmarks.trainings keep STUDY ...

appends the trainings of searches, whose folders are named, to benchmarks/results/trainings.jsonl, which is a source.
All that came to their end: a choice by the errors would make a model of them too hopeful.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.bench.table import read_table
from harness.evidence.leaderboard import Tier, read
from harness.searching.surrogate.model import IMAGES
from harness.searching.surrogate.past import Origin, PastTraining, comparable, csv_of
from harness.studies.log import read_state
from harness.system import files, statistics
from harness.system.document import csv_text
from harness.training.recipe import Recipe, named_recipe, recipe_by_hash, recipe_from
from harness.training.result import PROTOCOL_VERSION, Purpose, Status, derive_seed
from search_spaces.network import Architecture
from search_spaces.notation import parse_notation

ROOT = Path(__file__).resolve().parent.parent
PACKAGED = ROOT / "harness" / "searching"
TABLES = ROOT / "benchmarks" / "tables"
RECORDING = ROOT / "benchmarks" / "results" / "trainings.jsonl"
DATASET = "mnist"
_ANOTHER = "another recipe"


@dataclass(frozen=True, slots=True)
class Told:
    """One training, its errors of 10,000 images and what draws its numbers, or the mean of several without ``seed``."""

    architecture: Architecture
    recipe: Recipe
    errors: float
    seed: str
    runs: int = 1

    @property
    def key(self) -> tuple[str, str]:
        """Hashes of network and recipe."""
        return self.architecture.hash, self.recipe.hash


@dataclass(frozen=True, slots=True)
class Source:
    """What one file tells: its digest, its trainings, and how many others are left out, by reason."""

    sha256: str
    told: tuple[Told, ...]
    left_out: dict[str, int]


def _errors(accuracy_pct: float) -> int:
    errors = (100 - accuracy_pct) * IMAGES / 100
    assert abs(errors - round(errors)) < 1e-6, f"{accuracy_pct} % is no accuracy of {IMAGES:,} images"
    return round(errors)


def _of_table(path: Path) -> Iterator[Told | str]:
    table = read_table(path.parent)
    for row in table.rows:
        if row.rung != table.facts.rungs[-1]:
            continue
        if row.status is not Status.COMPLETE:
            yield "a run that diverged"
        else:
            errors = _errors(row.validation_accuracy_pct)
            yield Told(parse_notation(row.architecture), table.facts.recipe, errors, f"bench {row.seed}")


def _of_rows(path: Path) -> Iterator[Told | str]:
    document = json.loads(path.read_bytes())
    recipes = {name: recipe_from(stated, str(path)) for name, stated in document["recipes"].items()}
    for row in document["rows"]:
        for run in row["runs"]:
            errors, seed = _errors(run["validation_accuracy_pct"]), f"{Purpose.REFERENCE} {run['seed_index']}"
            yield Told(parse_notation(row["network"]), recipes[row["recipe_hash"]], errors, seed)


def _of_recording(path: Path) -> Iterator[Told | str]:
    for line in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        if line["errors"] is None:
            yield "a run without validation errors"
        else:
            recipe = named_recipe(line["recipe"], epochs=line["epochs"]).recipe
            yield Told(parse_notation(line["network"]), recipe, line["errors"], _drawn_by(line))


def _drawn_by(line: Mapping[str, Any]) -> str:
    if (purpose := line.get("purpose", Purpose.REFERENCE)) == Purpose.REFERENCE:
        return f"{purpose} {line['seed']}"
    return f"{purpose} {line['seed']}, study {line['study_seed']}"


def _of_leaderboard(path: Path) -> Iterator[Told | str]:
    for row in read(path):
        if row.tier is not Tier.SEARCHED or row.dataset != DATASET:
            continue
        if row.epochs is None or row.validation_accuracy_pct is None or not row.validation_seeds:
            yield "a row without validation errors"
        elif (recipe := recipe_by_hash(row.recipe_hash, row.epochs)) is None:
            yield _ANOTHER
        else:
            # As many digits as the file has: a mean of three runs is no whole number of errors.
            errors = round((100 - row.validation_accuracy_pct) * IMAGES / 100 * row.validation_seeds)
            yield Told(row.architecture, recipe, errors / row.validation_seeds, "", row.validation_seeds)


# In this order: of a run that two files tell, the first speaks.
READERS: dict[str, Callable[[Path], Iterable[Told | str]]] = {
    "benchmarks/tables/mnist-bench/table.csv": _of_table,
    "benchmarks/results/topologies.json": _of_rows,
    "benchmarks/results/poses.json": _of_rows,
    "benchmarks/results/trainings.jsonl": _of_recording,
    "leaderboard.csv": _of_leaderboard,
}


def sources(root: Path) -> dict[str, Source]:
    """Return what each file of a repository tells, by its name; a run that two files tell, by the first alone."""
    known: set[tuple[str, str, str]] = set()
    sources_by_name: dict[str, Source] = {}
    for name, reader in READERS.items():
        trainings: list[Told] = []
        left_out: Counter[str] = Counter()
        for item in reader(root / name):
            if isinstance(item, str):
                left_out[item] += 1
            elif not comparable(item.recipe):
                left_out[_ANOTHER] += 1
            elif item.seed and (*item.key, item.seed) in known:
                left_out["a run that is told already"] += 1
            else:
                known.add((*item.key, item.seed))
                trainings.append(item)
        content = (root / name).read_bytes()
        if name == "leaderboard.csv":
            # The digest covers only the rows that are used, so that a new record changes nothing here.
            rows = sorted([*item.key, item.errors, item.runs] for item in trainings)
            content = csv_text(["hash", "recipe_hash", "errors", "runs"], rows).encode()
        digest = hashlib.sha256(content).hexdigest()
        sources_by_name[name] = Source(digest, tuple(trainings), dict(sorted(left_out.items())))
    return sources_by_name


def collected(sources_by_name: Mapping[str, Source]) -> tuple[PastTraining, ...]:
    """Return one training for each network and recipe, in order of form, network and recipe."""
    alike: dict[tuple[str, str], list[tuple[str, Told]]] = defaultdict(list)
    for name, source in sources_by_name.items():
        for training in source.told:
            alike[training.key].append((name, training))
    trainings = []
    for item in alike.values():
        runs = sum(training.runs for _, training in item)
        errors = sum(training.errors * training.runs for _, training in item) / runs
        names = " ".join(dict.fromkeys(name for name, _ in item))
        trainings.append(PastTraining.of(item[0][1].architecture, item[0][1].recipe, errors, runs, names))

    def order(item: PastTraining) -> tuple[str, str, int, str, float]:
        return item.architecture.form, str(item.architecture), item.epochs, item.source, item.errors

    return tuple(sorted(trainings, key=order))


def provenance(sources_by_name: Mapping[str, Source], trainings: tuple[PastTraining, ...]) -> dict[str, Any]:
    """Return where trainings come from, as plain JSON values; runs and what is left out are counted in runs."""

    def of_source(name: str, source: Source) -> dict[str, Any]:
        rows = {training.key for training in source.told}
        counted = {"rows": len(rows), "runs": sum(training.runs for training in source.told)}
        return {"name": name, "sha256": source.sha256, **counted, "left_out": source.left_out}

    return {
        "dataset": DATASET,
        "command": "python -m benchmarks.trainings collect",
        "sha256": hashlib.sha256(csv_of(trainings).encode()).hexdigest(),
        "rows": len(trainings),
        "runs": sum(item.runs for item in trainings),
        "sources": [of_source(name, source) for name, source in sources_by_name.items()],
    }


def collected_elsewhere(folder: Path) -> tuple[PastTraining, ...]:
    """Return one training for each network of each table in a folder that is of another data set, in order."""
    trainings = []
    for path in sorted(folder.glob("*/table.json")):
        table = read_table(path.parent)
        if table.facts.dataset == DATASET:
            continue
        source = f"benchmarks/tables/{table.facts.name}/table.csv"
        last = table.facts.rungs[-1]
        for runs in table.runs.values():
            rows = [run[last] for run in runs.values() if run[last].status is Status.COMPLETE]
            if rows:
                errors = statistics.mean([100 - row.validation_accuracy_pct for row in rows]) * IMAGES / 100
                network = parse_notation(rows[0].architecture)
                training = PastTraining.of(network, table.facts.recipe, round(errors, 3), len(rows), source)
                trainings.append(replace(training, origin=Origin.of(table.data)))

    def order(item: PastTraining) -> tuple[str, str, str, int]:
        assert item.origin is not None
        return item.origin.dataset, item.architecture.form, str(item.architecture), item.epochs

    return tuple(sorted(trainings, key=order))


def keep(studies: Iterable[Path], path: Path) -> int:
    """Append the whole trainings of searches by the recipe ``small`` that are not on file; return their number."""
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    done = {(line["hash"], line["epochs"], _drawn_by(line)) for line in lines}
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
            # Searches of before their seeds were a hash of their configuration had the study's own.
            drawn = derive_seed(run.hash, run.recipe_hash, run.purpose, run.seed_index, config.run_seed)
            line = {"hash": run.hash, "recipe": "small", "epochs": run.recipe.epochs, "seed": run.seed_index}
            line |= {"parameters": run.parameters, "macs": run.macs, "errors": run.validation_errors}
            line |= {"seconds": round(run.train_seconds, 1), "network": str(run.architecture), "purpose": run.purpose}
            line["study_seed"] = config.run_seed if run.seed == drawn else config.seed
            if (key := (run.hash, run.recipe.epochs, _drawn_by(line))) not in done:
                files.append_line(path, json.dumps(line, allow_nan=False))
                done.add(key)
    return len(done) - before


def main() -> None:
    """Collect what ships, or keep the trainings of searches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("collect", help="write what ships, from the files of the repository")
    keeping = commands.add_parser("keep", help="keep the trainings of searches")
    keeping.add_argument("studies", type=Path, nargs="+", metavar="STUDY", help="the folder of a search on mnist")
    arguments = parser.parse_args()
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
