from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.errors import NotationError, SearchSpaceError, ShapeError
from search_spaces.network import Architecture
from search_spaces.notation import parse_network, parse_notation
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


COUNT = "a whole number from 1 to 10,000"
OPTIONS = "its options are pad=, stride=, groups=, poses=, bias, tie="
WIDTH = "number of output channels"
IN_SPACES = "belongs to a search space; a network is one network"


@pytest.mark.parametrize(
    ("text", "position", "message", "hint"),
    [
        ("", 0, "the network is empty: write ops, as in 'conv3x3(8) bn relu | gap | linear(10)'", None),
        (" | # nothing", 0, "the network is empty: write ops, as in 'conv3x3(8) bn relu | gap | linear(10)'", None),
        (
            "bn maxpol",
            3,
            "unknown op 'maxpol'; known are conv1x1, conv3x3, conv5x5, conv3x1, conv1x3, dwconv3x3, bn, relu, leaky, "
            "prelu, swish, dropout, dropout2d, maxpool, avgpool, unshuffle, gap, linear, res",
            "did you mean 'maxpool'?",
        ),
        ("conv3x3 bn", 0, "conv3x3 needs its number of output channels, as in conv3x3(8)", None),
        ("conv3x3(bias)", 0, "conv3x3 needs its number of output channels, as in conv3x3(8)", None),
        ("dropout", 0, "dropout needs its rate, as in dropout(0.1)", None),
        ("linear()", 0, "linear needs its number of outputs, as in linear(8)", None),
        ("conv3x3(8, 9)", 11, "conv3x3 is given its number of output channels twice", None),
        ("conv3x3(8, pad=1, pad=1)", 18, "conv3x3 is given its padding twice", None),
        ("conv3x3(8, bias, bias)", 17, "conv3x3 is given its bias twice", None),
        ("conv3x3(8, bais)", 11, f"conv3x3 has no option 'bais'; {OPTIONS}", "did you mean 'bias'?"),
        ("conv3x3(8, strid=2)", 11, f"conv3x3 has no option 'strid'; {OPTIONS}", "did you mean 'stride'?"),
        ("maxpool(k=2)", 8, "maxpool has no options, so 'k' means nothing here", None),
        ("conv3x3(8, pad)", 11, "pad needs a whole number, as in pad=1", None),
        ("conv3x3(8, bias=1)", 11, "bias stands alone, without '='", None),
        ("bn(unscaled, unscaled)", 13, "bn is given its fixed scale twice", None),
        ("bn(unscaled=1)", 3, "unscaled stands alone, without '='", None),
        (
            "bn(scaled)",
            3,
            "bn has no option 'scaled'; its options are unscaled, poses=, shared",
            "did you mean 'unscaled'?",
        ),
        ("bn(poses=4, shared=4)", 12, "shared stands alone, without '='", None),
        ("relu(1)", 5, "relu takes no arguments, not '1'", None),
        ("leaky(0)", 6, "leaky takes a number above 0 and below 1 as its slope, not 0", None),
        ("leaky(1)", 6, "leaky takes a number above 0 and below 1 as its slope, not 1", None),
        ("leaky(bn)", 6, "leaky takes a number above 0 and below 1 as its slope, not 'bn'", None),
        ("leaky(0.1, 0.2)", 11, "leaky is given its slope twice", None),
        ("prelu(4)", 6, "prelu takes no arguments, not '4'", None),
        ("gap(x)", 4, "gap takes no arguments, not 'x'", None),
        ("dwconv3x3(8)", 10, "dwconv3x3 takes options only, not '8'", None),
        ("conv3x3(0)", 8, f"conv3x3 takes {COUNT} as its number of output channels, not 0", None),
        ("conv3x3(2.5)", 8, f"conv3x3 takes {COUNT} as its number of output channels, not 2.5", None),
        ("conv3x3(10001)", 8, "numbers go up to 10,000, not 10001", None),
        ("conv3x3(" + "9" * 9999 + ")", 8, "numbers go up to 10,000", None),
        ("conv3x3(8, stride=0)", 18, f"conv3x3 takes {COUNT} as its stride, not 0", None),
        ("conv3x3(8, pad=0.5)", 15, "conv3x3 takes a whole number from 0 to 10,000 as its padding, not 0.5", None),
        ("conv3x3(8, groups=0)", 18, f"conv3x3 takes {COUNT} as its number of groups, not 0", None),
        ("conv3x3(8, poses=3)", 17, "conv3x3 takes one of 1, 2, 4, 8 as its number of poses, not 3", None),
        ("bn(poses=0.5)", 9, "bn takes one of 1, 2, 4, 8 as its number of poses, not 0.5", None),
        ("bn(poses)", 3, "poses needs a whole number, as in poses=1", None),
        (
            "conv1x3(8, poses=2)",
            11,
            "conv1x3 has no option 'poses'; its options are pad=, stride=, groups=, bias, tie=",
            None,
        ),
        (
            "dwconv3x3(groups=2)",
            10,
            "dwconv3x3 has no option 'groups'; its options are pad=, stride=, bias, tie=",
            None,
        ),
        ("maxpool(0)", 8, f"maxpool takes {COUNT} as its window size, not 0", None),
        (
            "unshuffle(1)",
            10,
            "unshuffle takes a whole number from 2 to 10,000 as its window size, not 1",
            None,
        ),
        ("dropout(1)", 8, "dropout takes a number from 0 to below 1 as its rate, not 1", None),
        (
            "dropout2d(" + "0." + "9" * 40 + ")",
            10,
            "dropout2d takes a number from 0 to below 1 as its rate, not 1",
            None,
        ),
        ("conv3x3(bn)", 8, "conv3x3 takes a whole number as its number of output channels, not 'bn'", None),
        ("conv3x3(bn relu)", 8, "conv3x3 takes a whole number as its number of output channels, not 'bn relu'", None),
        ("conv3x3(8, pad=no)", 11, "conv3x3 takes a whole number as its padding, not 'no'", None),
        ("conv3x3(8, tie=1)", 11, "tie= takes a plain name, not '1'", None),
        ("conv3x3(8, tie=a b)", 11, "tie= takes a plain name, not 'a b'", None),
        (
            "bn res",
            3,
            "res() is empty: it needs the ops whose output it adds its input to, as in res(conv3x3(8) bn)",
            None,
        ),
        ("res(bn, relu)", 8, "res takes one sequence of ops; separate them by spaces, not commas", None),
        ("res(8)", 4, "res takes ops, not '8'", None),
        ("res(ops=bn)", 4, "res takes ops, not 'ops=bn'", None),
        ("bn res(dropout(0) |)", 3, "res(...) holds no op that does anything", None),
        ("conv3x3({4, 8})", 9, f"a choice of values {IN_SPACES}", None),
        ("conv3x3(8, pad=0..1)", 15, f"a choice of values {IN_SPACES}", None),
        ("conv3x3(8, bias?)", 11, f"an optional part {IN_SPACES}", None),
        ("conv3x3(8, tie=a?)", 15, f"an optional part {IN_SPACES}", None),
        ("bn?", 0, f"an optional part {IN_SPACES}", None),
        ("bn{3}", 0, f"a group or repetition {IN_SPACES}", None),
        ("bn <relu / gap>", 3, f"a group or repetition {IN_SPACES}", None),
        ("res(bn <relu>)", 7, f"a group or repetition {IN_SPACES}", None),
    ],
)
def test_each_mistake_has_its_message_and_its_place(text: str, position: int, message: str, hint: str | None):
    with pytest.raises(NotationError) as caught:
        parse_network(text)
    assert (caught.value.message, caught.value.position, caught.value.hint) == (message, position, hint)
    assert caught.value.text == text


