"""A study's finished runs in an Optuna storage, where optuna-dashboard shows them while a search runs.

A daemon thread adds to the database what the files of the study hold more. Nothing is ever read back into a search, and
nothing is ever deleted there. A database that hangs holds this thread and not the search, whose end leaves it behind.
"""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from harness.data.datasets import dataset
from harness.evidence import events
from harness.evidence.events import (
    Confirmed,
    Entry,
    Event,
    FailedConfirmation,
    Proposal,
    RunEnded,
    RungReached,
    SessionBegan,
    SessionEnded,
    Verified,
    WinnerChosen,
)
from harness.evidence.storage_url import EXAMPLES, check_url, hidden, without_password
from harness.evidence.study import StudyConfig
from harness.system.errors import UsageError, install_command, typed
from harness.training.result import Purpose, Status, derive_seed
from search_spaces.catalog import network_name
from search_spaces.cost import analyse
from search_spaces.draw import measured
from search_spaces.space import OBJECTIVES, Metric

optuna.logging.set_verbosity(optuna.logging.WARNING)

# What the first answer of the database may take; between two looks at the files; between two attempts while it is away;
# what the end of a search waits for it.
ANSWER_SECONDS, PAUSE_SECONDS, AWAY_SECONDS, END_SECONDS = 20.0, 2.0, 10.0, 60.0

_STATES = {Status.COMPLETE: TrialState.COMPLETE, Status.PRUNED: TrialState.PRUNED}


class Mirror:
    """Keeps a database up to date with the files of a study; use it as a context manager.

    Attributes:
        say: tells the person something.
    """

    def __init__(self, folder: Path, config: StudyConfig, url: str, say: Callable[[str], None]) -> None:
        """Start the thread and wait until it has opened the database.

        Raises:
            UsageError: URL, driver, server or the study there is wrong.
        """
        check_url(url)
        self.say = say
        self._folder, self._config, self._url = folder, config, url
        self._log = _Log(folder / "log.jsonl", config)
        self._opened, self._ending = threading.Event(), threading.Event()
        self._refused: UsageError | None = None
        self._is_current = False
        self._thread = threading.Thread(target=self._serve, daemon=True, name="storage")
        self._thread.start()
        if not self._opened.wait(ANSWER_SECONDS):
            raise UsageError(f"--storage {hidden(url)}: the database does not answer within {ANSWER_SECONDS:.0f} s")
        if self._refused is not None:
            raise self._refused

    def __enter__(self) -> Self:
        """Do nothing more."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the end of the search, unless it was broken off."""
        if kind is not None:
            self._ending.set()
        elif not self.finish() and self._refused is None:
            again = typed("report", self._folder.name, "--storage", "URL")
            self.say(f"the database of --storage lacks some runs; {again!r} adds them")

    def finish(self, seconds: float | None = END_SECONDS) -> bool:
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
                if study is None:
                    study, present = _opened(self._url, self._folder.name, self._config)
                self._push(study, present)
                self._is_current = True
            except Exception as error:
                # SQLAlchemy and Optuna wrap what the driver says, and there are many drivers.
                self._is_current = False
                _close(study)
                study = None
                refusal = _refusal(error, self._url)
                if refusal is None and not self._opened.is_set():
                    refusal = UsageError(f"--storage {hidden(self._url)}: {_words(error, self._url)}")
                if refusal is not None:
                    self._refused = refusal
                    if self._opened.is_set():
                        self.say(f"nothing more is written to the database of --storage: {refusal.told}")
                    self._opened.set()
                    return
                if not is_away:
                    self.say(f"the database of --storage is away; the search continues ({_words(error, self._url)})")
                is_away = True
            else:
                if is_away:
                    self.say("the database of --storage is back and up to date")
                is_away = False
            self._opened.set()
            if not is_last:
                self._ending.wait(AWAY_SECONDS if is_away else PAUSE_SECONDS)
        _close(study)

    def _push(self, study: optuna.Study, present: dict[int, str]) -> None:
        self._log.read_on()
        for number, network in present.items():
            if network != self._log.hashes.get(number):
                name = self._folder.name
                raise UsageError(
                    f"the database of --storage holds another study {name!r}: its trial {number} is not that of "
                    f"{self._log.path}",
                    hint="give --study another name",
                )
        for number in [number for number in self._log.trials if number not in present]:
            study.add_trial(self._log.trials[number])
            present[number] = self._log.hashes[number]
        there = study.user_attrs
        for name, value in self._log.attributes.items():
            if name not in there or there[name] != value:
                study.set_user_attr(name, value)


