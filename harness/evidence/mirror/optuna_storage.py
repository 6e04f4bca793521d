"""A study's trials in an Optuna storage: opened, compared with the log, and caught up with.

Nothing is ever read back from there into a search, and nothing is ever deleted there: what the log does not explain is
refused. One process at a time writes a study.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from harness.evidence.mirror.trials import OPEN, MirroredTrial, State, Story, all_trials, metrics, read_on
from harness.evidence.mirror.url import EXAMPLES, check_url, hidden, without_password
from harness.evidence.study import StudyConfig
from harness.system import errors
from harness.system.errors import UsageError

optuna.logging.set_verbosity(optuna.logging.WARNING)

_DIRECTIONS = [StudyDirection.MINIMIZE] * 2
# Packages of drivers whose module is called otherwise; those of PostgreSQL are an extra of this program.
_PACKAGES = {"psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}


class Away(Exception):
    """Raise when the database does not do what is asked of it now, but may do it later; the message is one line."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A trial in the database: its id there, and what it says."""

    row_id: int
    trial: MirroredTrial


@dataclass(slots=True)
class Mirror:
    """An Optuna study that follows a log.

    Attributes:
        url: of the database.
        rows: of the trials 0, 1 and so on, as the database holds them.
        has_served: it has been caught up with once.
    """

    url: str
    storage: BaseStorage
    study_id: int
    story: Story
    rows: list[_Row] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    has_served: bool = False


def open_mirror(url: str, story: Story) -> Mirror:
    """Open the database, and the study in it or a new one, and compare its trials with those of the log.

    Raises:
        UsageError: the URL is wrong, its driver is missing, or the database holds a study of that name that is another.
        Away: the database cannot be reached, or refuses.
    """
    check_url(url)
    with _explained(url):
        storage = _storage(url)
    try:
        return _compared(storage, story, url)
    except BaseException:
        close_storage(storage)
        raise


def _compared(storage: BaseStorage, story: Story, url: str) -> Mirror:
    """Return the study of a database, made where there is none, after comparing its trials with those of the log."""
    with _explained(url):
        study_id = _study_of(storage, story.folder.name, story.config)
        held = storage.get_all_trials(study_id, deepcopy=False)
        attributes = storage.get_study_user_attrs(study_id)
    # After the database, so that the log knows all that the database can know.
    read_on(story)
    mirror = Mirror(url, storage, study_id, story, attributes=attributes)
    told = all_trials(story, is_running=True)
    for number, frozen in enumerate(sorted(held, key=lambda trial: trial.number)):
        trial = told[number] if number < len(told) else None
        there = _mirrored(frozen, trial)
        if trial is None or not _may_become(there, trial):
            raise _another(story, f"its trial {number} is not that of {story.folder / 'log.jsonl'}")
        mirror.rows.append(_Row(frozen._trial_id, there if there.state in OPEN else trial))
    return mirror


def catch_up(mirror: Mirror, *, is_running: bool, seconds: float = float("inf")) -> bool:
    """Write what the database lacks, for about so many seconds at most; return whether it lacks nothing any more.

    Raises:
        UsageError: somebody else writes to the study.
        Away: the database cannot be reached, or refuses; open it anew then.
    """
    until = time.monotonic() + seconds
    read_on(mirror.story)
    with _explained(mirror.url):
        for number, trial in enumerate(all_trials(mirror.story, is_running=is_running)):
            if time.monotonic() > until:
                return False
            if number == len(mirror.rows):
                mirror.rows.append(_add(mirror, number, trial))
            elif (row := mirror.rows[number]).trial is not trial:
                _change(mirror.storage, row, trial)
                mirror.rows[number] = _Row(row.row_id, trial)
        for name, value in mirror.story.attributes.items():
            if name not in mirror.attributes or mirror.attributes[name] != value:
                mirror.storage.set_study_user_attr(mirror.study_id, name, value)
                mirror.attributes[name] = value
    mirror.has_served = True
    return True


def close_storage(storage: BaseStorage) -> None:
    """Give the connections back."""
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn what the database's libraries raise into one line without the password."""
    try:
        yield
    except (UsageError, Away):
        raise
    except (ArgumentError, NoSuchModuleError) as error:
        what = without_password(str(error), url)
        raise UsageError(f"--storage {hidden(url)!r} is no URL of a database, {EXAMPLES}: {what}") from error
    except ImportError as error:
        cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
        raise UsageError(
            f"--storage {hidden(url)} needs the driver {cause.name or 'of its database'}, which cannot be loaded here: "
            f"{' '.join(str(cause).split())}",
            hint=_installation(cause.name),
        ) from error
    except Exception as error:
        # SQLAlchemy and Optuna wrap what the driver has said, and there are many drivers.
        raise Away(without_password(_words(error), url)) from error


def _installation(module: str | None) -> str | None:
    """Return what installs the driver of that module."""
    if module == "psycopg":
        return errors.install_command("postgres")
    return module and f"install {_PACKAGES.get(module, module)} with the pip of this program's environment"


