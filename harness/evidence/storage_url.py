"""The URL of a database: shown without its password."""

from __future__ import annotations

import re
from urllib.parse import unquote

from harness.system.errors import UsageError

EXAMPLES = "such as postgresql://USER@HOST/DATABASE or sqlite:///FILE"
_HIDDEN = "***"
# In a shorter one any word would be found.
_SHORTEST = 4
_MEMORY = re.compile(r"sqlite(\+\w+)?://(/?(:memory:)?)(\?.*)?")
_USER = re.compile(r"(?<=://)([^:/@]*):(.*)@")
_OPTION = re.compile(r"(?<=[?&])(\w*password)=([^&]*)")


def check_url(url: str) -> None:
    """Raise UsageError unless a text has the form of a database's URL."""
    if not re.match(r"\w+(\+\w+)?://", url):
        raise UsageError(f"--storage {hidden(url)!r} is no URL of a database, {EXAMPLES}")
    if _MEMORY.fullmatch(url):
        raise UsageError(f"--storage {url!r} is a database in memory, which ends with the program; name a file")
    if url.partition("://")[2].partition("?")[0].count("@") > 1:
        raise UsageError("--storage: the URL holds '@' twice; in a user's name or a password it is written %40")


def hidden(text: str) -> str:
    """Return a text with stars in place of the password of each URL in it."""
    return _OPTION.sub(rf"\1={_HIDDEN}", _USER.sub(rf"\1:{_HIDDEN}@", text))


def without_password(text: str, url: str) -> str:
    """Return what a driver says of a URL, in one line, with stars in place of its password."""
    secrets = [found[1] for pattern in (_USER, _OPTION) for found in pattern.findall(url)]
    for secret in (spelling for found in secrets for spelling in (found, unquote(found)) if spelling):
        if len(secret) < _SHORTEST and secret in text:
            return "its message is not shown, as the password may stand in it"
        text = text.replace(secret, _HIDDEN)
    return " ".join(text.split())
