"""A change of form changes no search: two checkouts replay the same searches to the same answers.

    python -m benchmarks.same_search OTHER_CHECKOUT
    python -m benchmarks.same_search OTHER_CHECKOUT --carry

Each checkout replays the default of ``harness search``, and the samplers that may take turns with it, on a table of
recorded trainings; clock, proposals and answers must be the same, byte for byte. With ``--carry`` the searches of the
main job that the other checkout's defaults were measured with count for the present code, and their file says so. That
is refused where an option of both, the space, the recipe or the threshold differs. A replay runs the open part of a
search without a prior and with one length of training. It runs neither the plan, nor the start of a session, the last
words and the verification; so the file names the files that differ, and whoever carries over has read their changes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import main_job, main_job_results
from benchmarks.main_job_results import Carried, Results, configuration_key
from benchmarks.search_defaults import defaults, differences
from harness.system.errors import UsageError
from harness.training.result import code_version

ROOT = Path(__file__).resolve().parent.parent
METHODS = ("default", "with-evolution", "with-tpe", "with-nsga2", "with-random")
REPEATS = 20


def traces(checkout: Path, repeats: int = REPEATS) -> list[str]:
    """Return a line a replayed search, as this checkout's packages make them."""
    with tempfile.TemporaryDirectory(prefix="same-search-") as folder:
        command = [sys.executable, "-m", "harness", "bench", "run", "mnist-bench", "--repeats", str(repeats)]
        command += [word for name in METHODS for word in ("--method", name)]
        environment = {**os.environ, "PYTHONPATH": str(checkout), "HARNESS_WORKSPACE": str(checkout)}
        subprocess.run(
            [*command, "--out", folder, "--json"],
            cwd=checkout,
            env=environment,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return sorted((Path(folder) / "traces.jsonl").read_text(encoding="utf-8").splitlines())


def sources_of(checkout: Path) -> dict[str, str]:
    """Return the hashes of the files that decide a search, as that checkout itself lists them."""
    code = "import json; from benchmarks import search_defaults as of; print(json.dumps(of.sources(of.ROOT)))"
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, env=environment, stdout=subprocess.PIPE, check=True
    )
    found: dict[str, str] = json.loads(answer.stdout)
    return found


def commit_of(checkout: Path) -> str | None:
    """Return the commit of a checkout, None where git knows none."""
    answer = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True)
    return answer.stdout.strip() or None


def carried(results: Results, old_sources: dict[str, str], now: dict[str, Any], how: Carried) -> Results:
    """Return the results with the searches of these older sources counted for the present defaults.

    Raises:
        UsageError: nothing was measured with them, or more than the sources differs.
    """
    keys = [key for key, configuration in results.configurations.items() if configuration["sources"] == old_sources]
    if not keys:
        raise UsageError("no search of the file was measured with the code of that checkout")
    for key in keys:
        old = results.configurations[key]
        # An option that the older code had not has the default under which the replays were equal.
        known = {name: value for name, value in now["options"].items() if name in old["options"]}
        parted = [line for line in differences(old, now | {"options": known}) if not line.startswith("sources.")]
        if parted:
            raise UsageError(f"not only the code differs: {parted[0]}")
    new = configuration_key(now)
    if new in keys:
        raise UsageError("the two checkouts have the same code, so there is nothing to carry over")
    searches = tuple(
        replace(each, configuration=new) if each.configuration in keys else each for each in results.searches
    )
    kept = {key: value for key, value in results.configurations.items() if key not in keys} | {new: now}
    return replace(results, configurations=kept, searches=searches, carried=(*results.carried, how))


def main() -> None:
    """Replay in both checkouts, compare, and carry over; leave with 1 where they differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("--carry", action="store_true", help="count the other's measured searches for this code")
    given = parser.parse_args()
    other = given.other.resolve()
    ours, theirs = traces(ROOT), traces(other)
    equal = sum(mine == yours for mine, yours in zip(ours, theirs, strict=False))
    print(f"{equal} of {max(len(ours), len(theirs))} replayed searches are equal")
    if ours != theirs or not ours:
        sys.exit(1)
    if given.carry:
        now, before = defaults(), sources_of(other)
        results = main_job_results.read(main_job.RESULTS)
        how = Carried(
            date_utc=datetime.now(UTC).isoformat(timespec="seconds"),
            old=next((key for key, known in results.configurations.items() if known["sources"] == before), ""),
            new=configuration_key(now),
            old_commit=commit_of(other),
            new_commit=commit_of(ROOT),
            dirty=code_version.__wrapped__()[1],
            files=tuple(sorted({name for name, _ in before.items() ^ now["sources"].items()})),
            methods=METHODS,
            replayed=len(ours),
            equal=equal,
        )
        main_job_results.write(main_job.RESULTS, carried(results, before, now, how))
        print(f"carried over in {main_job.RESULTS}")


if __name__ == "__main__":
    main()
