"""Texts of networks, spaces and conditions are parsed, and errors contain the position of the mistake."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

import lark
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.lark import from_lark

from harness.spaces.network import MNIST, Architecture, Task, analyse
from harness.spaces.notation import (
    _normal,
    _syntax_tree,
    parse_conditions,
    parse_network,
    parse_notation,
    parse_space,
    with_conditions,
)
from harness.spaces.ops import (
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
from harness.spaces.space import Metric, SearchSpace, enumerate_draws, judge, measured, replay
from harness.spaces.space_errors import NotationError, SearchSpaceError, ShapeError, caret, nearest

GRAMMAR = lark.Lark(
    resources.files("harness.spaces").joinpath("notation.lark").read_text("utf-8"),
    parser="lalr",
    start=["network", "space"],
)
# A blank after each word, because the generator joins tokens without one. Keys are terminals of the grammar.
WORDS = {
    "NAME": st.sampled_from(["conv3x3 ", "bn ", "gap ", "linear ", "res ", "tie ", "bias ", "net ", "c ", "macs "]),
    "NUMBER": st.sampled_from(["0 ", "1 ", "2 ", "10 ", "0.5 ", "99999999999 "]),
    "COMMENT": st.sampled_from(["#\n", "# bn é \r\n"]),
    "SPACE": st.sampled_from([" ", "\r\n", "\t"]),
}
HEAD = (GlobalAvgPool(), Linear(10))


def test_parse_network_returns_ops_in_order():
    text = """
        conv3x3(8) bn relu dropout(0.05) | maxpool leaky(0.10) leaky(0.2)  # halves the map
        | conv1x1(8, pad=1, stride=2, bias) dwconv3x3(tie=k) res(dwconv3x3(tie=k) | relu) | gap | linear(10)
    """
    first = (Conv(3, 8), BatchNorm(), ReLU(), Dropout(0.05), MaxPool(2), LeakyReLU(0.1), LeakyReLU(0.2))
    second = (Conv(1, 8, padding=1, stride=2, bias=True), DepthwiseConv(tie="k"))
    assert parse_network(text) == Architecture((*first, *second, Residual((DepthwiseConv(tie="k"), ReLU())), *HEAD))


@given(st.from_type(Architecture))
def test_written_network_is_parsed_to_the_same_network(network: Architecture):
    for text in (str(network), f" {network}  # a comment"):
        for parsed_network in (parse_network(text), parse_notation(text)):
            assert (parsed_network, str(parsed_network), parsed_network.hash) == (network, str(network), network.hash)


@pytest.mark.parametrize(
    "spelling",
    [
        "conv3x3(8) bn gap linear(10)",
        "conv3x3(8)bn|gap|linear(10)",
        "| conv3x3( 8 ) |\n| bn # bn\r\n\tgap | linear(010) |",
        "conv3x3(pad=1, 8, stride=1) bn dropout(0) gap() linear(10)",
        "conv3x3(8.0, tie=alone) bn dropout2d(0.00) gap linear(10)",
        "Conv3x3(8) BatchNorm2d | GlobalAvgPool flatten Dense(10)",
    ],
)
def test_spellings_of_a_network_have_the_same_hash(spelling: str):
    assert parse_network(spelling).hash == Architecture((Conv(3, 8), BatchNorm(), *HEAD)).hash


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("maxpool(3, stride=3) SiLU gap fc(10)", "maxpool(3) swish gap linear(10)"),
        ("MaxPool2d(stride=2) gap linear(10)", "maxpool gap linear(10)"),
        ("conv1x1(8, stride=2) LeakyReLU gap dense(10)", "conv1x1(8, stride=2) leaky gap linear(10)"),
    ],
)
def test_names_of_other_libraries_are_aliases(text: str, canonical: str):
    assert parse_network(text) == parse_network(canonical)


def test_rules_of_a_space_have_priority_over_aliases():
    space = parse_space("dense(c) = conv3x3(c) batchnorm; net = dense({4, 8}) gap fc(10)")
    assert space.hash == parse_space("dense(c) = conv3x3(c) bn; net = dense({4, 8}) gap linear(10)").hash
    assert {str(each.architecture.ops[0]) for each in enumerate_draws(space)} == {"conv3x3(4)", "conv3x3(8)"}


def test_pool_with_stride_unequal_to_size_overlaps():
    network = parse_network("maxpool2d(3, stride=2, pad=1) gap linear(10)")
    assert str(network) == "maxpool(3, stride=2, pad=1) gap linear(10)"
    assert parse_network("MaxPool2d(3, stride=3) gap linear(10)") == parse_network("maxpool(3) gap linear(10)")
    for text in ("maxpool(3, pad=0)", "maxpool(3, pad=2)", "maxpool(3, stride=0)", "bn(bare, eps=0.1)", "bn(eps=1)"):
        with pytest.raises(SearchSpaceError):
            parse_network(f"{text} gap linear(10)")


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("net=bn", "net = bn;"),
        ("let a={1,2..8 step 3};net=<a/|b/>?", "let a = {1, 2..8 step 3};net = <a / | b / >?;"),
        (
            "u(c)=x(c,pad={0,1}){1..3}<bn>{2}; net=u(4..16 step 2.0);",
            "u(c) = x(c, pad={0, 1}){1..3} <bn>{2};net = u(4..16 step 2);",
        ),
        ("where parameters<=20000,macs > 5;\n net = u", "where parameters <= 20000, macs > 5;net = u;"),
        ("letter = wherever", "letter = wherever;"),
        ("step = {1..2 step 1}", "step = {1..2 step 1};"),
    ],
)
def test_texts_of_spaces_have_a_normal_form(text: str, normal: str):
    assert _normal(_syntax_tree(text, "space")).replace("\n", "") == normal


PARSERS: dict[str, Callable[[str], Any]] = {
    "network": parse_network,
    "space": parse_space,
    "conditions": parse_conditions,
}
# `^` marks the position of the error; `!` stands for a semicolon in a text, because semicolons separate texts.
MISTAKES = {
    "network": """^ ;^ | # nothing;conv3x3(8^;^8;conv3x3(8,^);conv3x3(1^e4);net ^= bn;^let a = 3;bn{^};conv3x3(^-8)
        conv3^\u00d73(8);bn^\x00;^\ud800;dropout(^.5);bn ^maxpol;^conv3x3 bn;^conv3x3(bias);^dropout;conv3x3(8, ^9)
        conv3x3(8, pad=1, ^pad=1);conv3x3(8, bias, ^bias);conv3x3(8, ^bais);conv3x3(8, ^strid=2);maxpool(^k=2)
        conv3x3(8, ^pad);conv3x3(8, ^bias=1);bn(^scaled);bn(poses=4, ^shared=4);relu(^1);leaky(^0);leaky(^1);leaky(^bn)
        leaky(0.1, ^0.2);gap(^x);dwconv3x3(^8);conv3x3(^0);conv3x3(^2.5);conv3x3(^10001);conv3x3(8, stride=^0)
        conv3x3(8, pad=^0.5);conv3x3(8, groups=^0);conv3x3(8, poses=^3);bn(poses=^0.5);conv1x3(8, ^poses=2)
        poselinear(10, poses=^3);poselinear(10, poses=^1);^poselinear(poses=2)
        dwconv3x3(^groups=2);unshuffle(^1);dropout(^1);conv3x3(^bn relu);conv3x3(8, pad=^no);conv3x3(8, ^tie=1)
        conv3x3(8, ^tie=a b);bn ^res;res(bn, ^relu);res(^8);res(^ops=bn);bn ^res(dropout(0) |);conv3x3({^4, 8})
        conv3x3(8, pad=^0..1);conv3x3(8, ^bias?);conv3x3(8, tie=^a?);^bn?;bn ^<relu / gap>;res(bn ^<relu>)
        gap linear(^classes)""",
    "space": """^ ;^# nothing\n|;a = bn b ^= gap;a = bn ^where parameters <= 3;a = <bn / relu^;a = bn{1..2}^{3}
        where parameters ^= 3;where macs <= ^many;a = {4, ^b};let ^net = bn;^net = {4, 8};^net(c) = conv3x3(c)
        net = ^conv3x3;net = ^res();net = ^<bn{100}>{100};net = conv3x3(8, ^bais?);unit = bn! net = ^unti
        net = bn! ^net = relu;let a = bn! ^a = relu! net = a;^bn = relu! net = bn;net = bn! u(^3) = bn
        net = bn! u(a, ^b=c) = bn;net = bn! u(a, ^a) = bn;net = bn! u(^gap) = bn;net = bn! unused = ^reul;net = bn ^net
        net = a! a = bn b! b = ^a?;net = bn! let a = b! let b = ^a;u(c) = conv3x3(c)! net = ^u
        u(c, p) = conv3x3(c, pad=p)! net = ^u(3);let u = bn! net = ^u(3);u(c) = conv3x3(c)! net = u(^c=3)
        u(c) = conv3x3(c)! net = u(^bn relu);a = bn! net = conv3x3(^a);net = conv3x3(<^4>);net = conv3x3(^<bn / relu>)
        w = {4, 8}! v = w! net = bn ^v;u(c) = bn ^c! net = u(3);^w(a) = {4, 8}! net = bn;net = bn ^classes linear(10)
        w = {0, 4}! net = conv3x3(^w);let w = {0.5, 4}! net = conv3x3(^w)
        u(c) = v(c)! v(d) = bn dropout(d)! net = u({^0.5, 1});net = conv3x3({4, ^4});net = conv3x3({1..5, ^3})
        net = conv3x3(^8..4);net = conv3x3(^4..8 step 0);net = conv3x3(^4..16 step 5)
        net = conv3x3(^1..1001)
        net = dropout(^0..0.9 step 0.0000001);net = conv3x3({^1..999, 2000..2005});net = conv3x3({4, ^10001})
        net = bn{^3..1};net = bn{^101};net = bn{^1.5};net = bn{1..^999999999999999999999999};net = bn! where ^parms <= 3
        net = bn! where macs <= ^0.5;net = gap linear(10)! where macs <= 100, parameters <= 9, ^macs >= 101
        net = gap linear(10)! where ^parameters < 1;a = ^b b b b! b = c c c c! c = bn{100}! net = a""",
    "conditions": "^latency<=3;macs<=1^e9;macs^=3;macs<=3, ^;^where macs<=3;macs<=^0.5;macs<=^1000000000001",
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_error_contains_position_of_mistake(kind: str):
    for marked in MISTAKES[kind].replace("\n        ", ";").split(";"):
        marked = marked.replace("!", ";")
        text = marked.replace("^", "")
        with pytest.raises(NotationError) as caught:
            PARSERS[kind](text)
        assert (caught.value.position, caught.value.text) == (marked.index("^"), text), marked


@pytest.mark.parametrize(
    ("kind", "marked"),
    [
        ("network", "conv3x3(^NUMBER) dropout(0.NUMBER)"),
        ("network", "bn dropout(^0.NUMBER)"),
        ("space", "net = conv3x3({4..8 step ^0.NUMBER})"),
        ("space", "net = bn{1..^NUMBER}"),
        ("conditions", "macs <= ^NUMBER"),
    ],
)
def test_error_contains_position_of_number_with_thousands_of_digits(kind: str, marked: str):
    with pytest.raises(NotationError) as caught:
        PARSERS[kind](marked.replace("^", "").replace("NUMBER", 5000 * "9"))
    assert caught.value.position == marked.index("^")


@pytest.mark.parametrize(
    ("text", "near"), [("maxpol", "maxpool"), ("conv3x3(8, bais)", "bias"), ("bn(scaled)", "unscaled")]
)
def test_error_suggests_nearest_name(text: str, near: str):
    with pytest.raises(NotationError) as caught:
        parse_network(text)
    assert caught.value.hint == f"did you mean '{near}'?"
    # A let, a rule with parameters and a number cannot be the network.
    for space, hint in (("nett = bn;", "rename 'nett' to 'net'"), ("let nett = bn; nets(a) = bn; nut = {4, 6};", None)):
        with pytest.raises(NotationError) as caught:
            parse_space(space)
        assert caught.value.hint == hint
    assert nearest("zzz", ["maxpool", "avgpool"]) is None
    # Names match without the hash at the end; a match of the whole name has priority.
    assert nearest("Shapes", ["mnist", "shapes-1f0c83a2"]) == "did you mean 'shapes-1f0c83a2'?"
    assert nearest("mnits", ["mnist-5k", "mnist"]) == "did you mean 'mnist'?"
    assert nearest("zzz", ["shapes-zzz"]) is None


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
        ("conv3x3(8) gap ^poselinear(10)", (2,)),
        ("conv3x3(8) ^poselinear(10, poses=8)", (1,)),
        ("conv3x3(6) gap ^poselinear(10, poses=4)", (2,)),
        ("conv3x3(6) ^dwconv3x3(poses=4) gap linear(10)", (1,)),
        ("conv3x3(4) res(^bn(poses=1, shared)) gap linear(10)", (1, 0)),
        ("linear(10) bn | ^gap", (2,)),
        ("conv3x3(4, tie=a) bn res(relu | res(^conv3x3(4, tie=a))) gap linear(10)", (2, 1, 0)),
        ("conv3x3(4) bn(tie=a) conv3x3(8) ^bn(tie=a) gap linear(10)", (3,)),
        ("conv3x3(4) bn(tie=a) res(^bn(unscaled, tie=a)) gap linear(10)", (2, 0)),
        ("conv3x3(2) bn(tie=a) res(^conv1x1(2, tie=a)) gap linear(10)", (2, 0)),
        ("bn ^res(conv3x3(4)) gap linear(10)", (1,)),
    ],
)
def test_error_contains_position_of_op_with_incompatible_shape(marked: str, path: tuple[int, ...]):
    text = marked.replace("^", "")
    with pytest.raises(ShapeError) as caught:
        parse_network(text)
    assert (caught.value.position, caught.value.path, caught.value.text) == (marked.index("^"), path, text)


@pytest.mark.parametrize("text", ["", "|", "conv3x3(8) bn nn", "conv3x3(8", "conv3x3(8) bn bn?", "let"])
def test_parse_notation_raises_the_errors_of_parse_network(text: str):
    errors = []
    for parse in (parse_network, parse_notation):
        with pytest.raises(NotationError) as caught:
            parse(text)
        errors.append((caught.value.message, caught.value.position, caught.value.text, caught.value.hint))
    assert errors[0] == errors[1]


def test_parse_notation_accepts_any_number_of_classes():
    assert str(parse_notation("conv3x3(8) | gap | linear(3)")) == "conv3x3(8) | gap | linear(3)"


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.sampled_from(["network", "space"]).flatmap(lambda start: from_lark(GRAMMAR, start=start, explicit=WORDS)))
def test_texts_of_the_grammar_are_parsed_or_refused(text: str):
    check_parsed_or_refused(text)


@given(st.text(alphabet=st.sampled_from("conv3x(8) bn|<>/?{}.,=;#\n\té0"), max_size=30))
def test_random_texts_are_parsed_or_refused(text: str):
    check_parsed_or_refused(text)


@pytest.mark.parametrize("text", ["res(" * 10_000, "(" * 50_000, "<bn / res(" * 9_000, "bn " * 33_000 + "("])
def test_deeply_nested_and_long_texts_are_parsed_or_refused(text: str):
    check_parsed_or_refused(text)


def check_parsed_or_refused(text: str) -> None:
    for parse in (parse_network, parse_space):
        try:
            parse(text)
        except SearchSpaceError as error:
            refusal = error
        else:
            continue
        assert "\n" not in refusal.message
        assert refusal.position is not None
        assert 0 <= refusal.position <= len(text)
        assert refusal.text == text


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("conv3x3(8) bn | gap", ["conv3x3(8) bn | gap"]),
        ("conv3x3({8, 4}) bn?", ["conv3x3(4)", "conv3x3(4) bn", "conv3x3(8)", "conv3x3(8) bn"]),
        (
            "unit(c, p) = conv3x3(c, pad=p, bias) norm; pair(a) = unit(a, 0) unit(a, 1); norm = bn; net = pair(6) |",
            ["conv3x3(6, pad=0, bias) bn conv3x3(6, bias) bn"],
        ),
        ("c = {4, 8}; unit(c) = conv3x3(c); net = unit(5)", ["conv3x3(5)"]),
        ("net = <bn <relu>> <conv3x3(4) |>{2}", ["bn relu conv3x3(4) | conv3x3(4)"]),
        ("net = dropout({0.5, 0.1..0.3 step 0.1})", [f"dropout({rate})" for rate in (0.1, 0.2, 0.3, 0.5)]),
        ("unit(pad) = conv3x3(8, pad={0, 1}) conv1x1(4, pad=pad); net = unit(2)", None),
        ("net = gap linear(classes)", ["gap linear(10)"]),
        ("let classes = {4, 8}; net = conv3x3(classes)", ["conv3x3(4)", "conv3x3(8)"]),
    ],
)
def test_space_contains_exactly_the_networks_of_the_text(text: str, networks: list[str] | None):
    if networks is None:
        networks = ["conv3x3(8, pad=0) conv1x1(4, pad=2)", "conv3x3(8) conv1x1(4, pad=2)"]
    assert [str(each.architecture) for each in enumerate_draws(parse_space(text))] == networks


@given(st.integers(0, 60), st.integers(0, 39), st.integers(1, 20))
def test_decimal_ranges_equal_integer_ranges_of_hundredths(low: int, length: int, step: int):
    high = low + length - length % step  # the step reaches the upper end
    space = parse_space(f"net = dropout({low / 100}..{high / 100} step {step / 100})")
    expected = [Architecture((Dropout(value / 100),)) for value in range(low, high + 1, step)]
    assert [each.architecture for each in enumerate_draws(space)] == expected


def decision_names(text: str) -> set[str]:
    """Return the names of all decisions in a space."""
    names: set[str] = set()
    queue: list[dict[str, int]] = [{}]
    space = parse_space(text)
    while queue:
        draw = replay(space, queue.pop(), lambda name, options: 0)
        for decision in draw.decisions:
            if decision.name not in names:
                names.add(decision.name)
                queue += [draw.indices | {decision.name: index} for index in range(1, decision.size)]
    return names


def test_decisions_are_named_by_position_in_the_space():
    text = """
        let rate  = {0.1, 0.2};
        let norm  = <bn relu / relu bn>;
        let both  = <bn / relu> dropout(rate) bn?;
        width     = {4, 8};
        unit(c)   = conv3x3(c, pad={0, 1}, bias?, tie=a?) norm;
        stage     = unit(width){1..2} both;
        head      = <gap linear(10) / linear(10)>;
        net       = conv1x1(width) dropout(rate) stage conv5x5({4, 8}) conv5x5({4, 8}) stage? <bn / relu>{2} head
    """
    unit = {f"unit[{index}]/{label}" for index in (1, 2) for label in ("c", "pad", "bias", "tie")}
    stages = {f"{stage}/{label}" for stage in ("stage", "stage.2") for label in ("unit*", *unit)}
    shared = {"rate", "norm", "both/group", "both/bn?"}
    own = {"width", "channels", "channels.2", "stage.2?", "group[1]", "group[2]", "head"}
    assert decision_names(text) == shared | own | stages
    # A label in net gets a number if a let has the same name.
    assert decision_names("let rate = {0.1, 0.2}; net = dropout(rate) dropout({0.3, 0.4})") == {"rate", "rate.2"}
    assert decision_names("let group = {4, 8}; net = conv3x3(group) <bn / relu>") == {"group", "group.2"}
    assert decision_names("net = <bn / relu>") == {"net"}


def test_shared_parts_are_ordered_by_dependency_without_unused_parts():
    text = "let unused = {1, 2}; let ab = <a b>; let a = dropout(r); let r = {0.1, 0.2}; let b = bn?; net = ab ab"
    space = parse_space(text, "mine")
    assert list(space.let_values) == ["r", "a", "b", "ab"]
    assert space.unused_names == ("unused",)
    assert space.name == "mine"


def test_every_metric_is_measured_and_documented():
    analysis = analyse(parse_network("gap linear(10)"), MNIST)
    page = (Path(__file__).parents[3] / "search_spaces" / "README.md").read_text(encoding="utf-8")
    assert [metric for metric in Metric if measured(analysis, metric) <= 0 or f"`{metric}`" not in page] == []


def test_conditions_are_kept_in_order():
    conditions = parse_space("where parameters < 5, macs >= 7; net = bn; where receptive_field == 3;").conditions
    assert [str(condition) for condition in conditions] == ["parameters < 5", "macs >= 7", "receptive_field == 3"]
    assert [condition.metric for condition in conditions] == list(Metric)[:3]
    assert [[condition.holds(value) for condition in conditions] for value in (5, 3)] == [
        [False] * 3,
        [True, False, True],
    ]


@pytest.mark.parametrize("text", ["macs<=1000000", " macs < 5 ,receptive_field>= 20", "macs > 5 # more\n, macs <= 7"])
def test_parse_conditions_equals_conditions_of_a_space(text: str):
    conditions = parse_conditions(text)
    assert conditions == parse_space(f"net = bn; where {text}").conditions
    for start in ("bn", "net = bn", "net = bn; # more", "net = bn;"):
        assert with_conditions(parse_space(start), conditions).conditions == conditions


@pytest.mark.parametrize("end", ["", ";", "; # more"])
def test_conditions_that_contradict_the_space_are_refused(end: str):
    space = parse_space(f"net = gap linear(10); where parameters >= 100{end}", "mine")
    with pytest.raises(NotationError):
        with_conditions(space, parse_conditions("parameters <= 50"))


@given(st.from_type(SearchSpace))
def test_normal_form_is_parsed_to_the_same_space(space: SearchSpace):
    normal = _normal(_syntax_tree(space.text, "space"))
    copy = parse_space(normal, space.name)
    assert _normal(_syntax_tree(normal, "space")) == normal
    assert (copy.hash, *islice(enumerate_draws(copy), 50)) == (space.hash, *islice(enumerate_draws(space), 50))
    assert space.hash == hashlib.sha256(normal.encode()).hexdigest()[:12]


def test_network_without_rule_has_hash_of_the_rule_net():
    assert parse_space("conv3x3({4.0, 8}) bn").hash == parse_space("# a comment\nnet=conv3x3( {4,8} )   bn ;").hash


def chain(name: str, length: int, end: str) -> str:
    return "".join(f"{name}{index} = {name}{index + 1};" for index in range(length)) + f"{name}{length} = {end};"


def test_depth_of_rules_and_brackets_is_limited():
    for shallow in ("res(" * 50 + "bn" + ")" * 50, f"{chain('a', 48, 'bn')} net = a0"):
        assert parse_space(shallow).configurations == 1
    mixed = "".join(f"a{index} = {'<' * 40}a{index + 1}{'>' * 40};" for index in range(40)) + "a40 = bn; net = a0"
    for deep in (
        f"{chain('a', 60, 'bn')} net = a0",
        mixed,
        # A rule that is resolved at a shallow use counts again at a deep use.
        f"{chain('a', 20, 'bn')} net = a0 {'<' * 40}a0{'>' * 40}",
        f"{chain('w', 60, '{4, 8}')} net = conv3x3(w0)",
    ):
        with pytest.raises(NotationError):
            parse_space(deep)


def test_draw_is_limited_to_a_thousand_parts():
    # 1 for the repetition, and 1 + 8 for each of 100 rounds.
    full = f"net = <{'bn ' * 8}>{{0..100}} {'bn ' * 99}"
    assert parse_space(full).net.max_nodes == 1000
    lets = "".join(f"let a{index} = 1..9;" for index in range(600))
    for text in (f"{full} bn", f"{lets} net = {' '.join(f'conv3x3(a{index})' for index in range(600))}"):
        with pytest.raises(NotationError):
            parse_space(text)


def test_classes_is_the_number_of_classes_of_the_task():
    for task in (MNIST, Task((3, 32, 32), 7)):
        space = parse_space("let outputs = classes; net = conv1x1(classes) gap linear(outputs)", task=task)
        (network_draw,) = enumerate_draws(space)
        assert str(network_draw.architecture).count(f"({task.classes})") == 2
        assert judge(space, network_draw.architecture).accepted


@pytest.mark.parametrize(
    ("text", "position", "excerpt"),
    [
        ("bn reul gap", 3, "  bn reul gap\n     ^"),
        ("bn\r\nreul", 4, "  line 2: reul\n          ^"),
        ("bn\treul\x00\x1b", 3, "  bn reul  \n     ^"),
        ("bn", 99, "  bn\n    ^"),
        ("", 0, "  \n  ^"),
    ],
)
def test_caret_points_into_the_line(text: str, position: int, excerpt: str):
    assert caret(text, position) == excerpt


def test_caret_shortens_a_long_line_around_the_position():
    line, mark = caret("a" * 200 + "X" + "b" * 200, 200).split("\n")
    assert line[mark.index("^")] == "X"
    assert len(line) < 120
