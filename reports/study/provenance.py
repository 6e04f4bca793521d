"""Where a study's figures come from: the commands, the configuration, the code and the machine."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from harness.evidence.events import Entry, SessionBegan
from harness.system.errors import typed
from harness.training.recipe import recipe_document
from harness.training.result import Environment
from reports.numbers import DASH, plural
from reports.study.answer import Winner
from reports.study.study_files import StudyFiles


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of the configuration and where it came from."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Everything it takes to check or repeat a study.

    Attributes:
        recipe: the fields of the training recipe.
        sessions: the calls of the search that worked on the study.
        facts: what made the results, each with all values that occur.
        train_seconds: of all finished runs together, which several workers spend side by side.
        rerun: the command that trains the answer again, None where there is no answer.
        last_utc: time of the last event, empty where there is none.
    """

    settings: tuple[Setting, ...]
    recipe: tuple[tuple[str, str], ...]
    space_text: str
    sessions: tuple[Entry[SessionBegan], ...]
    facts: tuple[tuple[str, str], ...]
    wall_seconds: float
    train_seconds: float
    rerun: str | None
    last_utc: str

    @property
    def commands(self) -> list[str]:
        """What began the study, and what trains its answer again; those that are known."""
        first = [shlex.join(entry.event.command) for entry in self.sessions[:1]]
        return [command for command in (*first, self.rerun) if command]


def provenance(files: StudyFiles, answer: Winner | None) -> Provenance:
    """Return where a study's figures come from."""
    config = files.config
    values = asdict(config)
    del values["recipe"], values["space_text"]
    if config.rungs:
        # A training of another length is looked at after the same shares of it.
        values["rungs"] = (
            f"{shown(config.rungs)} of {config.recipe.epochs} epochs, and the same shares of other lengths"
        )
    recipe = recipe_document(config.recipe)
    if config.lengths:
        recipe["epochs"] = f"{', '.join(map(str, config.lengths))}: chosen for each network"
    return Provenance(
        settings=tuple(Setting(name, shown(value), _origin(files, name)) for name, value in values.items()),
        recipe=tuple((name, shown(value)) for name, value in recipe.items()),
        space_text=config.space_text,
        sessions=tuple(files.entries_of(SessionBegan)),
        facts=_facts(files, answer),
        wall_seconds=files.elapsed,
        train_seconds=sum(result.train_seconds for result in files.results),
        rerun=_rerun_command(answer) if answer else None,
        last_utc=files.study.entries[-1].utc if files.study.entries else "",
    )


def _rerun_command(answer: Winner) -> str:
    """Return the command that repeats a verification, or makes the first one."""
    if answer.row is None:
        return typed("verify", answer.hash)
    return typed("verify", answer.hash, "--seeds", str(answer.row.seeds))


def recipe_options(name: str, epochs: int | None) -> list[str]:
    """Return the options that name a recipe; one with other epochs than its own is called ``NAME-20ep``."""
    changed = f"-{epochs}ep"
    if epochs is not None and name.endswith(changed):
        return ["--recipe", name.removesuffix(changed), "--epochs", str(epochs)]
    return ["--recipe", name]


def _origin(files: StudyFiles, setting: str) -> str:
    """Return where a setting came from; the options that people give are named a little differently."""
    option = "epochs" if setting == "lengths" else setting.removesuffix("_pct").removesuffix("_name")
    origin = files.origins.get(setting, files.origins.get(option, "derived"))
    return {"commandline": "command line", "default_map": "file"}.get(origin, origin)


def _facts(files: StudyFiles, answer: Winner | None) -> tuple[tuple[str, str], ...]:
    verified = answer.record.seeds if answer and answer.record else ()
    environments = [result.environment for result in files.results if result.environment is not None]
    environments += [run.environment for run in verified]
    return (
        ("code", _all(_commit(item) for item in environments)),
        ("Python", _all(item.python for item in environments)),
        ("torch", _all(item.torch for item in environments)),
        ("device", _all(item.device for item in environments)),
        ("instructions", _all(item.instructions for item in environments)),
        ("threads a worker", _all(str(item.threads) for item in environments)),
        ("data, SHA-256", _all([files.config.data_hash, *(item.data_hash for item in environments)])),
        ("recipe hash", files.config.recipe.hash),
        ("prior", _prior(files)),
    )


def _prior(files: StudyFiles) -> str:
    """Return what earlier trainings the model of the errors began with."""
    if files.past_trainings is None:
        return DASH
    return f"{files.config.prior}: {plural(files.past_trainings, 'earlier training')}"


def _all(values: Iterable[str]) -> str:
    return ", ".join(sorted({value for value in values if value})) or DASH


def _commit(environment: Environment) -> str:
    if environment.commit is None:
        return "not a checkout"
    return environment.commit[:12] + (" with uncommitted changes" if environment.dirty else "")


def shown(value: object) -> str:
    """Return a value of a setting in words."""
    if isinstance(value, tuple | list):
        return " ".join(str(item) for item in value) or DASH
    return str(value)
