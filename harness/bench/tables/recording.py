"""A recording: which runs a table is made of, and their files while they are trained.

Its folder holds ``recording.json``, one JSON file a finished run and one checkpoint an unfinished one. Killing it loses
what was trained since the last rung.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from harness.bench.tables.table import Facts, Machine, Question, Row, Sample, Table
from harness.search import pruning
from harness.system import files, statistics
from harness.system.document import WrittenNetwork, document_of, documented, read_as
from harness.system.errors import ContentError, UsageError
from harness.training import result
from harness.training.recipe import recipe_document
from harness.training.result import PROTOCOL_VERSION, Purpose, Result, accuracy_pct, same_bits_due
from search_spaces.network import Architecture

# A run of a recording: hash of its network, index of its seed.
Key = tuple[str, int]


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """Which networks get more runs once all have theirs: those about which a comparison's answer turns.

    Attributes:
        target_pct: validation accuracy at the last rung.
        within_pct: how far from it, in points, the mean of a network's first runs may be.
        seeds: runs of such a network, the first ones included.
    """

    target_pct: float
    within_pct: float
    seeds: int


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class Recording(Question):
    """What decides the content of a table; a recording never changes it.

    Attributes:
        machine: where it is trained; its environment is without a commit.
        networks: in the order in which they are trained.
        seeds: runs a network, more of those that are ``near``.
    """

    seeds: int
    sample: Sample
    machine: Machine
    networks: tuple[WrittenNetwork, ...]
    near: Near | None = None
    protocol_version: int = PROTOCOL_VERSION
    schema_version: Literal[1] = 1


def check_rungs(rungs: Sequence[int], epochs: int) -> None:
    """Raise UsageError unless rungs are epochs in ascending order, the last one the recipe's last."""
    shown = ",".join(map(str, rungs))
    if not rungs or list(rungs) != sorted(set(rungs)) or rungs[0] < 1:
        raise UsageError(f"rungs {shown or 'none'}: they are epochs from 1 in ascending order, such as 1,2,4,8")
    if rungs[-1] != epochs:
        raise UsageError(
            f"rungs {shown}: the last rung is the end of the recipe, which has {epochs} epochs",
            hint=f"--epochs {rungs[-1]} shortens or lengthens the recipe",
        )


