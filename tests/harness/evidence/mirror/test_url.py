"""URLs of databases: which are refused, and that no password is shown."""

from __future__ import annotations

import pytest

from harness.evidence.mirror.url import check_url, hidden, without_password
from harness.system.errors import UsageError


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+pysqlite://?timeout=1"])
def test_a_database_in_memory_is_refused(url: str):
    with pytest.raises(UsageError, match="is a database in memory"):
        check_url(url)


@pytest.mark.parametrize("url", ["sqlite:///of.db", "sqlite:////tmp/of.db?timeout=1", "postgresql://ann@host/name"])
def test_a_database_that_stays_is_accepted(url: str):
    check_url(url)


def test_a_password_is_hidden_in_what_a_driver_says():
    said = without_password("refused: secret at\n host", "postgresql://ann:secret@host/name")

    assert said == "refused: *** at host"
    assert hidden("postgresql://ann:secret@host/name") == "postgresql://ann:***@host/name"


def test_a_password_that_is_part_of_words_does_not_show_by_its_stars():
    said = without_password("connection refused", "postgresql://ann:e@host/name")

    assert "e refused" not in said
    assert "***" not in said
