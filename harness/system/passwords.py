"""Removal of passwords and tokens from the URLs of servers, and from messages that repeat a URL."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, quote_plus, unquote

_HIDDEN = "***"  # replaces passwords
_PASSWORD = re.compile(r":(?!//)(?:.*(?=@)|.*)", re.DOTALL)  # password of a URL that SQLAlchemy cannot read
_SECRET_NAME = re.compile("pass|pwd|secret|token|key|auth|credential|odbc_connect", re.IGNORECASE)  # URL option
_ODBC_PASSWORD = re.compile(r"(?:pwd|password)=\{?([^;}]*)", re.IGNORECASE)  # within the option ``odbc_connect``


def _read_url(url: str) -> tuple[Any, list[str]]:
    """Return a URL as SQLAlchemy reads the text, with the names of all options that are secret; None if unreadable."""
    import sqlalchemy

    try:
        parsed_url = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return None, []
    # An '@' that is not written as %40 ends the password elsewhere.
    if "@" in (parsed_url.host or "") or "@" in url.partition("?")[2]:
        return None, []
    return parsed_url, list(filter(_SECRET_NAME.search, parsed_url.query))


def without_passwords(text: str) -> str:
    """Return a text; in a URL, password and secret options are replaced by stars."""
    if "://" not in text:
        return text
    url, secret_names = _read_url(text)
    if url is None:
        return _PASSWORD.sub(f":{_HIDDEN}", text.partition("?")[0], count=1)
    if url.password is None and not secret_names:
        return text
    url = url.update_query_dict(dict.fromkeys(secret_names, _HIDDEN))
    return str(url.render_as_string(hide_password=True)).replace(quote(_HIDDEN), _HIDDEN)


def without_secrets(text: str, url: str) -> str:
    """Return a text of a driver as a line, with the secrets of ``url`` replaced by stars."""
    parsed_url, secret_names = _read_url(url)
    if parsed_url is None:
        return "the URL cannot be read"
    values = [parsed_url.password or "", *map(str, (parsed_url.query[name] for name in secret_names))]
    secrets = [secret.strip() for value in values for secret in (value, *_ODBC_PASSWORD.findall(value))]
    text = text.replace(url, without_passwords(url))
    for secret in filter(None, secrets):
        for spelling in (secret, unquote(secret), quote(secret), quote_plus(secret)):
            text = text.replace(spelling, _HIDDEN)
    return " ".join(text.split())