def _words(error: BaseException) -> str:
    """Return what a driver has said, below the wrappings of the libraries."""
    found: BaseException | None = error
    while found is not None:
        if (said := getattr(found, "orig", None)) is not None:
            return str(said)
        found = found.__cause__
    return f"{type(error).__name__}: {error}"


def _storage(url: str) -> RDBStorage:
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        return RDBStorage(url)


def _study_of(storage: BaseStorage, name: str, config: StudyConfig) -> int:
    """Return the id of the study of that name, which is made where there is none.

    Raises:
        UsageError: a study of that name is there, and has another configuration.
    """
    try:
        study_id = storage.get_study_id_from_name(name)
    except KeyError:
        study_id = storage.create_new_study(_DIRECTIONS, name)
    there, wanted = storage.get_study_user_attrs(study_id), _known_by(config)
    other = [key for key, value in wanted.items() if key in there and there[key] != value]
    if other:
        raise UsageError(
            f"the database of --storage holds a study {name!r} of another configuration "
            f"({other[0]}: {there[other[0]]!r} there, {wanted[other[0]]!r} here)",
            hint="give --study another name",
        )
    lacking = [key for key in wanted if key not in there]
    if len(lacking) == len(wanted) and storage.get_n_trials(study_id):
        raise UsageError(
            f"the database of --storage holds a study {name!r} that this program has not made",
            hint="give --study another name",
        )
    if len(lacking) == len(wanted):
        with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
            optuna.load_study(study_name=name, storage=storage).set_metric_names(list(metrics(config)))
    for key in lacking:
        storage.set_study_user_attr(study_id, key, wanted[key])
    return study_id


def _known_by(config: StudyConfig) -> dict[str, Any]:
    """Return what a configuration is told from others by, as attributes that people can read."""
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


def _another(story: Story, why: str) -> UsageError:
    name = story.folder.name
    return UsageError(
        f"the database of --storage holds another study {name!r}: {why}",
        hint=f"give --study another name, or remove it there: optuna delete-study --study-name {name} --storage URL",
    )


def _mirrored(frozen: FrozenTrial, told: MirroredTrial | None) -> MirroredTrial:
    """Return a trial as the database has it, without attributes that the log knows nothing of."""
    known = {} if told is None else told.attributes
    return MirroredTrial(
        state=State(frozen.state.name),
        attributes={name: value for name, value in frozen.user_attrs.items() if name in known},
        values=None if frozen.values is None else tuple(frozen.values),
        errors_pct=dict(frozen.intermediate_values),
    )


def _may_become(there: MirroredTrial, told: MirroredTrial) -> bool:
    """Return whether a trial of the database is the log's, or an earlier state of it."""
    if there.attributes.get("hash") != told.attributes.get("hash"):
        return False
    return there.state in OPEN or (there.state, there.values) == (told.state, told.values)


def _add(mirror: Mirror, number: int, trial: MirroredTrial) -> _Row:
    """Enter a new trial, with all that is known of it, in one transaction."""
    template = FrozenTrial(
        number=number,
        state=TrialState[trial.state],
        value=None,
        values=None if trial.values is None else list(trial.values),
        datetime_start=_local(trial.began),
        datetime_complete=None if trial.state in OPEN else _local(trial.ended),
        params={decision.name: decision.index for decision in trial.decisions},
        distributions={
            decision.name: _distribution(decision.size, ordered=decision.ordered) for decision in trial.decisions
        },
        user_attrs=dict(trial.attributes),
        system_attrs={},
        intermediate_values=dict(trial.errors_pct),
        trial_id=-1,
    )
    row_id = mirror.storage.create_new_trial(mirror.study_id, template)
    if mirror.storage.get_trial_id_from_study_id_trial_number(mirror.study_id, number) != row_id:
        raise _another(mirror.story, "another program adds trials to it")
    return _Row(row_id, trial)


def _change(storage: BaseStorage, row: _Row, trial: MirroredTrial) -> None:
    """Bring an open trial of the database to where it is; its state comes last, as nothing can be changed after it."""
    there = row.trial
    if there == trial:
        return
    for epoch, error_pct in trial.errors_pct.items():
        if there.errors_pct.get(epoch) != error_pct:
            storage.set_trial_intermediate_value(row.row_id, epoch, error_pct)
    for name, value in trial.attributes.items():
        if name not in there.attributes or there.attributes[name] != value:
            storage.set_trial_user_attr(row.row_id, name, value)
    if trial.state is not there.state:
        storage.set_trial_state_values(row.row_id, TrialState[trial.state], trial.values)


def _distribution(size: int, *, ordered: bool) -> BaseDistribution:
    return IntDistribution(0, size - 1) if ordered else CategoricalDistribution(list(range(size)))


def _local(utc: str) -> datetime | None:
    """Return a time as Optuna keeps it: of this machine, without its zone."""
    try:
        return datetime.fromisoformat(utc).astimezone().replace(tzinfo=None)
    except ValueError:
        return datetime.now()
