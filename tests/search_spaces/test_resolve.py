"""Conditions that are given by themselves."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.count import configurations
from search_spaces.draw import Draw, Uniform, draw, enumerate_draws, judge
from search_spaces.errors import NotationError
from search_spaces.resolve import parse_conditions, parse_space, with_conditions
from search_spaces.space import Metric, SearchSpace
from search_spaces.task import MNIST, Task
from tests.wording import lacking


def only(text: str) -> Draw:
    """The single draw of a space without choices."""
    (found,) = enumerate_draws(parse_space(text))
    return found


def names(text: str) -> set[str]:
    """The names of all decisions, by drawing often."""
    space, chooser = parse_space(text), Uniform(random.Random(0))
    return {decision.name for _ in range(300) for decision in draw(space, chooser).decisions}


def test_a_bare_network_is_a_space_of_size_one():
    space = parse_space("conv3x3(8) bn | gap | linear(10)", "mine")
    assert (space.name, configurations(space), space.conditions) == ("mine", 1, ())
    assert str(only("conv3x3(8) bn | gap | linear(10)").architecture) == "conv3x3(8) bn | gap | linear(10)"


def test_a_bare_sequence_may_hold_choices():
    assert configurations(parse_space("conv3x3({4, 8}) bn? gap linear(10)")) == 4


def test_rules_pass_numbers_on_by_value():
    text = """
        unit(c, p) = conv3x3(c, pad=p, bias) norm;
        pair(a)    = unit(a, 0) unit(a, 1);
        norm       = bn;
        net        = pair(6) | linear(10)
    """
    assert str(only(text).architecture) == "conv3x3(6, pad=0, bias) bn conv3x3(6, bias) bn | linear(10)"


def test_a_parameter_hides_a_rule_of_its_name():
    assert str(only("c = {4, 8}; unit(c) = conv3x3(c); net = unit(5)").architecture) == "conv3x3(5)"


def test_groups_of_one_alternative_only_group():
    assert str(only("net = <bn <relu>> <conv3x3(4) |>{2}").architecture) == "bn relu conv3x3(4) | conv3x3(4)"


def test_numbers_of_a_range_are_exact_and_ascending():
    space = parse_space("net = dropout({0.5, 0.1..0.3 step 0.1})")
    assert [str(each.architecture) for each in enumerate_draws(space)] == [
        "dropout(0.1)",
        "dropout(0.2)",
        "dropout(0.3)",
        "dropout(0.5)",
    ]


def test_decisions_are_named_by_where_they_stand():
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
    assert names(text) == shared | own | stages


def test_a_label_of_net_never_meets_the_name_of_a_let():
    assert names("let rate = {0.1, 0.2}; net = dropout(rate) dropout({0.3, 0.4})") == {"rate", "rate.2"}
    assert names("let group = {4, 8}; net = conv3x3(group) <bn / relu>") == {"group", "group.2"}
    assert names("net = <bn / relu>") == {"net"}


def test_shared_parts_come_after_those_they_use_and_unused_ones_not_at_all():
    text = "let unused = {1, 2}; let ab = <a b>; let a = dropout(r); let r = {0.1, 0.2}; let b = bn?; net = ab ab"
    assert [part.name for part in parse_space(text).shared] == ["r", "a", "b", "ab"]


def test_conditions_are_kept_in_order():
    text = "where parameters < 5, macs >= 7; net = bn; where receptive_field == 3;"
    conditions = parse_space(text).conditions
    assert [str(condition) for condition in conditions] == ["parameters < 5", "macs >= 7", "receptive_field == 3"]
    assert [condition.metric for condition in conditions] == list(Metric)
    assert [condition.holds(5) for condition in conditions] == [False, False, False]
    assert [condition.holds(3) for condition in conditions] == [True, False, True]


def test_the_hash_is_that_of_the_normal_form():
    loose = parse_space("# a comment\nnet=conv3x3( {4,8} )   bn ;")
    strict = parse_space("net = conv3x3({4, 8}) bn;\n")
    bare = parse_space("conv3x3({4.0, 8}) bn")
    assert loose.hash == strict.hash == bare.hash
    assert strict.hash == hashlib.sha256(b"net = conv3x3({4, 8}) bn;\n").hexdigest()[:12]
    assert parse_space("net = conv3x3({4, 9}) bn").hash != strict.hash


@given(st.from_type(SearchSpace))
def test_the_normal_form_reads_back_as_the_same_space(space: SearchSpace):
    from search_spaces.grammar import read

    tree = read(space.text, "space")
    assert read(str(tree), "space") == tree
    again = parse_space(str(tree), space.name)
    assert (again.hash, again.net, again.shared) == (space.hash, space.net, space.shared)


@pytest.mark.parametrize("end", ["", ";", "; # more"])
def test_conditions_that_a_space_excludes_are_named(end: str):
    space = parse_space(f"net = gap linear(10); where parameters >= 100{end}", "mine")
    with pytest.raises(NotationError) as caught:
        with_conditions(space, parse_conditions("parameters <= 50"))
    assert lacking(caught.value.message, "'mine'", "parameters >= 100", "parameters <= 50") == []
    assert caught.value.position is None


@pytest.mark.parametrize(
    "marked",
    [
        "^",
        "^# nothing\n|",
        "^a = bn;",
        "let ^net = bn",
        "^net = {4, 8}",
        "^net(c) = conv3x3(c)",
        "net = bn; ^net = relu",
        "let a = bn; ^a = relu; net = a",
        "^bn = relu; net = bn",
        "net = bn; u(^3) = bn",
        "net = bn; u(a, ^b=c) = bn",
        "net = bn; u(a, ^a) = bn",
        "net = bn; u(^gap) = bn",
        "unit = bn; net = ^unti",
        "net = bn; unused = ^reul",
        "net = bn ^net",
        "net = a; a = bn b; b = ^a?",
        "net = bn; let a = b; let b = ^a",
        "u(c) = conv3x3(c); net = ^u",
        "u(c, p) = conv3x3(c, pad=p); net = ^u(3)",
        "let u = bn; net = ^u(3)",
        "u(c) = conv3x3(c); net = u(^c=3)",
        "u(c) = conv3x3(c); net = u(^bn relu)",
        "a = bn; net = conv3x3(^a)",
        "net = conv3x3(<^4>)",
        "net = conv3x3(^<bn / relu>)",
        "w = {4, 8}; v = w; net = bn ^v",
        "u(c) = bn ^c; net = u(3)",
        "^w(a) = {4, 8}; net = bn",
        "net = bn ^classes linear(10)",
        "w = {0, 4}; net = conv3x3(^w)",
        "let w = {0.5, 4}; net = conv3x3(^w)",
        "u(c) = v(c); v(d) = bn dropout(d); net = u({^0.5, 1})",
        "net = conv3x3({4, ^4})",
        "net = conv3x3({1..5, ^3})",
        "net = conv3x3(^8..4)",
        "net = conv3x3(^4..8 step 0)",
        "net = conv3x3(^1..1001)",
        "net = dropout(^0..0.9 step 0.0000001)",
        "net = conv3x3({^1..999, 2000..2005})",
        "net = conv3x3({4, ^10001})",
        "net = bn{^3..1}",
        "net = bn{^101}",
        "net = bn{^1.5}",
        "net = bn{1..^999999999999999999999999}",
        "net = bn; where ^parms <= 3",
        "net = bn; where macs <= ^0.5",
        "net = gap linear(10); where macs <= 100, parameters <= 9, ^macs >= 101",
        "net = gap linear(10); where ^parameters < 1",
        "net = conv3x3(8, ^bais?)",
        "net = ^conv3x3",
        "net = ^res()",
        "net = ^<bn{100}>{100}",
        "a = ^b b b b; b = c c c c; c = bn{100}; net = a",
    ],
)
def test_each_mistake_is_pointed_at(marked: str):
    text, position = marked.replace("^", ""), marked.index("^")
    with pytest.raises(NotationError) as caught:
        parse_space(text)
    assert (caught.value.position, caught.value.text) == (position, text)


def test_chains_of_rules_and_brackets_together_are_limited():
    def chain(name: str, length: int, end: str) -> str:
        return "".join(f"{name}{index} = {name}{index + 1};" for index in range(length)) + f"{name}{length} = {end};"

    assert str(only(f"{chain('a', 48, 'bn')} net = a0").architecture) == "bn"
    # Resolved first from a shallow place, then met from a deep one.
    assert str(only(f"{chain('a', 20, 'bn')} net = a0").architecture) == "bn"
    mixed = "".join(f"a{index} = {'<' * 40}a{index + 1}{'>' * 40};" for index in range(40)) + "a40 = bn; net = a0"
    for deep in (
        f"{chain('a', 60, 'bn')} net = a0",
        mixed,
        f"{chain('a', 20, 'bn')} net = a0 {'<' * 40}a0{'>' * 40}",
        f"{chain('w', 60, '{4, 8}')} net = conv3x3(w0)",
    ):
        with pytest.raises(NotationError, match="nested more than 50 deep"):
            parse_space(deep)


def test_a_draw_has_at_most_a_thousand_parts():
    # The repetition counts 1, each of its 100 rounds 1 and its 8 ops.
    full = f"net = <{'bn ' * 8}>{{0..100}} {'bn ' * 99}"
    assert parse_space(full).net.max_nodes == 1000
    with pytest.raises(NotationError, match="more than 1,000 parts"):
        parse_space(f"{full} bn")


def test_many_shared_numbers_are_limited():
    lets = "".join(f"let a{index} = 1..9;" for index in range(1200))
    uses = " ".join(f"conv3x3(a{index})" for index in range(900))
    with pytest.raises(NotationError, match="more than 1,000 parts"):
        parse_space(f"{lets} net = {uses}")


@pytest.mark.parametrize(
    "text",
    ["net = gap linear(classes)", "let outputs = classes; net = gap linear(outputs)", "net = conv1x1(classes) gap"],
)
def test_the_number_of_classes_is_the_task_s(text: str):
    for task in (MNIST, Task((3, 32, 32), 7)):
        found = parse_space(text, task=task)
        (drawn,) = enumerate_draws(found)
        assert str(drawn.architecture).count(f"({task.classes})") == 1
        assert judge(found, drawn.architecture).accepted


def test_a_space_may_call_something_else_classes():
    found = parse_space("let classes = {4, 8}; net = conv3x3(classes) gap linear(10)")
    assert configurations(found) == 2


@pytest.mark.parametrize(
    "text",
    ["macs<=1000000", " macs < 5 ,receptive_field>= 20,parameters==162", "macs > 3 # more than that\n, macs <= 7"],
)
def test_conditions_by_themselves_are_those_that_a_space_reads_after_where(text: str):
    found = parse_conditions(text)
    assert found == parse_space(f"net = bn; where {text}").conditions
    assert len(found) == text.count(",") + 1


@pytest.mark.parametrize(
    "marked",
    [
        "^latency<=3",
        "macs<=1^e9",
        "macs^=3",
        "macs<=3, ^",
        "^",
        "macs<=3^; net = bn",
        "^where macs<=3",
        "macs<=^0.5",
        "macs<=^1000000000001",
    ],
)
def test_what_is_no_condition_is_refused_at_its_place(marked: str):
    text, position = marked.replace("^", ""), marked.index("^")
    with pytest.raises(NotationError) as caught:
        parse_conditions(text)
    assert (caught.value.position, caught.value.text) == (position, text)


@pytest.mark.parametrize("conditions", ["macs <= 100, macs >= 100", "macs > 5, macs < 7"])
def test_conditions_that_one_number_meets_are_taken(conditions: str):
    assert len(parse_space(f"net = gap linear(10); where {conditions}").conditions) == 2
