"""A study: its configuration, and the fold of its log.

``log.jsonl`` holds everything that has happened, the documents of its runs included. ``Study`` is what follows from it,
and nobody else reads the log; a study's state changes in ``Study.apply`` alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, cast

from harness.evidence import events
from harness.evidence.events import Entry, Event, Looked, Proposal, Rejected, Repeated, RunEnded, Verified, WinnerChosen
from harness.system import files
from harness.system.document import documented, read_as
from harness.system.errors import ContentError, UsageError
from harness.training.recipe import Recipe, recipe_document
from harness.training.result import PROTOCOL_VERSION, Purpose, Result
from search_spaces.space import OBJECTIVES, Metric, Objective, Weighted

# Where older programs kept each run.
_RESULTS = "results"
_E = TypeVar("_E", bound=Event)
# Of the first of two metrics, in turns: both, then either alone, then what lies between.
WEIGHTS = (0.5, 1.0, 0.0, 0.75, 0.25)


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
        second: what it has as little of as well; then the answers are a Pareto front. ``second_most`` is its ceiling.
        start_from: the study, or the leaderboard, whose networks it begins with in place of draws; empty for none.
        known: their texts when it began.
        sampler_sha256: of the source of a sampler of one's own; a trainer's is in the recipe.
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
    second: Metric | None = None
    second_most: int | None = None
    start_from: str = ""
    known: tuple[str, ...] = ()
    sampler_sha256: str = ""

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
    def minimised(self) -> tuple[Metric, ...]:
        """What is minimised: one metric or two."""
        return (self.minimise,) if self.second is None else (self.minimise, self.second)

    @property
    def ceilings(self) -> tuple[int, ...]:
        """The most that an answer may have of each."""
        return (self.ceiling,) if self.second_most is None else (self.ceiling, self.second_most)

    @property
    def bounds_text(self) -> str:
        """The most that an answer may have, for people."""
        return " and ".join(
            f"{most:,} {OBJECTIVES[each]}" for most, each in zip(self.ceilings, self.minimised, strict=True)
        )

    def objective(self, turn: int) -> tuple[Objective, int]:
        """Return what the network of a turn is to have little of, one metric or both by a weight, and its ceiling."""
        if self.second is None:
            return self.minimise, self.ceiling
        weighted = Weighted((self.minimise, self.second), WEIGHTS[turn % len(WEIGHTS)])
        return weighted, weighted.of(self.ceilings)

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
        ContentError: a study of that name has another configuration, or is of an older program.
    """
    if (folder / _RESULTS).is_dir():
        message = f"study {folder.name!r} in {folder} is of an older version, which can be read but not continued"
        raise ContentError(message, hint="give --study another name")
    if (path := folder / "config.json").exists():
        check_config(folder, config)
        return False
    files.write_json(path, {"config": config_document(config), "origins": origins, "schema_version": 1})
    return True


def config_document(config: StudyConfig) -> dict[str, Any]:
    """Return a configuration as plain JSON values; studies of the fewest parameters are named as ever."""
    document = asdict(config) | {"recipe": recipe_document(config.recipe)}
    if config.minimise is Metric.PARAMETERS:
        del document["minimise"], document["most"]
    if config.second is None:
        del document["second"], document["second_most"]
    if not config.start_from:
        del document["start_from"], document["known"]
    if not config.sampler_sha256:
        del document["sampler_sha256"]
    return document


def check_config(folder: Path, config: StudyConfig) -> None:
    """Raise ContentError unless the study in a folder has this configuration."""
    there = read_config(folder).config
    for item in fields(StudyConfig):
        ours, theirs = getattr(config, item.name), getattr(there, item.name)
        if ours != theirs:
            shown = "" if item.name in ("space_text", "recipe") else f" ({theirs!r} there, {ours!r} here)"
            raise ContentError(
                f"study {folder.name!r} in {folder} was begun with another {item.name.removesuffix('_pct')}{shown}; "
                "a study never changes its configuration",
                hint="give --study another name, or repeat the command that began it",
            )


def read_config(folder: Path) -> _ConfigFile:
    """Return a study's ``config`` and the ``origins`` of its values: an option, the environment or a default."""
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
    except UsageError as error:
        return isinstance(error, files.Held)
    return False