class _Log:
    """What the log of a study says so far, in the terms of Optuna.

    Attributes:
        trials: first runs that have ended, by the number of their network, in the order of their ends.
        hashes: of all proposed networks.
        attributes: of the study; the errors of fresh seeds are here, as Optuna changes no trial that has ended.
    """

    def __init__(self, path: Path, config: StudyConfig) -> None:
        self.path, self._config, self._offset = path, config, 0
        self._proposed: dict[int, tuple[Proposal, str]] = {}
        self._errors_pct: dict[int, dict[int, float]] = {}
        self.trials: dict[int, FrozenTrial] = {}
        self.hashes: dict[int, str] = {}
        self.attributes: dict[str, Any] = {}

    def read_on(self) -> None:
        """Take in the lines that were added; one without its end is left for the next time."""
        if not self.path.exists() or os.path.getsize(self.path) == self._offset:
            return
        with self.path.open("rb") as log:
            log.seek(self._offset)
            lines, end, _ = log.read().rpartition(b"\n")
        self._offset += len(lines + end)
        for line in lines.split(b"\n"):
            if (entry := events.read_line(line.decode(errors="replace"))) is not None:
                self._take(entry)

    def _take(self, entry: Entry[Event]) -> None:
        known = self.attributes
        match event := entry.event:
            case Proposal():
                self._proposed[event.trial] = event, entry.utc
                self.hashes[event.trial] = event.hash
            case RungReached(purpose=Purpose.SEARCH, validation_errors=int(errors)):
                self._errors_pct.setdefault(event.trial, {})[event.epoch] = self._pct(errors)
            case RunEnded(purpose=Purpose.SEARCH, trial=int(trial)) if trial in self._proposed:
                self.trials[trial] = self._ended(trial, event, entry.utc)
            case RunEnded(purpose=Purpose.CONFIRM, trial=int(trial), validation_errors=int(errors)):
                fresh = f"trial {trial}: errors on fresh seeds (%)"
                known[fresh] = known.get(fresh, {}) | {str(event.seed_index): self._pct(errors)}
            case Confirmed():
                known |= {"smallest confirmed trial": event.trial, "smallest confirmed parameters": event.parameters}
            case FailedConfirmation() if event.trial == known.get("smallest confirmed trial"):
                known |= {"smallest confirmed trial": None, "smallest confirmed parameters": None}
            case WinnerChosen():
                known |= {"winner's trial": event.trial, "winner's parameters": event.parameters}
            case Verified():
                known |= {"verified": event.tier, "test accuracy (%)": event.mean_test_accuracy_pct}
            case SessionBegan():
                known["search"] = "running"
            case SessionEnded():
                known["search"] = f"ended: {event.reason}"
            case _:
                pass

    def _pct(self, errors: int) -> float:
        return 100.0 * errors / dataset(self._config.dataset).validation_size

    def _ended(self, number: int, event: RunEnded, ended_utc: str) -> FrozenTrial:
        config = self._config
        proposal, began_utc = self._proposed[number]
        recipe, recipe_name = config.recipe_of(proposal.epochs)
        errors_pct = dict(self._errors_pct.get(number, {}))
        state = TrialState.FAIL if event.validation_errors is None else _STATES.get(event.status, TrialState.FAIL)
        cost = measured(analyse(proposal.architecture, dataset(config.dataset).task), config.minimise)
        values = None
        if state is TrialState.COMPLETE and event.validation_errors is not None:
            errors_pct[recipe.epochs] = self._pct(event.validation_errors)
            values = [errors_pct[recipe.epochs], float(cost)]
        attributes = {
            "trial": number,
            "name": network_name(proposal.architecture, proposal.parameters),
            "network": str(proposal.architecture),
            "hash": proposal.hash,
            "parameters": proposal.parameters,
            **({} if config.minimise is Metric.PARAMETERS else {OBJECTIVES[config.minimise]: cost}),
            "epochs": recipe.epochs,
            "recipe": recipe_name,
            "proposed by": proposal.origin,
            "chance": proposal.chance,
            "seed": derive_seed(proposal.hash, recipe.hash, Purpose.SEARCH, 0, config.run_seed),
            "status": str(event.status),
        }
        trial = optuna.trial.create_trial(
            state=state,
            values=values,
            params={decision.name: decision.index for decision in proposal.decisions},
            distributions={
                decision.name: _distribution(decision.size, ordered=decision.ordered) for decision in proposal.decisions
            },
            user_attrs={name: value for name, value in attributes.items() if value is not None},
            intermediate_values=errors_pct,
        )
        trial.datetime_start, trial.datetime_complete = _local(began_utc), _local(ended_utc)
        return trial


