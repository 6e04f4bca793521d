"""Values of options: accepted and refused values on the command line and in Python."""

from __future__ import annotations

import inspect
import math
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.shell_completion import ShellComplete

from harness.cli import cli
from harness.interface import options
from harness.interface.api import search
from harness.searching.option_types import PER_CENT, SHAPE, SHARE, number_or
from harness.searching.request import SearchRequest
from harness.spaces.notation import parse_conditions
from harness.system.errors import UsageError
from harness.system.option import options_of
from harness.system.terminal import Parsed


def type_of(name: str) -> Parsed:
    """Return the type of a declared option."""

    @options.option(name)
    def command() -> None: ...

    [parameter] = vars(command)["__click_params__"]
    option_type: Parsed = parameter.type
    return option_type


CLUSTER, WORKERS, SEED = type_of("cluster"), type_of("workers"), number_or("all", "an index", 0)
BUDGET, LIMITS = type_of("budget"), type_of("limits")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        *((PER_CENT, text, number) for text, number in (("99.4", 99.4), ("99.4%", 99.4), ("1", 1.0), ("100", 100.0))),
        *((CLUSTER, text, text) for text in ("local", "auto", "localhost:6379", "10.0.0.1:65535", "::1:6379")),
        *((CLUSTER, text, text) for text in ("ray://auto", "ray://localhost:6379", "slurm://here")),
        *((WORKERS, text, value) for text, value in (("auto", None), ("1", 1), ("256", 256))),
        *((BUDGET, text, value) for text, value in (("20k", 20_000), ("1.5M", 1_500_000), ("7", 7), (7, 7))),
        (LIMITS, "macs<=1.5M,parameters<5k", parse_conditions("macs<=1500000,parameters<5000")),
        *((SEED, text, value) for text, value in (("all", None), ("0", 0), ("999999", 999_999))),
    ],
)
def test_option_types_convert_valid_values(kind: Parsed, text: str, value: object):
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((PER_CENT, text) for text in ("0", "0.994", "-1", "100.1", "nan", "inf", "x", "")),
        *((CLUSTER, text) for text in ("", "here", "localhost", "localhost:", ":6379", "localhost:0", "a:70000")),
        *((CLUSTER, text) for text in ("ray://", "ray://:6379", "ray://localhost", "ray://localhost:0")),
        *((WORKERS, text) for text in ("", "0", "257", "-1", "1.5", "2x8")),
        *((BUDGET, text) for text in ("0", "-1k", "20kk", "2G", "1.5", "k", "0.0001k")),
        (SEED, "-1"),
    ],
)
def test_option_types_refuse_invalid_values(kind: Parsed, text: str):
    with pytest.raises(click.BadParameter):
        kind.convert(text, None, None)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("search --space t", {"tiny", "tied"}),
        ("search --sampler n", {"nsga2"}),
        ("train --recipe small-s", {"small-shift", "small-starts", "small-still"}),
        ("explain anchor37", {"anchor3702", "anchor3762"}),
        ("search --dataset fash", {"fashion-mnist"}),
    ],
)
def test_shell_completion_lists_known_values(line: str, expected: set[str]):
    words = line.split()
    completions = ShellComplete(cli, {}, "harness", "_HARNESS_COMPLETE").get_completions(words[:-1], words[-1])
    assert {item.value for item in completions} == expected


# Values from Python, NumPy, pandas and JSON, and the equal text on the command line.
FORMS: list[tuple[str, list[Any], Any]] = [
    ("target_pct", [97, 97.0, np.float32(97), np.int64(97), Decimal("97")], "97"),
    ("target_pct", [np.float32(99.4), np.float16(99.4), 99.4], "99.4%"),
    ("target_pct", [100 * 0.974, 97.4], "97.4"),
    ("workers", [1, np.int64(1), 1.0, np.array(1)], "1"),
    ("workers", [None], "auto"),
    ("epochs", [10, np.uint8(10), [10], 10.0], "10"),
    ("epochs", [[2, 4], (2, 4), np.array([2, 4]), np.array([2.0, 4.0]), range(2, 5, 2)], "2,4"),
    ("limits", [["parameters<=500"], {"parameters": 500}, {"parameters": np.int32(500)}], "parameters<=500"),
    ("limits", [["macs<1M", "parameters<=5k"], ("macs<1000000", "parameters<=5000")], "macs<1M,parameters<=5k"),
    ("time", [90, 90.0, np.float32(90)], "1m30s"),
    ("budget", [20_000, 2e4, np.uint16(20_000)], "20k"),
    ("minimise", [["macs"], ("macs",), np.array(["macs"])], "macs"),
    ("space", [Path("@a.space")], "@a.space"),
    ("data", [Path("digits")], "digits"),
    ("seed", [3, np.uint8(3), 3.0], "3"),
]