class Study:
    """What has happened to a study.

    Attributes:
        entries: its events with their times, oldest first.
        proposals: networks that were chosen for training, by trial.
        verdicts: what came of each winner that was verified, by trial, in the order of the winners.
        rejected: networks that were rejected before anything was built, by reason: a sampler's proposals, and networks
            that the surrogate would have chosen among; ``repeated`` counts proposals of known networks.
        ended: the runs that have ended, by trial, purpose and seed.
        seconds: that it had been worked on at its last event, all sessions together.
    """

    def __init__(self, folder: Path, config: StudyConfig, *, in_memory: bool = False) -> None:
        """Begin with nothing.

        Args:
            in_memory: keep nothing in files.
        """
        self.folder, self.config, self.in_memory = folder, config, in_memory
        self.entries: list[Entry[Event]] = []
        self.proposals: dict[int, Proposal] = {}
        self.verdicts: dict[int, Verified] = {}
        self.rejected: Counter[str] = Counter()
        self.repeated = 0
        self.ended: dict[tuple[int, Purpose, int], Entry[RunEnded]] = {}
        self.seconds = 0.0
        self._winner: int | None = None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the study of a folder, which may be one of an older program.

        Raises:
            ContentError: a file does not hold together.
        """
        return cls(folder, read_config(folder).config).folded()

    def folded(self) -> Self:
        """Take in what the log holds; what follows its last end of line is in the making, or torn by a kill.

        Raises:
            ContentError: a line is no event of this program.
        """
        path = self.folder / "log.jsonl"
        *lines, _ = files.log_text(path).split("\n")
        entries = _of_before(self.folder, lines) if (self.folder / _RESULTS).is_dir() else map(events.read_line, lines)
        for number, entry in enumerate(entries, 1):
            if entry is None:
                raise ContentError(
                    f"line {number} of {path} is no event of this program",
                    hint="bring log.jsonl back, or give --study another name",
                )
            self.take(entry)
        return self

    def take_up(self) -> Self:
        """Take in the log to go on with it: a torn last line is cut off, and what a kill has left is cleared away."""
        path = self.folder / "log.jsonl"
        if path.exists() and not (whole := path.read_bytes()).endswith(b"\n"):
            os.truncate(path, whole.rfind(b"\n") + 1)
        self.folded()
        for place in (self.folder, self.folder / "checkpoints"):
            files.sweep(place)
        for trial, purpose, seed_index in self.ended:
            self.checkpoint(trial, purpose, seed_index).unlink(missing_ok=True)
        return self

    def add(self, event: Event) -> None:
        """Append an event to the log, then apply it."""
        entry = Entry(self.elapsed, event, datetime.now(UTC).isoformat(timespec="seconds"))
        if not self.in_memory:
            files.append_line(self.folder / "log.jsonl", events.line(entry))
        self.take(entry)

    def take(self, entry: Entry[Event]) -> None:
        """Apply an event that is in the log."""
        self.entries.append(entry)
        self.seconds = max(self.seconds, entry.elapsed)
        self.apply(entry)

    def apply(self, entry: Entry[Event]) -> None:
        """Change the state by what has happened."""
        match event := entry.event:
            case Proposal():
                self.proposals[event.trial] = event
            case Rejected():
                self.rejected[event.reason] += 1
            case Looked():
                self.rejected.update(event.rejected)
            case Repeated():
                self.repeated += 1
            case RunEnded(run=run) if run.trial is not None:
                self.ended[run.trial, run.purpose, run.seed_index] = cast("Entry[RunEnded]", entry)
            case WinnerChosen():
                self._winner = event.trial
            case Verified() if self._winner is not None:
                self.verdicts[self._winner] = event
            case _:
                pass

    @property
    def elapsed(self) -> float:
        """Seconds that it has been worked on until now, all sessions together."""
        return self.seconds

    @property
    def results(self) -> list[Result]:
        """All finished runs, in order of trial, purpose and seed."""
        return [self.ended[key].event.run for key in sorted(self.ended)]

    def checkpoint(self, trial: int, purpose: Purpose, seed_index: int) -> Path:
        """Return where an unfinished run keeps its state."""
        return self.folder / "checkpoints" / f"trial-{trial:05d}-{purpose}-{seed_index}.pt"

    def of_kind(self, kind: type[_E]) -> list[Entry[_E]]:
        """Return the entries of one kind of event, oldest first."""
        return [cast("Entry[_E]", entry) for entry in self.entries if isinstance(entry.event, kind)]


def _of_before(folder: Path, lines: list[str]) -> Iterator[Entry[Event]]:
    """Yield the events of a study of an older program: each run had a file, and its end a line that named it.

    Such a log may hold torn lines, which are passed over; a run whose line a kill has prevented comes at the end.
    """
    runs: dict[tuple[Any, ...], Result] = {}
    for path in sorted((folder / _RESULTS).glob("trial-*.json")):
        found = read_as(Result, path, f"the result {path}")
        runs[found.trial, found.purpose.value, found.seed_index] = found
    elapsed = 0.0
    for text in lines:
        with suppress(ValueError):
            document = json.loads(text)
            if not isinstance(document, dict):
                continue
            if document.get("event") == "finished":
                key = document.get("trial"), document.get("purpose"), document.get("seed_index", 0)
                if (run := runs.pop(key, None)) is None:
                    continue
                elapsed = document.get("elapsed", 0.0)
                yield Entry(elapsed, RunEnded(run=run), document.get("utc", ""))
            elif (entry := events.read_line(text)) is not None:
                elapsed = entry.elapsed
                yield entry
    for run in runs.values():
        yield Entry(elapsed, RunEnded(run=run))
