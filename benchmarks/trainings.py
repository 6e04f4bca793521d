"""Past trainings, which the prior of a search is fitted to: collected from the repository's files, and recorded anew.

    python -m benchmarks.trainings collect

writes harness/search/proposals/trainings-mnist.csv, one row a network and recipe, and trainings-mnist.json beside it:
what each source gave, what was left out and why. ``benchmarks/sources.py`` lists the sources. Only whole trainings on
the fixed 50,000 images of mnist count, only their validation errors, and only recipes that are ``small`` or ``fast``
but for epochs, batch, rate and share of moved images. The factorials (factorial-*.json) are left out: they are built
to vary the other fields of a recipe, all of them at once.

    python -m benchmarks.trainings record --data FOLDER --count 112 --seed 0

trains a stratified set of draws of a space (``benchmarks/stratified.py``) by the recipe ``small`` and appends each run
to benchmarks/results/trainings.jsonl. What is on file is not trained again, so a call that was stopped is repeated as
it was. With ``--below SIZE`` the set is the one that a search would begin with if its answer had to be smaller
(``benchmarks/worthiest.py``), by a model that is fitted to all that the files tell; called again with another seed, to
what the first call has trained, too.

    python -m benchmarks.trainings keep STUDY ...

appends the trainings of searches, whose folders are named, to the same file.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.recording import RECIPE, keep, record
from benchmarks.sources import DATASET, READERS, Source, Told
from benchmarks.stratified import drawn
from benchmarks.worthiest import worthiest
from harness.search.proposals.trainings import PastTraining, past_training, text
from harness.system import files
from harness.system.errors import ContentError, HarnessError, UsageError
from harness.training.recipe import named_recipe
from search_spaces.catalog import space
from search_spaces.errors import SearchSpaceError, UnknownNameError

ROOT = Path(__file__).resolve().parent.parent
PACKAGED = ROOT / "harness" / "search" / "proposals"
RECORDING = ROOT / "benchmarks" / "results" / "trainings.jsonl"


def main() -> None:
    """Collect or record; leave with an exit code and one line where that is not possible."""
    given = _arguments()
    try:
        if given.command == "collect":
            _collect()
        elif given.command == "keep":
            print(f"{keep(given.studies, RECORDING):,} trainings were not on file")
        else:
            chosen = space(given.space)
            if given.below is None:
                found = drawn(chosen, given.count, given.seed, given.seconds)
            else:
                past = collected(sources(ROOT))
                recipe = named_recipe(RECIPE).recipe
                found = worthiest(chosen, recipe, past, given.below, given.seconds, given.count, given.seed)
            record(found, given.data, RECORDING)
    except HarnessError as error:
        _leave(error.message + (f" ({error.hint})" if error.hint else ""), error.exit_code)
    except UnknownNameError as error:
        _leave(error.message, UsageError.exit_code)
    except SearchSpaceError as error:
        _leave(error.message, ContentError.exit_code)


def sources(root: Path) -> dict[str, Source]:
    """Return what each file of a repository tells, by its name; a run that two files tell, by the first alone."""
    known: set[tuple[str, str, str]] = set()
    found = {}
    for name, reader in READERS.items():
        if not (root / name).exists():
            print(f"{name} is not there, so nothing of it is told", file=sys.stderr)
        else:
            source = reader(root / name)
            fresh = []
            for told in source.told:
                key = (told.hash, told.recipe.hash, told.seed)
                if not told.seed or key not in known:
                    fresh.append(told)
                known.add(key)
            twice = len(source.told) - len(fresh)
            left_out = source.left_out | ({"a run that is told already": twice} if twice else {})
            found[name] = Source(source.content, tuple(fresh), left_out)
    return found


def collected(found: Mapping[str, Source]) -> tuple[PastTraining, ...]:
    """Return one training for each network and recipe, in order of form, network and recipe."""
    alike: dict[tuple[str, str], list[tuple[str, Told]]] = defaultdict(list)
    for name, source in found.items():
        for told in source.told:
            alike[told.hash, told.recipe.hash].append((name, told))
    made = [_merged(item) for item in alike.values()]
    return tuple(
        sorted(made, key=lambda item: (item.form, str(item.architecture), item.epochs, item.source, item.errors))
    )


def provenance(found: Mapping[str, Source], trainings: tuple[PastTraining, ...]) -> dict[str, Any]:
    """Return where trainings come from, as plain JSON values; runs and what is left out are counted in runs."""
    return {
        "dataset": DATASET,
        "command": "python -m benchmarks.trainings collect",
        "sha256": hashlib.sha256(text(trainings).encode()).hexdigest(),
        "rows": len(trainings),
        "runs": sum(item.runs for item in trainings),
        "sources": [
            {
                "name": name,
                "sha256": hashlib.sha256(source.content).hexdigest(),
                "rows": len({(told.hash, told.recipe.hash) for told in source.told}),
                "runs": sum(told.runs for told in source.told),
                "left_out": source.left_out,
            }
            for name, source in found.items()
        ],
    }


def _merged(told: list[tuple[str, Told]]) -> PastTraining:
    first = told[0][1]
    runs = sum(item.runs for _, item in told)
    errors = sum(item.errors * item.runs for _, item in told) / runs
    return past_training(
        first.architecture, first.recipe, errors, runs, " ".join(dict.fromkeys(name for name, _ in told))
    )


def _leave(message: str, exit_code: int) -> NoReturn:
    print(f"trainings: {message}", file=sys.stderr)
    raise SystemExit(exit_code)


def _collect() -> None:
    found = sources(ROOT)
    trainings = collected(found)
    document = provenance(found, trainings)
    files.write_together(
        {
            PACKAGED / f"trainings-{DATASET}.csv": text(trainings).encode(),
            PACKAGED / f"trainings-{DATASET}.json": files.json_text(document).encode(),
        }
    )
    for source in document["sources"]:
        left_out = "; ".join(f"{count:,} left out: {reason}" for reason, count in source["left_out"].items())
        print(f"{source['name']}: {source['rows']:,} rows, {source['runs']:,} runs{'; ' if left_out else ''}{left_out}")
    print(f"{document['rows']:,} rows of {document['runs']:,} runs in {PACKAGED / f'trainings-{DATASET}.csv'}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("collect", help="write what ships, from the files of the repository")
    recording = commands.add_parser("record", help="train a set of networks and keep the runs")
    recording.add_argument("--data", type=Path, default=os.environ.get("HARNESS_DATA"))
    recording.add_argument("--count", type=int, default=112, help="trainings of the set")
    recording.add_argument("--seed", type=int, default=0, help="of the random numbers that draw the set")
    recording.add_argument("--space", default="all", help="a space's name, or @FILE")
    recording.add_argument("--seconds", type=float, default=60, help="that a training may be estimated to take")
    recording.add_argument("--below", type=int, help="parameters that all networks of the set stay below")
    keeping = commands.add_parser("keep", help="keep the trainings of searches")
    keeping.add_argument("studies", type=Path, nargs="+", metavar="STUDY", help="the folder of a search on mnist")
    return parser.parse_args()


if __name__ == "__main__":
    main()
