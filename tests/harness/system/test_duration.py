from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.system.terminal import DURATION, LONGEST, duration_option, duration_text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("45m", 2700.0),
        ("2h", 7200.0),
        ("1h30m", 5400.0),
        ("1h30m15s", 5415.0),
        ("1h5s", 3605.0),
        ("0.5m", 30.0),
        ("1.5h", 5400.0),
        ("0h1s", 1.0),
        ("876000h", 876_000 * 3600.0),
    ],
)
def test_hours_minutes_and_seconds_add_up(text: str, seconds: float):
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text",
    ["45", "", "m", "0s", "0h0m", "-5m", "5 m", "5min", "30m1h", "1m1m", "1e3s", ".5m", "5.m", "nan", "inf", "1d"],
)
def test_what_is_no_duration_is_refused_with_examples(text: str):
    with pytest.raises(click.BadParameter) as caught:
        DURATION.convert(text, None, None)

    assert caught.value.message == f"{text!r} is not a duration above zero, such as 90s, 45m or 1h30m."


@pytest.mark.parametrize("text", ["876001h", "9" * 400 + "h"], ids=["over a century", "infinity"])
def test_what_is_too_long_is_a_slip(text: str):
    with pytest.raises(click.BadParameter, match="hundred years"):
        DURATION.convert(text, None, None)


def test_a_number_is_taken_as_seconds_since_defaults_may_be_numbers():
    assert DURATION.convert(90, None, None) == 90.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (5415, "1 h 30 min"),
        (360_000, "100 h 0 min"),
    ],
)
def test_durations_are_shown_in_their_two_largest_units(seconds: float, text: str):
    assert duration_text(seconds) == text


@given(st.integers(1, 3599))
def test_a_shown_duration_is_read_as_it_was(seconds: int):
    shown = duration_text(seconds).replace(" min", "m").replace(" s", "s").replace(" ", "")

    assert DURATION.convert(shown, None, None) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(90.0, "1m30s"), (2700.0, "45m"), (7200.0, "2h"), (5415.0, "1h30m15s"), (3605.0, "1h5s"), (0.4, "0.4s")],
)
def test_an_option_has_the_units_that_it_needs(seconds: float, text: str):
    assert duration_option(seconds) == text


@given(st.one_of(st.integers(1, LONGEST), st.floats(1e-6, 1e6)))
def test_an_option_is_read_as_it_was_to_the_microsecond(seconds: float):
    assert DURATION.convert(duration_option(seconds), None, None) == pytest.approx(seconds, rel=1e-12, abs=6e-7)
