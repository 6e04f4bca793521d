"""A study's finished runs in an Optuna storage, where optuna-dashboard shows them while a search runs.

A daemon thread adds to the database what the study has more. Nothing is ever read back into a search, and nothing is
ever deleted there. A database that hangs holds this thread and not the search, whose end leaves it behind.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import warnings
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

from harness.data.datasets import dataset
from harness.evidence.events import (
    Confirmed,
    Entry,
    Event,
    Proposal,
    RunEnded,
    SessionBegan,
    SessionEnded,
    Verified,
    WinnerChosen,
)
from harness.evidence.study import Study, StudyConfig, config_document
from harness.system import files
from harness.system.document import document_of
from harness.system.errors import UsageError, install_command, typed
from harness.training.result import Purpose, Result, Status
from search_spaces.catalog import network_name
from search_spaces.network import analyse
from search_spaces.space import OBJECTIVES, measured

if TYPE_CHECKING:
    import optuna
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

# What the first answer of the database may take; between two looks at the study; between two attempts while it is away;
# what the end of a search waits for it.
_ANSWER_SECONDS, _PAUSE_SECONDS, _AWAY_SECONDS, _END_SECONDS = 20.0, 2.0, 10.0, 60.0

_HIDDEN = "***"
_USER = re.compile(r"(?<=://)([^:/@]*):(.*)@")
_OPTION = re.compile(r"(?<=[?&])(\w*password)=([^&]*)")


def check_url(url: str) -> None:
    """Raise UsageError unless a text has the form of a database's URL."""
    if not re.match(r"\w+(\+\w+)?://", url):
        example = "such as postgresql://USER@HOST/DATABASE or sqlite:///FILE"
        raise UsageError(f"--storage {hidden(url)!r} is no URL of a database, {example}")
    if re.fullmatch(r"sqlite(\+\w+)?://(/?(:memory:)?)(\?.*)?", url):
        raise UsageError(f"--storage {url!r} is a database in memory, which ends with the program; name a file")
    if url.partition("://")[2].partition("?")[0].count("@") > 1:
        raise UsageError("--storage: the URL holds '@' twice; in a user's name or a password it is written %40")


def hidden(text: str) -> str:
    """Return a text with stars in place of the password of each URL in it."""
    return _OPTION.sub(rf"\1={_HIDDEN}", _USER.sub(rf"\1:{_HIDDEN}@", text))


def _without_password(error: Exception, url: str) -> str:
    """Return what a driver says of a URL, in one line, with stars in place of its password."""
    found: BaseException | None = error
    while found is not None and not hasattr(found, "orig"):
        found = found.__cause__
    text = f"{type(error).__name__}: {error}" if found is None else str(found.orig)
    for secret in [word for each in (_USER, _OPTION) for _, word in each.findall(url) if word]:
        text = text.replace(secret, _HIDDEN).replace(unquote(secret), _HIDDEN)
    return " ".join(text.split())


class Mirror:
    """Keeps a database up to date with the events of a study; use it as a context manager.

    Attributes:
        entries: of the study, which grow as it goes on; to be set once it is read.
        say: tells the person something.
    """

    def __init__(self, name: str, config: StudyConfig, url: str, say: Callable[[str], None]) -> None:
        """Start the thread and wait until it has opened the database.

        Raises:
            UsageError: URL, driver, server or the study there is wrong.
        """
        check_url(url)
        self.entries: Sequence[Entry[Event]] = ()
        self.say = say
        self._name, self._config, self._url = name, config, url
        self._opened, self._ending = threading.Event(), threading.Event()
        self._refused: UsageError | None = None
        self._is_current = False
        self._thread = threading.Thread(target=self._serve, daemon=True, name="storage")
        self._thread.start()
        if not self._opened.wait(_ANSWER_SECONDS):
            raise UsageError(f"--storage {hidden(url)}: the database does not answer within {_ANSWER_SECONDS:.0f} s")
        if self._refused is not None:
            raise self._refused

    def __enter__(self) -> Self:
        """Do nothing more."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *more: object) -> None:
        """Write the end of the search, unless it was broken off."""
        if kind is not None:
            self._ending.set()
        elif not self.finish() and self._refused is None:
            again = typed("report", self._name, "--storage", "URL")
            self.say(f"the database of --storage lacks some runs; {again!r} adds them")

    def finish(self, seconds: float | None = _END_SECONDS) -> bool:
        """Write all that is left within so many seconds, None for no end; return whether all is written."""
        self._ending.set()
        self._thread.join(seconds)
        return self._is_current and not self._thread.is_alive()

    def _serve(self) -> None:
        study: optuna.Study | None = None
        is_away = is_last = False
        while not is_last:
            is_last = self._ending.is_set()
            try:
                study = study or _study(self._url, self._name, self._config)
                _push(study, list(self.entries), self._config)
                is_away = False
            except Exception as error:
                # SQLAlchemy and Optuna wrap what the driver says, and there are many drivers.
                _close(study)
                study = None
                if isinstance(error, UsageError) or not self._opened.is_set():
                    hint = install_command("postgres") if "psycopg" in str(error.__cause__) else None
                    words = f"--storage {hidden(self._url)}: {_without_password(error, self._url)}"
                    self._refused = error if isinstance(error, UsageError) else UsageError(words, hint=hint)
                    if self._opened.is_set():
                        self.say(f"nothing more is written to the database of --storage: {self._refused.told}")
                    self._opened.set()
                    return
                if not is_away:
                    why = _without_password(error, self._url)
                    self.say(f"the database of --storage is away; the search continues ({why})")
                is_away = True
            self._is_current = not is_away
            self._opened.set()
            if not is_last:
                self._ending.wait(_AWAY_SECONDS if is_away else _PAUSE_SECONDS)
        _close(study)


def write_database(study: Study, path: Path) -> None:
    """Leave a study as an SQLite file for Optuna's own tools; nothing here ever reads it."""
    from optuna.storages import RDBStorage

    # Made in memory: a kill leaves no folder behind, and '?' in a person's path has no meaning of a database URL.
    storage = RDBStorage("sqlite://")
    made = _study(storage, study.folder.name, study.config)
    _push(made, study.entries, study.config)
    connection = storage.engine.raw_connection()
    content = connection.driver_connection.serialize()  # type: ignore[union-attr]
    connection.close()
    _close(made)
    files.write_bytes(path, content)