@pytest.mark.parametrize(("name", "values", "text"), FORMS, ids=[f"{name}={text}" for name, _, text in FORMS])
def test_values_from_python_equal_command_line_values(name: str, values: list[Any], text: Any):
    option = options_of(SearchRequest)[name]
    expected = option.checked(text)

    assert [option.checked(each) for each in values] == [expected] * len(values)
    assert option.checked(expected) == expected


INVALID_NUMBERS = [True, np.True_, -1, 0.5, math.nan, math.inf, -math.inf, "x", "", [1], {}, b"1", 10**5_000, object()]
INVALID_TEXTS = [5, True, b"x", ["a"], object(), print, np.zeros((9, 9))]
TEXT_ARGUMENTS = ("space", "recipe", "sampler", "study", "device", "engine", "trainer", "start_from")
REFUSED: list[tuple[str, list[Any]]] = [
    ("target_pct", [*INVALID_NUMBERS, 0, 0.97, 100.1, 9700]),
    ("workers", [*INVALID_NUMBERS, 0, 257, 1_000_000]),
    ("trials", [*INVALID_NUMBERS, 0]),
    ("seed", [*INVALID_NUMBERS, 2**32]),
    ("budget", [*INVALID_NUMBERS, 0, 10**12]),
    ("trial_memory", [*INVALID_NUMBERS, 0, 10**30]),
    *((name, [0, -5, math.nan, math.inf, True, [5], 1e12, "soon"]) for name in ("time", "trial_time")),
    ("epochs", [[], True, [True], -1, 0.5, [1.5], {2: 3}, np.zeros((2, 2))]),
    ("limits", [500, True, {}, [], {"parameters": -5}, {"parameters": True}, {5: 5}, ["x"]]),
    ("minimise", [[], 5, True, ["macs", True], "speed"]),
    *((name, INVALID_TEXTS) for name in TEXT_ARGUMENTS),
    ("dataset", [*INVALID_TEXTS, "nowhere", "a" * 300, "a\0b"]),
    ("data", [5, True, "a\0b", b"x"]),
    ("on_event", [5]),
]


@pytest.mark.parametrize(("name", "values"), REFUSED, ids=[name for name, _ in REFUSED])
def test_invalid_request_is_refused_in_one_line(name: str, values: list[Any], workspace: Path):
    for value in values:
        with pytest.raises(UsageError) as caught:
            SearchRequest(**{name: value})
        assert ("\n" in str(caught.value), "MODULE:" in str(caught.value)) == (False, name in ("sampler", "trainer"))


def test_confused_share_and_per_cent_get_suggestion():
    for kind, value, suggestion in ((PER_CENT, 0.97, "97"), (SHARE, 97, "0.97")):
        with pytest.raises(click.BadParameter, match=f"did you mean {suggestion}\\?"):
            kind.convert(value, None, None)


def test_search_arguments_and_options_are_fields_of_request():
    arguments = inspect.signature(search).parameters
    command = cli.get_command(click.Context(cli), "search")

    assert [*arguments] == [field.name for field in fields(SearchRequest)]
    requests = (
        SearchRequest(**{name: each.default for name, each in arguments.items()}),
        SearchRequest(time="90s", budget=20_000),
    )
    stated_names = [
        [option.name for option, source in request.sources.items() if source == "call"] for request in requests
    ]
    assert stated_names == [[], ["time"]]
    assert command is not None
    assert {*arguments} - {"on_event"} <= {parameter.name for parameter in command.params}


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (28, 28), 5, (0, 1, 1), (1, -2, 3), (1.5, 2, 3), None])
def test_shape_is_channels_rows_columns(shape: object):
    shapes = [SHAPE.convert(each, None, None) for each in ([3, 32, 32], np.array([3, 32, 32]), "3x32x32")]

    assert shapes == [(3, 32, 32)] * 3
    for valid_shape in ((1, 1, 150), (32, 8, 8), (8, 8, 1), (64, 2, 2)):
        assert SHAPE.convert(valid_shape, None, None) == valid_shape
    with pytest.raises(click.BadParameter):
        SHAPE.convert(shape, None, None)
