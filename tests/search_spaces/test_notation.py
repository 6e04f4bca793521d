from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.errors import NotationError, SearchSpaceError, ShapeError, caret, nearest
from search_spaces.network import Architecture
from search_spaces.notation import numbers, parse_network, parse_notation, whole
from search_spaces.ops import (
    BatchNorm,
    Conv,
    DepthwiseConv,
    Dropout,
    GlobalAvgPool,
    LeakyReLU,
    Linear,
    MaxPool,
    ReLU,
    Residual,
)
from search_spaces.syntax import Number, Range, ValueSet

HEAD = (GlobalAvgPool(), Linear(10))


def test_the_ops_of_a_text_in_their_order():
    text = """
        conv3x3(8) bn relu dropout(0.05) | maxpool   # halves the map
        | conv1x1(8, pad=1, stride=2, bias) dwconv3x3(tie=k) res(dwconv3x3(tie=k) | relu) | gap | linear(10)
    """
    assert parse_network(text) == Architecture(
        (
            Conv(3, 8),
            BatchNorm(),
            ReLU(),
            Dropout(0.05),
            MaxPool(2),
            Conv(1, 8, padding=1, stride=2, bias=True),
            DepthwiseConv(tie="k"),
            Residual((DepthwiseConv(tie="k"), ReLU())),
            *HEAD,
        )
    )


def test_a_leaky_rectifier_has_slope_a_tenth_unless_it_says_otherwise():
    spelled = parse_network("leaky(0.10) leaky(0.2) linear(10)")
    assert spelled == Architecture((LeakyReLU(0.1), LeakyReLU(0.2), Linear(10)))
    assert str(spelled) == "leaky leaky(0.2) linear(10)"
    assert spelled.hash == parse_network("leaky leaky(0.20) linear(10)").hash


@given(st.from_type(Architecture))
def test_parse_print_parse_is_the_identity(network: Architecture):
    again = parse_network(str(network))
    assert again == network
    assert str(again) == str(network)
    assert again.hash == network.hash


@pytest.mark.parametrize(
    "spelling",
    [
        "conv3x3(8) bn gap linear(10)",
        "conv3x3(8)bn|gap|linear(10)",
        "| conv3x3( 8 ) |\n| bn # bn\r\n\tgap | linear(010) |",
        "conv3x3(pad=1, 8, stride=1) bn dropout(0) gap() linear(10)",
        "conv3x3(8.0, tie=alone) bn dropout2d(0.00) gap linear(10)",
    ],
)
def test_spellings_of_one_network_have_one_hash(spelling: str):
    assert parse_network(spelling).hash == Architecture((Conv(3, 8), BatchNorm(), *HEAD)).hash


def place(marked: str) -> tuple[str, int]:
    """Return a text without its mark, and where that stood."""
    return marked.replace("^", ""), marked.index("^")


@pytest.mark.parametrize(
    "marked",
    [
        "^",
        "^ | # nothing",
        "bn ^maxpol",
        "^conv3x3 bn",
        "^conv3x3(bias)",
        "^dropout",
        "conv3x3(8, ^9)",
        "conv3x3(8, pad=1, ^pad=1)",
        "conv3x3(8, bias, ^bias)",
        "conv3x3(8, ^bais)",
        "conv3x3(8, ^strid=2)",
        "maxpool(^k=2)",
        "conv3x3(8, ^pad)",
        "conv3x3(8, ^bias=1)",
        "bn(^scaled)",
        "bn(poses=4, ^shared=4)",
        "relu(^1)",
        "leaky(^0)",
        "leaky(^1)",
        "leaky(^bn)",
        "leaky(0.1, ^0.2)",
        "gap(^x)",
        "dwconv3x3(^8)",
        "conv3x3(^0)",
        "conv3x3(^2.5)",
        "conv3x3(^10001)",
        "conv3x3(^" + "9" * 9999 + ")",
        "conv3x3(8, stride=^0)",
        "conv3x3(8, pad=^0.5)",
        "conv3x3(8, groups=^0)",
        "conv3x3(8, poses=^3)",
        "bn(poses=^0.5)",
        "conv1x3(8, ^poses=2)",
        "dwconv3x3(^groups=2)",
        "unshuffle(^1)",
        "dropout(^1)",
        "dropout2d(^0." + "9" * 40 + ")",
        "conv3x3(^bn relu)",
        "conv3x3(8, ^pad=no)",
        "conv3x3(8, ^tie=1)",
        "conv3x3(8, ^tie=a b)",
        "bn ^res",
        "res(bn, ^relu)",
        "res(^8)",
        "res(^ops=bn)",
        "bn ^res(dropout(0) |)",
        "conv3x3({^4, 8})",
        "conv3x3(8, pad=^0..1)",
        "conv3x3(8, ^bias?)",
        "conv3x3(8, tie=^a?)",
        "^bn?",
        "bn ^<relu / gap>",
        "res(bn ^<relu>)",
    ],
)
def test_each_mistake_is_pointed_at(marked: str):
    text, position = place(marked)
    with pytest.raises(NotationError) as caught:
        parse_network(text)
    assert (caught.value.position, caught.value.text) == (position, text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("maxpol", "maxpool"),
        ("conv3x3(8, bais)", "bias"),
        ("conv3x3(8, strid=2)", "stride"),
        ("bn(scaled)", "unscaled"),
    ],
)
def test_the_nearest_name_is_suggested(text: str, hint: str):
    with pytest.raises(NotationError) as caught:
        parse_network(text)
    assert caught.value.hint == f"did you mean '{hint}'?"