def _opened(url: str, name: str, config: StudyConfig) -> tuple[optuna.Study, dict[int, str]]:
    wanted = _known_by(config)
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        storage = RDBStorage(url)
        study = optuna.create_study(
            study_name=name, storage=storage, directions=["minimize", "minimize"], load_if_exists=True
        )
        there, trials = study.user_attrs, study.get_trials(deepcopy=False)
        if not there and not trials:
            study.set_metric_names(["validation error (%)", OBJECTIVES[config.minimise]])
    other = [key for key, value in wanted.items() if key in there and there[key] != value]
    if other or (trials and not wanted.keys() & there.keys()):
        _close(study)
        what = f" ({other[0]}: {there[other[0]]!r} there, {wanted[other[0]]!r} here)" if other else ""
        raise UsageError(
            f"the database of --storage holds another study {name!r}{what}", hint="give --study another name"
        )
    for key in wanted.keys() - there.keys():
        study.set_user_attr(key, wanted[key])
    return study, {trial.user_attrs.get("trial", trial.number): trial.user_attrs.get("hash", "") for trial in trials}


def _known_by(config: StudyConfig) -> dict[str, Any]:
    return {
        "dataset": config.dataset,
        "data sha256": config.data_hash,
        "budget": config.budget,
        **({} if config.most is None else {"minimised": config.minimise, "at most": config.most}),
        "target (%)": config.target_pct,
        "threshold (%)": config.threshold_pct,
        "space": config.space,
        "space sha256": hashlib.sha256(config.space_text.encode()).hexdigest(),
        "sampler": config.sampler,
        "recipe": config.recipe_name,
        "recipe hash": config.recipe.hash,
        "epochs": list(config.lengths),
        "rungs": list(config.rungs),
        "seed": config.seed,
        "prior": config.prior,
    }


def _refusal(error: Exception, url: str) -> UsageError | None:
    match error:
        case UsageError():
            return error
        case ArgumentError() | NoSuchModuleError():
            said = without_password(str(error), url)
            return UsageError(f"--storage {hidden(url)!r} is no URL of a database, {EXAMPLES}: {said}")
        case ImportError():
            cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
            return UsageError(
                f"--storage {hidden(url)} needs the driver {cause.name or 'of its database'}, which cannot be loaded",
                hint=install_command("postgres") if cause.name == "psycopg" else None,
            )
        case _:
            return None


def _words(error: Exception, url: str) -> str:
    found: BaseException | None = error
    while found is not None:
        if (said := getattr(found, "orig", None)) is not None:
            return without_password(str(said), url)
        found = found.__cause__
    return without_password(f"{type(error).__name__}: {error}", url)


def _close(study: optuna.Study | None) -> None:
    storage = None if study is None else getattr(study._storage, "_backend", study._storage)
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


def _distribution(size: int, *, ordered: bool) -> BaseDistribution:
    return IntDistribution(0, size - 1) if ordered else CategoricalDistribution(list(range(size)))


def _local(utc: str) -> datetime:
    return datetime.fromisoformat(utc).astimezone().replace(tzinfo=None) if utc else datetime.now()
