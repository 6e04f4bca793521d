"""Mirror of the finished runs of a study in an Optuna storage, for optuna-dashboard during a search.

A search never reads the database, and nothing is deleted there. A database that hangs blocks a daemon thread alone; the
end of the search waits for at most ``_END_SECONDS``.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import warnings
from collections.abc import Callable, Sequence
from datetime import datetime
from inspect import unwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from harness.spaces.catalog import network_name
from harness.spaces.space import OBJECTIVES
from harness.studies import events
from harness.studies.candidate import costs_of
from harness.studies.config import StudyConfig, config_document
from harness.studies.study_state import StudyState
from harness.system import files
from harness.system.errors import UsageError, as_command, install_command
from harness.system.passwords import without_passwords, without_secrets
from harness.training.result import Errors, Purpose, Result, Status

if TYPE_CHECKING:
    import optuna
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

_ANSWER_SECONDS = 20.0  # timeout of the first answer
_PAUSE_SECONDS = 2.0  # between two updates
_AWAY_SECONDS = 10.0  # between two attempts while the database is unavailable
_END_SECONDS = 60.0  # for the database at the end of a search

_RENAME = "choose a new name for the study"  # hint
# Two processes create the tables of a database at the same time.
_CREATED_TWICE = re.compile(r"already exists|UNIQUE constraint failed|duplicate key value")


def _without_password(error: Exception, url: str) -> str:
    cause: BaseException | None = error
    while cause is not None and not hasattr(cause, "orig"):
        cause = cause.__cause__
    text = f"{type(error).__name__}: {error}" if cause is None else str(cause.orig)
    return without_secrets(text, url)


class Mirror:
    """Observer of a search that copies the log of the study to a database while the log grows.

    A thread copies new ``entries`` every ``_PAUSE_SECONDS``.
    """

    def __init__(self, state: StudyState, say: Callable[[str], None], url: str) -> None:
        """Start the thread, and wait until the thread has opened the database.

        Args:
            state: State of the study, whose name is also the name in the database.
            say: Called with each line for the terminal, also from the thread.

        Raises:
            UsageError: URL, driver, server or study are wrong, or the database does not answer.
        """
        import optuna.storages  # noqa: F401  # takes seconds, which do not count as time of the answer

        self.check(url)
        self.entries: Sequence[events.Entry[events.Event]] = ()
        self._say = say
        self._name = state.folder.name
        self._config = state.config
        self._url = url
        self._opened = threading.Event()  # by the database, or refused
        self._ending = threading.Event()  # after a last update
        self._refused: UsageError | None = None  # reason why the thread gave up
        self._is_current = False  # the last update has succeeded
        self._thread = threading.Thread(target=self._serve, daemon=True, name="storage")
        self._thread.start()
        if not self._opened.wait(_ANSWER_SECONDS):
            self._ending.set()
            raise self._refused or UsageError(f"storage {without_passwords(url)}: no answer in {_ANSWER_SECONDS:.0f} s")
        if self._refused is not None:
            raise self._refused

    @staticmethod
    def check(url: str, *, with_driver: bool = True) -> None:
        """Raise UsageError unless a text is the URL of a persistent database, and SQLAlchemy can load the driver.

        Nothing connects; without ``with_driver`` only the form of the text is checked.
        """
        in_memory = re.fullmatch(r"sqlite(\+\w+)?://(/?(:memory:)?)(\?.*)?", url)
        is_url = re.match(r"\w+(\+\w+)?://", url) and url.partition("://")[2].partition("?")[0].count("@") < 2
        if in_memory or not is_url:
            forms = "sqlite:///FILE and postgresql://USER:PASSWORD@HOST/DATABASE, with %40 for an '@' in the password"
            url_text = repr(without_passwords(url)) if "://" in url else "without '://'"
            raise UsageError(f"storage {url_text} is not a database URL; allowed: {forms}")
        if not with_driver:
            return
        import sqlalchemy

        try:
            with warnings.catch_warnings(action="ignore"):
                sqlalchemy.create_engine(url).dispose()
        except Exception as error:  # drivers raise arbitrary exceptions on import
            hint = install_command("postgres") if getattr(error, "name", "") == "psycopg" else None
            message = f"storage {without_passwords(url)}: {_without_password(error, url)}"
            raise UsageError(message, hint=hint) from error

    @classmethod
    def copy(cls, state: StudyState, say: Callable[[str], None], url: str) -> None:
        """Copy a study without a search to a database; raise UsageError if the copy is incomplete."""
        with cls(state, say, url) as mirror:
            mirror.entries = state.entries
            if not mirror.finish(seconds=None):
                raise UsageError("cannot update the database of --storage; run the same command again to continue")

    @staticmethod
    def write_file(state: StudyState, path: Path) -> None:
        """Write a study to an SQLite file for Optuna's own tools; the program never reads this file."""
        from optuna.storages import RDBStorage

        # In memory: a kill leaves no folder behind, and a '?' in a path would have a meaning in a URL.
        storage = RDBStorage("sqlite://")
        study = _study(storage, state.folder.name, state.config)
        _push(study, state)
        connection = storage.engine.raw_connection()
        content = connection.driver_connection.serialize()  # type: ignore[union-attr]
        connection.close()
        _close(study)
        files.write_bytes(path, content)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *more: object) -> None:
        if kind is not None:
            self._ending.set()
        elif not self.finish() and self._refused is None:
            again = as_command("report", self._name, "--storage", "URL")
            self._say(f"the database lacks some runs; {again!r} adds the missing runs")

    def on_entry(self, state: StudyState, entry: events.Entry[events.Event]) -> None:
        """Take the entries of the study."""
        self.entries = state.entries

    def on_tick(self, moment: Any) -> None:
        """Take the entries of the study."""
        self.entries = moment.state.entries

    def finish(self, seconds: float | None = _END_SECONDS) -> bool:
        """Write all remaining entries within ``seconds``, None for no limit; return whether all are written."""
        self._ending.set()
        self._thread.join(seconds)
        return self._is_current and not self._thread.is_alive()

    def _serve(self) -> None:
        study: optuna.Study | None = None
        state = StudyState(Path(self._name), self._config)
        is_last = False
        while not is_last:
            is_last = self._ending.is_set()
            try:
                study = study or _study(self._url, self._name, self._config)
                for entry in self.entries[len(state.entries) :]:
                    state.apply(entry)
                _push(study, state)
                self._is_current = True
                self._refused = None
                self._opened.set()
            except Exception as error:
                # SQLAlchemy and Optuna wrap the exceptions of many drivers.
                _close(study)
                study = None
                why = _without_password(error, self._url)
                if isinstance(error, UsageError):
                    self._refused = error
                elif not self._opened.is_set():
                    self._refused = UsageError(f"storage {without_passwords(self._url)}: {why}")
                elif self._is_current:
                    self._say(f"the database is unavailable; the search continues ({why})")
                self._is_current = False
                is_race = not isinstance(error, UsageError) and _CREATED_TWICE.search(why) is not None
                if self._refused is not None and not is_race:
                    if self._opened.is_set():
                        self._say(f"the database is no longer updated: {self._refused.one_line}")
                    self._opened.set()
                    return
            if not is_last:
                is_away = self._opened.is_set() and not self._is_current
                self._ending.wait(_AWAY_SECONDS if is_away else _PAUSE_SECONDS)
        _close(study)


