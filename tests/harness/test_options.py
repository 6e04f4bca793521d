"""Values of options: what is read, what is refused."""

from __future__ import annotations

import click
import pytest
from click.shell_completion import ShellComplete

from harness.cli import cli
from harness.options import PER_CENT, number_or, option
from harness.system.terminal import Parsed
from search_spaces.notation import parse_conditions


def type_of(name: str) -> Parsed:
    """Return the type of an option that is declared."""

    @option(name)
    def command() -> None: ...

    [parameter] = vars(command)["__click_params__"]
    found: Parsed = parameter.type
    return found


CLUSTER, WORKERS, SEED = type_of("cluster"), type_of("workers"), number_or("all", "an index", 0)
BUDGET, LIMITS = type_of("budget"), type_of("limits")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        *((PER_CENT, text, number) for text, number in (("99.4", 99.4), ("99.4%", 99.4), ("1", 1.0), ("100", 100.0))),
        *((CLUSTER, text, text) for text in ("local", "auto", "localhost:6379", "10.0.0.1:65535", "::1:6379")),
        *((WORKERS, text, value) for text, value in (("auto", None), ("1", 1), ("256", 256))),
        *((BUDGET, text, value) for text, value in (("20k", 20_000), ("1.5M", 1_500_000), ("7", 7), (7, 7))),
        (LIMITS, "macs<=1.5M,parameters<5k", parse_conditions("macs<=1500000,parameters<5000")),
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
        *((BUDGET, text) for text in ("0", "-1k", "20kk", "2G", "1.5", "k", "0.0001k")),
        (SEED, "-1"),
    ],
)
def test_values_that_are_refused(kind: Parsed, text: str):
    with pytest.raises(click.BadParameter):
        kind.convert(text, None, None)


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("search --space t", {"tiny", "tied"}),
        ("search --sampler n", {"nsga2"}),
        ("train --recipe small-s", {"small-shift", "small-still"}),
        ("explain anchor37", {"anchor3702", "anchor3762"}),
        ("search --dataset fash", {"fashion-mnist"}),
    ],
)
def test_a_shell_completes_what_is_known(line: str, known: set[str]):
    words = line.split()
    found = ShellComplete(cli, {}, "harness", "_HARNESS_COMPLETE").get_completions(words[:-1], words[-1])
    assert {item.value for item in found} == known