def _study(url: str | RDBStorage, name: str, config: StudyConfig) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    document = config_document(config) | {
        "space_text": hashlib.sha256(config.space_text.encode()).hexdigest(),
        "recipe": config.recipe.hash,
    }
    # As it comes back from the database.
    wanted = json.loads(json.dumps(document))
    # Not for a moment only: what another thread has put back at its end would hold here.
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    study = optuna.create_study(study_name=name, storage=url, directions=["minimize"] * 2, load_if_exists=True)
    there, trials = study.user_attrs, study.get_trials(deepcopy=False)
    if not there and not trials:
        study.set_metric_names(["validation error (%)", OBJECTIVES[config.minimise]])
    other = [key for key, value in wanted.items() if there.get(key, None if trials else value) != value]
    if other:
        _close(study)
        shown = f"{other[0]}: {there.get(other[0])!r} there, {wanted[other[0]]!r} here"
        raise UsageError(
            f"the database of --storage holds another study {name!r} ({shown})", hint="give --study another name"
        )
    for key in wanted.keys() - there.keys():
        study.set_user_attr(key, wanted[key])
    return study


def _push(study: optuna.Study, entries: Sequence[Entry[Event]], config: StudyConfig) -> None:
    proposed: dict[int, tuple[Proposal, str]] = {}
    first: dict[int, tuple[Result, str]] = {}
    # Of the whole study; errors on fresh seeds too, as Optuna changes no trial that has ended.
    said: dict[str, Any] = {}
    for entry in entries:
        match event := entry.event:
            case Proposal():
                proposed[event.trial] = event, entry.utc
            case RunEnded(run=Result(trial=int(trial), purpose=Purpose.SEARCH)):
                first[trial] = event.run, entry.utc
            case RunEnded(run=Result(trial=int(trial), validation_errors=int(errors))):
                said.setdefault(f"trial {trial}: errors on fresh seeds", {})[str(event.run.seed_index)] = errors
            case Confirmed() | WinnerChosen() | Verified():
                said[type(event).__name__] = document_of(event)
            case SessionBegan() | SessionEnded():
                said["search"] = "running" if isinstance(event, SessionBegan) else f"ended: {event.reason}"
            case _:
                pass
    there = {each.user_attrs["trial"]: each.user_attrs["hash"] for each in study.get_trials(deepcopy=False)}
    known = {trial: proposal.hash for trial, (proposal, _) in proposed.items()}
    if entries and not there.items() <= known.items():
        raise UsageError(
            f"the database of --storage holds another study {study.study_name!r}, with other trials",
            hint="give --study another name",
        )
    for trial in [trial for trial in first if trial not in there]:
        study.add_trial(_trial(*first[trial], *proposed[trial], config))
    attributes = study.user_attrs
    for name in [name for name, value in said.items() if attributes.get(name) != value]:
        study.set_user_attr(name, said[name])


def _trial(run: Result, ended_utc: str, proposal: Proposal, began_utc: str, config: StudyConfig) -> FrozenTrial:
    from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
    from optuna.trial import TrialState, create_trial

    size = run.validation_size or 1
    cost = measured(analyse(proposal.architecture, dataset(config.dataset).task), config.minimise)
    state, values = TrialState.FAIL, None
    if run.validation_errors is not None and run.status is Status.PRUNED:
        state = TrialState.PRUNED
    elif run.validation_errors is not None and run.status is Status.COMPLETE:
        state, values = TrialState.COMPLETE, [100.0 * run.validation_errors / size, float(cost)]
    distributions: dict[str, BaseDistribution] = {
        each.name: IntDistribution(0, each.size - 1) if each.ordered else CategoricalDistribution([*range(each.size)])
        for each in proposal.decisions
    }
    trial = create_trial(
        state=state,
        values=values,
        params={each.name: each.index for each in proposal.decisions},
        distributions=distributions,
        user_attrs={
            "trial": proposal.trial,
            "name": network_name(proposal.architecture, proposal.parameters),
            "network": str(proposal.architecture),
            "hash": proposal.hash,
            "parameters": proposal.parameters,
            OBJECTIVES[config.minimise]: cost,
            "epochs": run.recipe.epochs,
            "proposed by": proposal.origin,
            "chance": proposal.chance,
            "seed": run.seed,
            "status": str(run.status),
        },
        intermediate_values={
            each.epoch: 100.0 * each.validation_errors / size
            for each in run.history
            if each.validation_errors is not None
        },
    )
    trial.datetime_start, trial.datetime_complete = _local(began_utc), _local(ended_utc)
    return trial


def _local(utc: str) -> datetime:
    return datetime.fromisoformat(utc).astimezone().replace(tzinfo=None) if utc else datetime.now()


def _close(study: optuna.Study | None) -> None:
    if study is not None:
        storage: Any = getattr(study._storage, "_backend", study._storage)
        storage.remove_session()
        storage.engine.dispose()