def default_rungs(epochs: int) -> tuple[int, ...]:
    """Return the rungs of a search, an earlier one and the last epoch, ascending: 1, 2, 4, 8 of 8."""
    return tuple(sorted({max(1, epochs // 8), *pruning.rungs(epochs), epochs}))


def split_digest(validation: Sequence[int]) -> str:
    """Return the SHA-256 of the validation images' indices, ascending, joined by commas."""
    return hashlib.sha256(",".join(map(str, validation)).encode()).hexdigest()


def open_recording(folder: Path, recording: Recording) -> bool:
    """Write a new recording's configuration, or check it against the one that is there; return whether it is new.

    Raises:
        UsageError: the folder cannot be written.
        ContentError: a recording of that name is another one.
    """
    path = folder / "recording.json"
    if not path.exists():
        files.write_json(path, document_of(recording) | {"recipe": recipe_document(recording.recipe)})
        return True
    check_recording(folder, recording)
    return False


def check_recording(folder: Path, recording: Recording) -> None:
    """Raise ContentError where a folder holds another recording: a table never mixes recipes, engines or splits."""
    path = folder / "recording.json"
    if not path.exists():
        return
    there = read_as(Recording, path.read_bytes(), f"the recording {path}")
    for item in fields(Recording):
        ours, theirs = getattr(recording, item.name), getattr(there, item.name)
        if ours != theirs:
            raise ContentError(
                f"the recording {recording.name!r} in {folder} was begun with {_difference(item.name, theirs, ours)}; "
                "a recording never changes",
                hint="record under another name and merge the tables, or repeat the command that began it",
            )


def _difference(name: str, theirs: Any, ours: Any) -> str:
    """Return what is another thing, and both values where they are short."""
    if name == "machine":
        for place, a, b in ((None, theirs, ours), ("environment", theirs.environment, ours.environment)):
            for item in fields(a):
                there, here = getattr(a, item.name), getattr(b, item.name)
                if there != here and item.name != "environment":
                    return f"another {item.name}{' of the ' + place if place else ''} ({there!r} there, {here!r} here)"
    if name in ("space", "recipe", "networks"):
        return f"another {name}" if name != "networks" else "other networks"
    return f"another {name} ({theirs!r} there, {ours!r} here)"


def run_path(folder: Path, key: Key) -> Path:
    """Return the file of one finished run."""
    return folder / "results" / f"{key[0]}-{key[1]}.json"


def checkpoint_path(folder: Path, key: Key) -> Path:
    """Return where an unfinished run keeps its state."""
    return folder / "checkpoints" / f"{key[0]}-{key[1]}.pt"


def finished_runs(folder: Path, recording: Recording) -> dict[Key, Result]:
    """Return all finished runs.

    Raises:
        ContentError: a file is no result, or is one of another recipe, engine or machine.
    """
    found: dict[Key, Result] = {}
    for path in sorted((folder / "results").glob("*.json")):
        each = result.read(path)
        ours = recording.machine.environment
        if (
            each.purpose is not Purpose.BENCH
            or each.recipe != recording.recipe
            or each.dataset != recording.dataset
            or each.protocol_version != recording.protocol_version
            or each.environment is None
            or not same_bits_due(each.environment, ours)
        ):
            raise ContentError(
                f"{path} is a run of another recipe, data set, engine or machine than the recording {recording.name!r}",
                hint="move the file away, and the run is trained again",
            )
        found[each.hash, each.seed_index] = each
    return found


def keys_of(recording: Recording, runs: Mapping[Key, Result]) -> list[tuple[Architecture, Key]]:
    """Return the network and the key of each run that is due, in the order in which they are trained.

    All networks with the first seed come first, then with the next. What is near the target is known, and so due, once
    all networks have their first runs.
    """
    networks = [(each, each.hash) for each in recording.networks]
    due = [(each, (key, seed)) for seed in range(recording.seeds) for each, key in networks]
    if recording.near is None or any(key not in runs for _, key in due):
        return due
    near = [(each, key) for each, key in networks if _is_near(recording, recording.near, key, runs)]
    more = range(recording.seeds, recording.near.seeds)
    return due + [(each, (key, seed)) for seed in more for each, key in near]


def _is_near(recording: Recording, near: Near, network_hash: str, runs: Mapping[Key, Result]) -> bool:
    accuracies = [runs[network_hash, seed].validation_accuracy_pct or 0.0 for seed in range(recording.seeds)]
    return abs(statistics.mean(accuracies) - near.target_pct) <= near.within_pct


def table_of(recording: Recording, runs: Mapping[Key, Result]) -> Table:
    """Return the table that finished runs make."""
    ordered = [runs[key] for key in sorted(runs)]
    machines: list[Machine] = []
    rows: list[Row] = []
    for run in ordered:
        assert run.environment is not None, "finished_runs lets none without one pass"
        machine = replace(recording.machine, environment=run.environment)
        if machine not in machines:
            machines.append(machine)
        rows += rows_of(run, recording.rungs, machines.index(machine))
    asked = {item.name: getattr(recording, item.name) for item in fields(Question)}
    version = recording.protocol_version
    facts = Facts(**asked, samples=(recording.sample,), machines=tuple(machines), protocol_version=version)
    return Table(facts, tuple(rows))


def rows_of(run: Result, rungs: Sequence[int], machine: int) -> list[Row]:
    """Return a finished run's rows; after it has diverged they keep what its last weights gave."""
    rows = []
    for rung in rungs:
        epoch = run.history[min(rung, len(run.history)) - 1]
        accuracy = accuracy_pct(epoch.validation_errors, run.validation_size)
        assert accuracy is not None, "a recording looks at every rung"
        rows.append(
            Row(
                architecture=str(run.architecture),
                hash=run.hash,
                parameters=run.parameters,
                macs=run.macs,
                seed=run.seed_index,
                rung=rung,
                validation_accuracy_pct=accuracy,
                seconds=round(epoch.train_seconds, 3),
                status=run.status,
                machine=machine,
            )
        )
    return rows
