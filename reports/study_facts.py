"""A study as pages see it: what was read, its networks, its answer, and where its figures come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from harness.evidence.events import Verified, WinnerChosen
from harness.evidence.leaderboard import LeaderboardRow, cost_of
from harness.evidence.record import Record
from harness.evidence.study import StudyConfig
from harness.training.recipe import recipe_document
from harness.training.result import Environment
from reports.networks import Network, named, networks
from reports.numbers import DASH, plural
from reports.study_files import Measured, StudyFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """The study's answer.

    Attributes:
        record: its test evidence, None before a verification; ``row`` is what that has earned.
        validation_accuracy_pct: mean over fresh seeds; None once it is verified, or where the journal has lost it.
    """

    hash: str
    parameters: int
    validation_accuracy_pct: float | None = None
    record: Record | None = None
    row: LeaderboardRow | None = None


def winner(files: StudyFiles) -> Winner | None:
    """Return the network of the lowest cost that is proven to reach the target, else the one that was chosen last."""
    chosen = [entry.event for entry in files.entries_of(WinnerChosen)]
    tried = {event.hash for event in chosen} | {entry.event.hash for entry in files.entries_of(Verified)}
    evidence = [
        item
        for item in files.measured
        if item.row.hash in tried or (item.record.found and item.record.found.study == files.name)
    ]
    reached = [item for item in evidence if item.row.reached]
    if reached:
        return _of_record(min(reached, key=lambda item: (cost_of(item.row, files.config.minimise), item.row.rank)))
    if not chosen:
        return None
    last = chosen[-1]
    measured = [item for item in evidence if item.row.hash == last.hash]
    if measured:
        return _of_record(min(measured, key=lambda item: item.row.rank))
    return Winner(hash=last.hash, parameters=last.parameters, validation_accuracy_pct=last.validation_accuracy_pct)


def _of_record(item: Measured) -> Winner:
    return Winner(hash=item.row.hash, parameters=item.row.parameters, record=item.record, row=item.row)


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """A study: what was read of it, its networks, best first, and its answer, None where it has none."""

    files: StudyFiles
    networks: tuple[Network, ...]
    answer: Winner | None

    @property
    def name(self) -> str:
        """What its folder is called."""
        return self.files.name

    @property
    def config(self) -> StudyConfig:
        """What was searched for, and how."""
        return self.files.config

    @property
    def row(self) -> LeaderboardRow | None:
        """What the test evidence of the answer has earned."""
        return self.answer.row if self.answer else None

    @property
    def network(self) -> Network | None:
        """The answer among the networks, None where the log has lost it."""
        return next((item for item in self.networks if self.answer and item.hash == self.answer.hash), None)

    @property
    def measured(self) -> Measured | None:
        """The test evidence of the answer, with what is left to look at."""
        return next((item for item in self.files.measured if self.row and item.row.key == self.row.key), None)

    @property
    def train_seconds(self) -> float:
        """Of all finished runs together, which several workers spend side by side."""
        return sum(result.train_seconds for result in self.files.results)

    @property
    def last_utc(self) -> str:
        """Time of the last event, empty where there is none."""
        return self.files.study.entries[-1].utc if self.files.study.entries else ""


def study_facts(files: StudyFiles) -> StudyFacts:
    """Return the facts of a study."""
    return StudyFacts(files, tuple(named(networks(files))), winner(files))


def recipe_options(name: str, epochs: int | None) -> list[str]:
    """Return the options that name a recipe; one with other epochs than its own is called ``NAME-20ep``."""
    changed = f"-{epochs}ep"
    if epochs is not None and name.endswith(changed):
        return ["--recipe", name.removesuffix(changed), "--epochs", str(epochs)]
    return ["--recipe", name]


def shown(value: object) -> str:
    """Return a value of a setting in words."""
    return (" ".join(map(str, value)) or DASH) if isinstance(value, tuple | list) else str(value)


def settings(files: StudyFiles) -> list[tuple[str, str]]:
    """Return the configuration of a study, each value with where it came from."""
    config = files.config
    values = asdict(config)
    del values["recipe"], values["space_text"]
    if config.rungs:
        # A training of another length is looked at after the same shares of it.
        rungs = shown(config.rungs)
        values["rungs"] = f"{rungs} of {config.recipe.epochs} epochs, and the same shares of other lengths"
    found = []
    for name, value in values.items():
        # The options that people give are named a little differently.
        option = "epochs" if name == "lengths" else name.removesuffix("_pct").removesuffix("_name")
        origin = files.origins.get(name, files.origins.get(option, "derived"))
        origin = {"commandline": "command line", "default_map": "file"}.get(origin, origin)
        found.append((name, f"{shown(value)} ({origin})"))
    return found


def recipe_rows(config: StudyConfig) -> list[tuple[str, str]]:
    """Return the fields of the training recipe."""
    recipe = recipe_document(config.recipe)
    if config.lengths:
        recipe["epochs"] = f"{', '.join(map(str, config.lengths))}: chosen for each network"
    return [(name, shown(value)) for name, value in recipe.items()]


def made_by(info: StudyFacts) -> dict[str, str]:
    """Return the code, machine and data behind the results, each with all values that occur."""
    files, record = info.files, info.answer.record if info.answer else None
    environments = [result.environment for result in files.results if result.environment is not None]
    environments += [run.environment for run in record.seeds] if record else []

    def every(values: Iterable[str]) -> str:
        return ", ".join(sorted({value for value in values if value})) or DASH

    past = files.past_trainings
    return {
        "code": every(map(_commit, environments)),
        "Python": every(item.python for item in environments),
        "torch": every(item.torch for item in environments),
        "device": every(item.device for item in environments),
        "instructions": every(item.instructions for item in environments),
        "threads a worker": every(str(item.threads) for item in environments),
        "data, SHA-256": every([files.config.data_hash, *(item.data_hash for item in environments)]),
        "recipe hash": files.config.recipe.hash,
        "prior": DASH if past is None else f"{files.config.prior}: {plural(past, 'earlier training')}",
    }


def _commit(environment: Environment) -> str:
    if environment.commit is None:
        return "not a checkout"
    return environment.commit[:12] + (" with uncommitted changes" if environment.dirty else "")
