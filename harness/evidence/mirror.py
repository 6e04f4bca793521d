"""A study's finished runs in an Optuna storage, where optuna-dashboard shows them while a search runs.

A daemon thread adds to the database what the study has more. Nothing is ever read back into a search, and nothing is
ever deleted there. A database that hangs holds this thread and not the search, whose end leaves it behind.
"""

from __future__ import annotations

import hashlib
import re
import threading
import warnings
from collections.abc import Callable, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

from harness.data.datasets import dataset
from harness.evidence.events import (
    Confirmed,
    Entry,
    Event,
    FailedConfirmation,
    Proposal,
    RunEnded,
    SessionBegan,
    SessionEnded,
    Verified,
    WinnerChosen,
)
from harness.evidence.study import StudyConfig
from harness.system.errors import UsageError, install_command, typed
from harness.training.result import Purpose, Result, Status
from search_spaces.catalog import network_name
from search_spaces.cost import analyse
from search_spaces.draw import measured
from search_spaces.space import OBJECTIVES, Metric

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

# What the first answer of the database may take; between two looks at the study; between two attempts while it is away;
# what the end of a search waits for it.
ANSWER_SECONDS, PAUSE_SECONDS, AWAY_SECONDS, END_SECONDS = 20.0, 2.0, 10.0, 60.0

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


def without_password(error: Exception, url: str) -> str:
    """Return what a driver says of a URL, in one line, with stars in place of its password."""
    found: BaseException | None = error
    while found is not None and not hasattr(found, "orig"):
        found = found.__cause__
    text = f"{type(error).__name__}: {error}" if found is None else str(found.orig)
    for secret in {
        spelling for each in (_USER, _OPTION) for _, word in each.findall(url) for spelling in (word, unquote(word))
    }:
        text = text.replace(secret, _HIDDEN) if secret else text
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
            again = typed("report", self._name, "--storage", "URL")
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
                study = study or _study(self._url, self._name, self._config)
                _push(study, list(self.entries), self._config)
                self._is_current = True
            except Exception as error:
                # SQLAlchemy and Optuna wrap what the driver says, and there are many drivers.
                self._is_current = False
                if study is not None:
                    _close(study)
                study = None
                if isinstance(error, UsageError) or not self._opened.is_set():
                    self._refused = _refusal(error, self._url)
                    if self._opened.is_set():
                        self.say(f"nothing more is written to the database of --storage: {self._refused.told}")
                    self._opened.set()
                    return
                if not is_away:
                    why = without_password(error, self._url)
                    self.say(f"the database of --storage is away; the search continues ({why})")
                is_away = True
            else:
                if is_away:
                    self.say("the database of --storage is back and up to date")
                is_away = False
            self._opened.set()
            if not is_last:
                self._ending.wait(AWAY_SECONDS if is_away else PAUSE_SECONDS)
        if study is not None:
            _close(study)