@pytest.mark.parametrize(
    ("text", "position", "path", "message"),
    [
        (
            "dropout(0) conv3x3(4)\n maxpool(30) linear(10)",
            23,
            (2,),
            "maxpool(30) leaves nothing of a map of 28x28: its window of 30x30 does not fit in",
        ),
        (
            "gap linear(12)",
            4,
            (),
            "the network ends in 12; it must end in 10 values, one for each class "
            "(for example 'gap linear(10)' or 'conv1x1(10) gap')",
        ),
        (
            "conv3x1(4, pad=0) conv3x1(4, pad=0) maxpool(12) conv3x1(4, pad=0) linear(10)",
            48,
            (3,),
            "conv3x1(4, pad=0) leaves nothing of a map of 2x2: its window of 3x1 does not fit in",
        ),
        (
            "conv3x1(1, tie=a) conv1x3(1, tie=a) linear(10)",
            18,
            (1,),
            "tie=a shares a kernel of 1x1x3x1 with one of 1x1x1x3 (out x in x height x width); "
            "tied kernels must have equal shapes",
        ),
        (
            "conv3x3(4) conv3x3(6, groups=4) linear(10)",
            11,
            (1,),
            "conv3x3(6, groups=4) parts 4 channels and 6 outputs into 4 groups; "
            "both must be multiples of the number of groups",
        ),
        (
            "conv3x3(6, poses=4) gap linear(10)",
            0,
            (0,),
            "conv3x3(6, poses=4) reads 1 and writes 6 channels; "
            "a kernel in 4 poses writes a multiple of 4, and reads one channel or a multiple of 4",
        ),
        (
            "conv3x3(4) conv3x3(16, groups=2, poses=8) linear(10)",
            11,
            (1,),
            "conv3x3(16, groups=2, poses=8) reads 2 and writes 8 channels a group; "
            "a kernel in 8 poses writes a multiple of 8, and reads one channel or a multiple of 8",
        ),
        (
            "conv3x3(6) bn(poses=4) gap linear(10)",
            11,
            (1,),
            "bn(poses=4) gets 6 channels; they must be a multiple of the number of poses",
        ),
        (
            "conv3x3(4) bn(shared) gap linear(10)",
            11,
            (1,),
            "bn(shared) has no poses to share statistics; it needs 2, 4 or 8, as in bn(poses=4, shared)",
        ),
        (
            "conv3x3(4) res(bn(poses=1, shared)) gap linear(10)",
            15,
            (1, 0),
            "bn(shared) has no poses to share statistics; it needs 2, 4 or 8, as in bn(poses=4, shared)",
        ),
        (
            "linear(10) bn gap",
            14,
            (2,),
            "gap needs a map (channels x height x width), but gets a vector of 10",
        ),
        (
            "conv3x3(4, tie=a) bn res(relu res(conv3x3(4, tie=a))) gap linear(10)",
            34,
            (2, 1, 0),
            "tie=a shares a kernel of 4x1x3x3 with one of 4x4x3x3 (out x in x height x width); "
            "tied kernels must have equal shapes",
        ),
        (
            "bn res(conv3x3(4)) gap linear(10)",
            3,
            (1,),
            "res(...) turns 1x28x28 into 4x28x28; it can add its input only to an output of equal shape",
        ),
    ],
)
def test_ops_that_do_not_fit_are_pointed_at(text: str, position: int, path: tuple[int, ...], message: str):
    with pytest.raises(ShapeError) as caught:
        parse_network(text)
    assert (caught.value.message, caught.value.position, caught.value.path) == (message, position, path)
    assert caught.value.text == text


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
