"""A study as Optuna itself reads it from a database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.storages import RDBStorage


@contextmanager
def loaded(url: str, name: str) -> Iterator[optuna.Study]:
    """Open a study for the block; no connection is left open."""
    storage = RDBStorage(url)
    try:
        yield optuna.load_study(study_name=name, storage=storage)
    finally:
        storage.remove_session()
        storage.engine.dispose()