def _study(url: str | RDBStorage, name: str, config: StudyConfig) -> optuna.Study:
    """UsageError if the configuration differs."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Digests in place of long texts.
    digests = {"space_text": hashlib.sha256(config.space_text.encode()).hexdigest(), "recipe": config.recipe.hash}
    # As values from the database.
    configuration = json.loads(json.dumps(config_document(config) | digests))
    study = optuna.create_study(study_name=name, storage=url, directions=["minimize"] * 2, load_if_exists=True)
    attributes = study.user_attrs
    trials = study.get_trials(deepcopy=False)
    if not attributes and not trials:
        # The decorator warns that the method is experimental.
        unwrap(optuna.Study.set_metric_names)(study, ["validation error (%)", OBJECTIVES[config.minimised[0]]])
    # Without trials, the study was just created.
    comparable = attributes if trials else configuration | attributes
    different = [key for key, value in configuration.items() if comparable.get(key) != value]
    if different:
        _close(study)
        key = different[0]
        difference = f"{key}: {attributes.get(key)!r} stored, {configuration[key]!r} expected"
        raise UsageError(f"the database contains a different study {name!r} ({difference})", hint=_RENAME)
    for key in configuration.keys() - attributes.keys():
        study.set_user_attr(key, configuration[key])
    return study


def _facts_of(state: StudyState) -> dict[str, Any]:
    """Return the attributes of an Optuna study by name; ``answer`` is the verdict by the log, with its network.

    Errors on fresh seeds are among the attributes, because Optuna refuses changes of ended trials.
    """
    standing = state.standing()
    network = standing.network
    answer = {"hash": network and network.hash, "parameters": network and network.parameters, "tier": standing.tier}
    facts: dict[str, Any] = {"answer": {"outcome": str(standing.outcome), **answer}}
    if state.session is not None:
        event = state.session.event
        facts["search"] = f"ended: {event.reason}" if isinstance(event, events.SessionEnded) else "running"
    for trial, candidate in state.candidates.items():
        errors_by_seed = {str(run.seed_index): run.validation_errors for run in candidate.fresh_runs if run.validation}
        if errors_by_seed:
            facts[f"trial {trial}: errors on fresh seeds"] = errors_by_seed
    return facts


def _push(study: optuna.Study, state: StudyState) -> None:
    """UsageError for different trials."""
    hash_by_trial = {each.user_attrs["trial"]: each.user_attrs["hash"] for each in study.get_trials(deepcopy=False)}
    hashes = {trial: proposal.hash for trial, proposal in state.proposals.items()}
    if state.entries and not hash_by_trial.items() <= hashes.items():
        raise UsageError(f"the database contains different trials of study {study.study_name!r}", hint=_RENAME)
    began_utc = {entry.event.trial: entry.utc for entry in state.of_kind(events.Proposal)}
    for entry in state.of_kind(events.RunEnded):
        run = entry.event.run
        if run.purpose is Purpose.SEARCH and run.trial in state.proposals and run.trial not in hash_by_trial:
            hash_by_trial[run.trial] = run.hash
            study.add_trial(_trial(run, entry.utc, state.proposals[run.trial], began_utc[run.trial], state.config))
    attributes = study.user_attrs
    for name, value in _facts_of(state).items():
        if attributes.get(name) != value:
            study.set_user_attr(name, value)


def _error_pct(errors: Errors) -> float:
    return 100.0 * errors.wrong / errors.images


def _trial(run: Result, ended_utc: str, proposal: events.Proposal, began_utc: str, config: StudyConfig) -> FrozenTrial:
    from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
    from optuna.trial import TrialState, create_trial

    cost, *_ = costs_of(proposal, config)
    state = TrialState.COMPLETE if run.status is Status.COMPLETE else TrialState.PRUNED
    if run.validation is None or not run.status.ended_without_failure:
        state = TrialState.FAIL
    distributions: dict[str, BaseDistribution] = {
        each.name: IntDistribution(0, each.size - 1) if each.ordered else CategoricalDistribution([*range(each.size)])
        for each in proposal.decisions
    }
    errors_pct = {}
    for epoch in run.history:
        errors = Errors.of(epoch.validation_errors, run.validation_size)
        if errors is not None:
            errors_pct[epoch.epoch] = _error_pct(errors)
    trial = create_trial(
        state=state,
        values=[_error_pct(run.required_validation), float(cost)] if state is TrialState.COMPLETE else None,
        params={decision.name: decision.index for decision in proposal.decisions},
        distributions=distributions,
        user_attrs={
            "trial": proposal.trial,
            "name": network_name(proposal.architecture, proposal.parameters),
            "network": str(proposal.architecture),
            "hash": proposal.hash,
            "parameters": proposal.parameters,
            OBJECTIVES[config.minimised[0]]: cost,
            "epochs": run.recipe.epochs,
            "proposed by": proposal.origin,
            "chance": proposal.chance,
            "seed": run.seed,
            "status": str(run.status),
        },
        intermediate_values=errors_pct,
    )
    if began_utc and ended_utc:
        trial.datetime_start = datetime.fromisoformat(began_utc).astimezone().replace(tzinfo=None)
        trial.datetime_complete = datetime.fromisoformat(ended_utc).astimezone().replace(tzinfo=None)
    return trial


def _close(study: optuna.Study | None) -> None:
    if study is not None:
        # Optuna wraps the storage of a URL in a cache.
        storage: Any = getattr(study._storage, "_backend", study._storage)
        storage.remove_session()
        storage.engine.dispose()
