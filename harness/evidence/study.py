"""A study's folder: its configuration, its journal and one file a finished run.

These files are the record; the Optuna index is made from them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from harness.evidence import events
from harness.evidence.events import Entry, Event, Looked, Proposal, Rejected, of_kind
from harness.system import files
from harness.system.document import documented, read_as
from harness.system.errors import ContentError, UsageError
from harness.system.files import TEACHERS
from harness.training import result
from harness.training.recipe import Recipe, recipe_document
from harness.training.result import PROTOCOL_VERSION, Result
from search_spaces.space import Metric


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class StudyConfig:
    """What decides the outcome of a search; a study never changes it.

    Attributes:
        threshold_pct: validation accuracy that stands for the target, by the measured validation-test offset.
        space_text: the whole definition, so that a study can be read when the space has changed.
        rungs: epochs after which pruning is decided, in a training of the recipe's own length; in others at the same
            shares.
        lengths: epochs that a network may be trained for, ascending; none where the recipe's own are meant.
        prior: what earlier trainings the model of the errors begins with, ``none``, ``shipped`` or ``own``.
        prior_sha256: of those that come with the package; empty where there are none, or where none are taken.
        minimise: what the answer has as little of as possible.
        most: what an answer may have of it, its ceiling; None for the budget.
    """

    dataset: str
    data_hash: str
    budget: int
    target_pct: float
    threshold_pct: float
    space: str
    space_text: str
    sampler: str
    recipe: Recipe
    recipe_name: str
    rungs: tuple[int, ...]
    seed: int
    lengths: tuple[int, ...] = ()
    prior: str = "none"
    prior_sha256: str = ""
    protocol_version: int = PROTOCOL_VERSION
    minimise: Metric = Metric.PARAMETERS
    most: int | None = None

    @property
    def run_seed(self) -> int:
        """Seed of its trainings: its own; where the model begins with earlier ones a hash of the configuration.

        With the same seed a search would run what the model has learned from once more, and take it for a fresh seed.
        """
        if self.prior == "none":
            return self.seed
        text = json.dumps(config_document(self), sort_keys=True)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")

    @property
    def ceiling(self) -> int:
        """The most that an answer may have of what is minimised."""
        return self.budget if self.most is None else self.most

    @property
    def all_lengths(self) -> tuple[int, ...]:
        """The epochs that a network may be trained for, the recipe's own where none are named."""
        return self.lengths or (self.recipe.epochs,)

    def recipe_of(self, epochs: int | None) -> tuple[Recipe, str]:
        """Return the recipe of a training of so many epochs, its own where none are said, and its name."""
        if epochs is None or epochs == self.recipe.epochs:
            return self.recipe, self.recipe_name
        return replace(self.recipe, epochs=epochs), f"{self.recipe_name}-{epochs}ep"


@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class _ConfigFile:
    config: StudyConfig
    origins: dict[str, str]
    schema_version: Literal[1] = 1


def open_study(folder: Path, config: StudyConfig, origins: dict[str, str]) -> bool:
    """Write the configuration of a new study, or check it against the one that is there; return whether it is new.

    Raises:
        UsageError: the folder cannot be written.
        ContentError: a study of that name has another configuration, or its log is damaged or does not fit its results.
    """
    path = folder / "config.json"
    _check_log(folder)
    if not path.exists():
        whole = _ConfigFile(config=config, origins=origins)
        files.write_json(path, asdict(whole) | {"config": config_document(config)})
        return True
    check_config(folder, config)
    return False


def config_document(config: StudyConfig) -> dict[str, Any]:
    """Return a configuration as plain JSON values; studies of the fewest parameters are named as ever."""
    document = asdict(config) | {"recipe": recipe_document(config.recipe)}
    if config.minimise is Metric.PARAMETERS:
        del document["minimise"], document["most"]
    return document


def check_config(folder: Path, config: StudyConfig) -> None:
    """Raise ContentError unless the study in a folder has this configuration."""
    there = read_config(folder)
    for item in fields(StudyConfig):
        ours, theirs = getattr(config, item.name), getattr(there, item.name)
        if ours != theirs:
            shown = "" if item.name in ("space_text", "recipe") else f" ({theirs!r} there, {ours!r} here)"
            raise ContentError(
                f"study {folder.name!r} in {folder} was begun with another {item.name.removesuffix('_pct')}{shown}; "
                "a study never changes its configuration",
                hint="the offset between validation and test has been measured anew since: give --study another name"
                if item.name == "threshold_pct"
                else "give --study another name, or repeat the command that began it",
            )


