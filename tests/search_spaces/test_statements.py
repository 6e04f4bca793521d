"""Conditions that are given by themselves."""

from __future__ import annotations

import pytest

from search_spaces.errors import NotationError
from search_spaces.resolve import parse_conditions, parse_space


@pytest.mark.parametrize(
    "text",
    ["macs<=1000000", " macs < 5 ,receptive_field>= 20,parameters==162", "macs > 3 # more than that\n, macs <= 7"],
)
def test_conditions_by_themselves_are_those_that_a_space_reads_after_where(text: str):
    found = parse_conditions(text)

    assert found == parse_space(f"net = bn; where {text}").conditions
    assert len(found) == text.count(",") + 1


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("latency<=3", 0, "unknown metric 'latency'; known are parameters, macs, receptive_field"),
        ("macs<=1e9", 7, "unexpected 'e9'"),
        ("macs=3", 4, "unexpected '='"),
        ("macs<=3, ", 9, "unexpected end of the text; expected a name"),
        ("", 0, "unexpected end of the text; expected a name"),
        ("macs<=3; net = bn", 7, "unexpected ';'"),
        ("where macs<=3", 0, "unexpected 'where'"),
        ("macs<=0.5", 6, "the bound of macs"),
        ("macs<=1000000000001", 6, "the bound of macs"),
    ],
)
def test_what_is_no_condition_is_refused_at_its_place(text: str, position: int, message: str):
    with pytest.raises(NotationError) as caught:
        parse_conditions(text)

    assert (caught.value.position, caught.value.text) == (position, text)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("conditions", "clash"),
    [
        ("macs <= 100, parameters <= 9, macs >= 101", "macs <= 100 and macs >= 101"),
        ("parameters < 1", "parameters < 1"),
        ("macs == 5, macs == 6", "macs == 5 and macs == 6"),
        ("macs <= 100, macs >= 100", ""),
        ("macs > 5, macs < 7", ""),
    ],
)
def test_conditions_that_exclude_each_other_are_refused(conditions: str, clash: str):
    text = f"net = gap linear(10); where {conditions}"
    if not clash:
        parse_space(text)
        return
    with pytest.raises(NotationError, match=f"^no network can have {clash}$"):
        parse_space(text)
