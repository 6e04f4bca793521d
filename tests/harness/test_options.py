"""Values of options: what is read, what is refused."""

from __future__ import annotations

import click
import pytest

from harness.options import PER_CENT, number_or, option
from harness.system.terminal import Parsed


def type_of(name: str) -> Parsed:
    """Return the type of an option that is declared."""

    @option(name)
    def command() -> None: ...

    [parameter] = vars(command)["__click_params__"]
    found: Parsed = parameter.type
    return found


CLUSTER, WORKERS, SEED = type_of("cluster"), type_of("workers"), number_or("all", "an index", 0)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        *((PER_CENT, text, number) for text, number in (("99.4", 99.4), ("99.4%", 99.4), ("1", 1.0), ("100", 100.0))),
        *((CLUSTER, text, text) for text in ("local", "auto", "localhost:6379", "10.0.0.1:65535", "::1:6379")),
        *((WORKERS, text, value) for text, value in (("auto", None), ("1", 1), ("256", 256))),
        *((SEED, text, value) for text, value in (("all", None), ("0", 0), ("999999", 999_999))),
    ],
)
def test_values_that_are_read(kind: Parsed, text: str, value: object):
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((PER_CENT, text) for text in ("0", "0.994", "-1", "100.1", "nan", "inf", "x", "")),
        *((CLUSTER, text) for text in ("", "here", "localhost", "localhost:", ":6379", "localhost:0", "a:70000")),
        *((WORKERS, text) for text in ("", "0", "257", "-1", "1.5", "2x8")),
        (SEED, "-1"),
    ],
)
def test_values_that_are_refused(kind: Parsed, text: str):
    with pytest.raises(click.BadParameter):
        kind.convert(text, None, None)