def _check_log(folder: Path) -> None:
    # A search would begin anew, over the results that are there. What a kill has torn is no JSON, and nothing followed
    # from it, so it is passed over.
    path = folder / "log.jsonl"
    hint = "bring log.jsonl back, or give --study another name; a report shows what is left"
    for number, text in enumerate(_lines(path), 1):
        if events.read_line(text) is None:
            with suppress(ValueError):
                json.loads(text)
                raise ContentError(f"line {number} of {path} is no event of this program", hint=hint)
    known = {f"{proposal.trial:05d}" for proposal in proposals(read_events(folder))}
    for found in sorted((folder / "results").glob("trial-*.json")):
        if found.name.split("-")[1] not in known:
            raise ContentError(f"{path} lacks the network of the result {found.name}", hint=hint)


def read_config(folder: Path) -> StudyConfig:
    """Read a study's configuration.

    Raises:
        ContentError: there is none, or it is not one of this program.
    """
    return _config_file(folder).config


def read_origins(folder: Path) -> dict[str, str]:
    """Return where each value of the configuration came from: an option, the environment or a default."""
    return _config_file(folder).origins


def _config_file(folder: Path) -> _ConfigFile:
    path = folder / "config.json"
    return read_as(_ConfigFile, path, f"the study {path}")


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Be the only process that works in a folder for the block; make the folder, and leave none that is empty.

    Raises:
        UsageError: another process works there.
        StorageError: the folder cannot be written.
    """
    # One that only asks holds the lock for a moment too.
    with files.locked(folder / ".lock", seconds=0.75):
        try:
            yield
        finally:
            if folder.is_dir() and os.listdir(folder) == [".lock"]:
                shutil.rmtree(folder)


def is_owned(folder: Path) -> bool:
    """Return whether a process works in a folder now."""
    try:
        if (folder / ".lock").exists():
            with files.locked(folder / ".lock", seconds=0):
                pass
    except files.Held:
        return True
    except UsageError:
        return False
    return False


def result_path(folder: Path, trial: int, purpose: str, seed_index: int) -> Path:
    """Return the file of one finished run."""
    return folder / "results" / f"trial-{trial:05d}-{purpose}-{seed_index}.json"


def checkpoint_path(folder: Path, trial: int, purpose: str, seed_index: int) -> Path:
    """Return where an unfinished run keeps its state."""
    return folder / "checkpoints" / f"trial-{trial:05d}-{purpose}-{seed_index}.pt"


def teachers_path(folder: Path) -> Path:
    """Return where the studies of a workspace keep trained teachers."""
    return folder.parent / TEACHERS


def finished_results(folder: Path) -> list[Result]:
    """Return all finished runs, in order of trial, purpose and seed."""
    found = [result.read(path) for path in (folder / "results").glob("trial-*.json")]
    return sorted(found, key=lambda item: (item.trial or 0, item.purpose, item.seed_index))


def note(folder: Path, event: Event, elapsed: float) -> None:
    """Append an event to the log; ``elapsed`` counts the seconds of all sessions of the study."""
    entry = Entry(elapsed, event, datetime.now(UTC).isoformat(timespec="seconds"))
    files.append_line(folder / "log.jsonl", events.line(entry))


def read_events(folder: Path) -> list[Entry[Event]]:
    """Return what the log holds; a line that a kill has torn, or that no event fits, is passed over."""
    return read_log(folder)[0]


def read_log(folder: Path) -> tuple[list[Entry[Event]], list[str]]:
    """Return what the log holds, and a message for each line that no event fits; the last may be in the making."""
    path = folder / "log.jsonl"
    found, damage = [], []
    lines = _lines(path)
    for number, text in enumerate(lines, 1):
        entry = events.read_line(text)
        if entry is not None:
            found.append(entry)
        elif text.strip() and number < len(lines):
            damage.append(f"line {number} of {path} is no event of this program; a kill may have torn it")
    return found, damage


def _lines(path: Path) -> list[str]:
    return files.log_text(path).split("\n") if path.exists() else []


def mend(folder: Path) -> None:
    """Remove files that a kill left half-written, and checkpoints of runs that have ended.

    For the folder of a study or of a table's recording. A torn last line of a log stays a line of its own.
    """
    for place in (folder, folder / "results", folder / "checkpoints"):
        files.sweep(place)
    for checkpoint in (folder / "checkpoints").glob("*.pt"):
        if (folder / "results" / f"{checkpoint.stem}.json").exists():
            checkpoint.unlink()


def proposals(entries: Iterable[Entry[Event]]) -> list[Proposal]:
    """Return the networks that were chosen for training, in order."""
    return [entry.event for entry in of_kind(entries, Proposal)]


def rejections(entries: Iterable[Entry[Event]]) -> Counter[str]:
    """Return how many networks were rejected before anything was built, by reason.

    These are a sampler's proposals, and networks that the model of the errors would have chosen among.
    """
    found: Counter[str] = Counter()
    for entry in entries:
        match entry.event:
            case Rejected(reason=reason):
                found[reason] += 1
            case Looked(rejected=counts):
                found.update(counts)
    return found


def elapsed_seconds(entries: Iterable[Entry[Event]]) -> float:
    """Return how long a study has been worked on, all sessions together."""
    return max((entry.elapsed for entry in entries), default=0.0)