def _study(url: str, name: str, config: StudyConfig) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    wanted = {
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
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        study = optuna.create_study(
            study_name=name, storage=url, directions=["minimize", "minimize"], load_if_exists=True
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
    return study


def _push(study: optuna.Study, entries: Sequence[Entry[Event]], config: StudyConfig) -> None:
    proposed = {entry.event.trial: (entry.event, entry.utc) for entry in entries if isinstance(entry.event, Proposal)}
    there = {trial.user_attrs.get("trial"): trial.user_attrs.get("hash") for trial in study.get_trials(deepcopy=False)}
    for number, network in there.items() if entries else ():
        if number not in proposed or proposed[number][0].hash != network:
            raise UsageError(
                f"the database of --storage holds another study {study.study_name!r}: its trial {number} is not that "
                "of this one",
                hint="give --study another name",
            )
    runs = [(entry.event.run, entry.utc) for entry in entries if isinstance(entry.event, RunEnded)]
    for run, ended_utc in runs:
        if run.purpose is Purpose.SEARCH and run.trial is not None and run.trial not in there:
            study.add_trial(_trial(run, *proposed[run.trial], ended_utc, config))
    attributes = study.user_attrs
    for name, value in _attributes(entries, config).items():
        if name not in attributes or attributes[name] != value:
            study.set_user_attr(name, value)


def _attributes(entries: Sequence[Entry[Event]], config: StudyConfig) -> dict[str, Any]:
    """Return what is said of the whole study; errors on fresh seeds too, as Optuna changes no trial that has ended."""
    known: dict[str, Any] = {}
    for entry in entries:
        match event := entry.event:
            case RunEnded(run=run) if run.purpose is Purpose.CONFIRM and run.validation_errors is not None:
                fresh = f"trial {run.trial}: errors on fresh seeds (%)"
                known[fresh] = known.get(fresh, {}) | {str(run.seed_index): _pct(run.validation_errors, config)}
            case Confirmed():
                known |= {"smallest confirmed trial": event.trial, "smallest confirmed parameters": event.parameters}
            case FailedConfirmation() if event.trial == known.get("smallest confirmed trial"):
                known |= {"smallest confirmed trial": None, "smallest confirmed parameters": None}
            case WinnerChosen():
                known |= {"winner's trial": event.trial, "winner's parameters": event.parameters}
            case Verified():
                known |= {"verified": event.tier, "test accuracy (%)": event.mean_test_accuracy_pct}
            case SessionBegan() | SessionEnded():
                known["search"] = "running" if isinstance(event, SessionBegan) else f"ended: {event.reason}"
            case _:
                pass
    return known


def _pct(errors: int, config: StudyConfig) -> float:
    return 100.0 * errors / dataset(config.dataset).validation_size


def _trial(run: Result, proposal: Proposal, began_utc: str, ended_utc: str, config: StudyConfig) -> FrozenTrial:
    from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
    from optuna.trial import TrialState, create_trial

    errors_pct = {
        each.epoch: _pct(each.validation_errors, config) for each in run.history if each.validation_errors is not None
    }
    cost = measured(analyse(proposal.architecture, dataset(config.dataset).task), config.minimise)
    state, values = TrialState.FAIL, None
    if run.validation_errors is not None and run.status is Status.PRUNED:
        state = TrialState.PRUNED
    elif run.validation_errors is not None and run.status is Status.COMPLETE:
        state, values = TrialState.COMPLETE, [_pct(run.validation_errors, config), float(cost)]
    distributions: dict[str, BaseDistribution] = {
        each.name: IntDistribution(0, each.size - 1) if each.ordered else CategoricalDistribution([*range(each.size)])
        for each in proposal.decisions
    }
    attributes = {
        "trial": proposal.trial,
        "name": network_name(proposal.architecture, proposal.parameters),
        "network": str(proposal.architecture),
        "hash": proposal.hash,
        "parameters": proposal.parameters,
        **({} if config.minimise is Metric.PARAMETERS else {OBJECTIVES[config.minimise]: cost}),
        "epochs": run.recipe.epochs,
        "recipe": run.recipe_name,
        "proposed by": proposal.origin,
        "chance": proposal.chance,
        "seed": run.seed,
        "status": str(run.status),
    }
    trial = create_trial(
        state=state,
        values=values,
        params={each.name: each.index for each in proposal.decisions},
        distributions=distributions,
        user_attrs={name: value for name, value in attributes.items() if value is not None},
        intermediate_values=errors_pct,
    )
    trial.datetime_start, trial.datetime_complete = _local(began_utc), _local(ended_utc)
    return trial


def _local(utc: str) -> datetime:
    return datetime.fromisoformat(utc).astimezone().replace(tzinfo=None) if utc else datetime.now()


def _refusal(error: Exception, url: str) -> UsageError:
    if isinstance(error, UsageError):
        return error
    if isinstance(error, ImportError):
        cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
        return UsageError(
            f"--storage {hidden(url)} needs the driver {cause.name or 'of its database'}, which cannot be loaded",
            hint=install_command("postgres") if cause.name == "psycopg" else None,
        )
    return UsageError(f"--storage {hidden(url)}: {without_password(error, url)}")


def _close(study: optuna.Study) -> None:
    from optuna.storages import RDBStorage

    storage = getattr(study._storage, "_backend", study._storage)
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()
