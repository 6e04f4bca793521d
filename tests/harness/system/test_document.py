"""JSON documents, TOML tables and CSV texts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.spaces.network import Architecture
from harness.system.document import WrittenNetwork, csv_text, document_of, parse_json, read_as, read_toml, strict_json
from harness.system.errors import ContentError


class Colour(StrEnum):
    """An enumeration with two values."""

    RED = "red"
    BLUE = "blue"


@strict_json
@dataclass(frozen=True, slots=True)
class Part:
    """An element of ``Whole``."""

    length: float
    colour: Colour = Colour.RED


@strict_json
@dataclass(frozen=True, slots=True)
class Whole:
    """A document."""

    count: int
    parts: tuple[Part, ...]
    pair: tuple[int, int] | None = None


parts = st.builds(Part, st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(Colour))
wholes = st.builds(
    Whole,
    st.integers(-(2**60), 2**60),
    st.lists(parts, max_size=3).map(tuple),
    st.none() | st.tuples(st.integers(0, 9), st.integers(0, 9)),
)


@given(wholes)
def test_document_round_trip_is_exact(whole: Whole):
    assert read_as(Whole, json.dumps(asdict(whole)), "here") == whole


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("", "Invalid JSON"),
        ("[]", "[]"),
        ('{"parts": []}', "count"),
        ('{"count": "1", "parts": []}', "count is '1'"),
        ('{"count": true, "parts": []}', "count is True"),
        ('{"count": 1.5, "parts": []}', "count is 1.5"),
        ('{"count": 1, "parts": [{"length": 1}, {"length": NaN}]}', "parts.1.length is nan"),
        ('{"count": 1, "parts": [{"length": 1e999}]}', "parts.0.length is inf"),
        ('{"count": 1, "parts": [{"length": 1, "colour": "green"}]}', "parts.0.colour is 'green'"),
        ('{"count": 1, "parts": [{"length": 1, "size": 2}]}', "parts.0.size is 2"),
        ('{"count": 1, "parts": [], "pair": [1, 2, 3]}', "pair is [1, 2, 3]"),
        ('{"count": 1, "parts": "' + "x" * 500 + '"}', "x..."),
    ],
)
def test_invalid_document_is_refused_in_one_line(text: str, fragment: str):
    with pytest.raises(ContentError) as caught:
        read_as(Whole, text, "the file f")
    assert caught.value.message.startswith("the file f: ")
    assert fragment in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400


@strict_json
@dataclass(frozen=True, slots=True)
class Trained:
    """A document with a network."""

    architecture: WrittenNetwork
    others: tuple[WrittenNetwork | None, ...] = ()


@given(network=st.from_type(Architecture))
def test_network_is_written_as_text(network: Architecture):
    document = Trained(network, (None, network))
    content = document_of(document)
    assert content == {"architecture": str(network), "others": [None, str(network)]}
    assert read_as(Trained, json.dumps(content), "it") == document


def test_invalid_network_is_reported_with_field_and_position():
    text = "conv3x3(8) bn nn | gap"
    with pytest.raises(ContentError) as caught:
        read_as(Trained, json.dumps({"architecture": text}), "the file x")
    assert "architecture" in caught.value.message
    assert (caught.value.position, caught.value.text) == (text.index("nn"), text)


def test_csv_text_has_raw_numbers_and_empty_fields():
    text = csv_text(("a", "b", "c", "d"), [(1_000, 99.41000000000001, None, True), (-1, 1e-05, "", False)])
    assert text == "a,b,c,d\n1000,99.41000000000001,,true\n-1,1e-05,,false\n"


DEEP = 70
LONG = "9" * 65


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"count": ' + LONG + ', "parts": []}', "more than 64 digits"),
        ('{"count": 1, "parts": ' + "[" * 10_000 + "]" * 10_000 + "}", "deeper than 64 levels"),
        ('{"count": 1, "parts": ' + "[" * DEEP + "]" * DEEP + "}", "deeper than 64 levels"),
        ('{"count": 1, "count": 2, "parts": []}', "duplicate key 'count'"),
    ],
    ids=["digits", "very deep", "deep", "twice"],
)
@pytest.mark.parametrize("kind", [str, bytes])
def test_long_numbers_deep_nesting_and_duplicate_keys_are_refused(kind: type, text: str, message: str):
    content = text if kind is str else text.encode()

    with pytest.raises(ContentError, match=message):
        read_as(Whole, content, "the file")
    with pytest.raises(ValueError, match=message):
        parse_json(content)


def test_digits_and_brackets_within_strings_are_accepted():
    value = {"name": "7" * 80 + "[" * 80, "level": [[1.5, 10**63]]}

    assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "a = " + LONG,
        "a = " + "[" * DEEP + "]" * DEEP,
        "a = " + "[" * 5_000 + "]" * 5_000,
        "a" + ".a" * 5_000 + " = 1",
        "[a" + ".a" * DEEP + "]\nb = 1",
        "a = {" + "b." * DEEP + "c = 1}",
    ],
    ids=["digits", "brackets", "many brackets", "dots", "header", "inline"],
)
def test_toml_numbers_and_nesting_are_limited(tmp_path: Path, text: str):
    path = tmp_path / "recipe.toml"
    path.write_text(text)

    with pytest.raises(ContentError, match="is not TOML"):
        read_toml(path, "recipe")