@pytest.mark.parametrize(
    ("marked", "path"),
    [
        ("dropout(0) conv3x3(4)\n ^maxpool(30) linear(10)", (2,)),
        ("gap ^linear(12)", ()),
        ("conv3x1(4, pad=0) conv3x1(4, pad=0) maxpool(12) ^conv3x1(4, pad=0) linear(10)", (3,)),
        ("conv3x1(1, tie=a) ^conv1x3(1, tie=a) linear(10)", (1,)),
        ("conv3x3(4) ^conv3x3(6, groups=4) linear(10)", (1,)),
        ("^conv3x3(6, poses=4) gap linear(10)", (0,)),
        ("conv3x3(4) ^conv3x3(16, groups=2, poses=8) linear(10)", (1,)),
        ("conv3x3(6) ^bn(poses=4) gap linear(10)", (1,)),
        ("conv3x3(4) res(^bn(poses=1, shared)) gap linear(10)", (1, 0)),
        ("linear(10) bn ^gap", (2,)),
        ("conv3x3(4, tie=a) bn res(relu res(^conv3x3(4, tie=a))) gap linear(10)", (2, 1, 0)),
        ("bn ^res(conv3x3(4)) gap linear(10)", (1,)),
    ],
)
def test_ops_that_do_not_fit_are_pointed_at(marked: str, path: tuple[int, ...]):
    text, position = place(marked)
    with pytest.raises(ShapeError) as caught:
        parse_network(text)
    assert (caught.value.position, caught.value.path, caught.value.text) == (position, path, text)


def test_deep_residual_sums_are_read():
    assert parse_network("res(" * 50 + "bn" + ")" * 50 + " linear(10)").ops[-1] == Linear(10)


@pytest.mark.parametrize("text", ["res(" * 10_000, "(" * 50_000, "<" * 99_999, "bn " * 33_000 + "(", "\x00" * 1000])
def test_hostile_texts_give_errors_and_nothing_else(text: str):
    with pytest.raises(SearchSpaceError):
        parse_network(text)


@given(network=st.from_type(Architecture))
def test_a_stored_text_is_read_as_any_other_with_its_bars(network: Architecture):
    for text in (str(network), f" {network}  # a comment"):
        assert (parse_notation(text), str(parse_notation(text))) == (network, str(parse_network(text)))


@pytest.mark.parametrize(
    "text", ["", "|", "conv3x3(8) bn nn", "conv3x3(8", "conv3x3(8) bn bn?", "conv3x3({4, 8})", "let"]
)
def test_a_stored_text_that_is_no_network_has_the_error_of_any_other(text: str):
    errors = []
    for read in (parse_network, parse_notation):
        with pytest.raises(NotationError) as caught:
            read(text)
        errors.append((caught.value.message, caught.value.position, caught.value.text, caught.value.hint))
    assert errors[0] == errors[1]


def test_a_stored_network_may_be_for_any_task():
    assert str(parse_notation("conv3x3(8) | gap | linear(3)")) == "conv3x3(8) | gap | linear(3)"


def number(text: str) -> Number:
    return Number(Decimal(text), 7)


def test_one_number_is_a_set_of_one():
    assert numbers(number("4.0")) == (4,)
    assert isinstance(numbers(number("4.0"))[0], int)
    assert numbers(number("0.069")) == (0.069,)


def test_sets_are_sorted_and_ranges_include_their_end():
    spread = Range(number("2"), number("7"), number("2"), 7)
    assert numbers(ValueSet((number("9"), spread, number("0.5")), 7)) == (0.5, 2, 4, 6, 9)


@given(st.integers(0, 300), st.integers(0, 200), st.integers(1, 50))
def test_ranges_in_hundredths_equal_counting(low: int, length: int, step: int):
    start, end, stride = (number(f"{value / 100:.2f}") for value in (low, low + length, step))
    spread = Range(start, end, stride, 7)
    assert numbers(spread) == tuple(value / 100 for value in range(low, low + length + 1, step))


def test_whole_numbers_have_their_bounds():
    assert whole(number("3.0"), "it", 5) == 3
    for wrong in ("6", "2.5"):
        with pytest.raises(NotationError, match=wrong):
            whole(number(wrong), "it", 5)


def test_nearest_suggests_only_what_is_near():
    assert nearest("maxpol", ["maxpool", "avgpool"]) == "did you mean 'maxpool'?"
    assert nearest("MAXPOOL", ["maxpool", "avgpool"]) == "did you mean 'maxpool'?"
    assert nearest("zzz", ["maxpool", "avgpool"]) is None


@pytest.mark.parametrize(
    ("text", "position", "shown"),
    [
        ("bn reul gap", 3, "  bn reul gap\n     ^"),
        ("bn\nreul", 3, "  line 2: reul\n          ^"),
        ("bn\r\nreul", 4, "  line 2: reul\n          ^"),
        ("bn\treul\x00\x1b", 3, "  bn reul  \n     ^"),
        ("bn", 2, "  bn\n    ^"),
        ("bn", 99, "  bn\n    ^"),
        ("", 0, "  \n  ^"),
    ],
)
def test_caret_points_into_the_line(text: str, position: int, shown: str):
    assert caret(text, position) == shown


def test_caret_cuts_a_long_line_around_the_position():
    line, mark = caret("a" * 200 + "X" + "b" * 200, 200).split("\n")
    assert line[mark.index("^")] == "X"
    assert len(line) < 120
