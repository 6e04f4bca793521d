"""A PostgreSQL server of a test's own, see ``benchmarks.postgres_server``.

Tests that need it skip where PostgreSQL is not installed, and fail there when ``CI`` is ``true``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import postgres_server
from benchmarks.postgres_server import PASSWORD as PASSWORD
from benchmarks.postgres_server import USER as USER
from benchmarks.postgres_server import Server as Server
from tests.browser import lack


@contextmanager
def server() -> Iterator[Server]:
    """Run a new, empty server for the block."""
    programs = postgres_server.programs()
    if programs is None:
        lack("no PostgreSQL server (initdb) on the PATH or in /usr/lib/postgresql")
    with postgres_server.server(programs) as made:
        yield made
