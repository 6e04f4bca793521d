from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.count import derivations
from search_spaces.draw import Draw, Uniform, draw, enumerate_draws, judge
from search_spaces.errors import NotationError
from search_spaces.membership import derives
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
    assert (space.name, derivations(space), space.conditions) == ("mine", 1, ())
    assert str(only("conv3x3(8) bn | gap | linear(10)").architecture) == "conv3x3(8) bn | gap | linear(10)"


def test_a_bare_sequence_may_hold_choices():
    assert derivations(parse_space("conv3x3({4, 8}) bn? gap linear(10)")) == 4


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


NUMBER = "a number is needed here"
OPS = "ops are needed here"


@pytest.mark.parametrize(
    ("text", "position", "message", "hint"),
    [
        ("", 0, "the search space is empty: define at least net = ...;", None),
        ("# nothing\n|", 0, "the search space is empty: define at least net = ...;", None),
        ("a = bn;", 0, "no rule 'net' is defined; a space needs net = ...;", None),
        ("nett = bn;", 0, "no rule 'net' is defined; a space needs net = ...;", "did you mean 'nett'?"),
        ("let net = bn", 4, "'net' is a plain rule of ops, as in net = ...;", None),
        ("net = {4, 8}", 0, "'net' is a plain rule of ops, as in net = ...;", None),
        ("net(c) = conv3x3(c)", 0, "'net' is a plain rule of ops, as in net = ...;", None),
        ("net = bn; net = relu", 10, "'net' is defined twice", None),
        ("let a = bn; a = relu; net = a", 12, "'a' is defined twice", None),
        ("bn = relu; net = bn", 0, "'bn' is an op and cannot be defined anew", None),
        ("net = bn; u(3) = bn", 12, "the parameters of a rule are names, not '3'", None),
        ("net = bn; u(a, b=c) = bn", 15, "the parameters of a rule are names, not 'b=c'", None),
        ("net = bn; u(a, a) = bn", 15, "the parameter 'a' is given twice", None),
        ("net = bn; u(gap) = bn", 12, "the parameter 'gap' is an op", None),
        (
            "unit = bn; net = unti",
            17,
            "unknown name 'unti': it is neither an op nor defined in this space",
            "did you mean 'unit'?",
        ),
        (
            "net = conv3x3(widht); width = {4, 8}",
            14,
            "unknown name 'widht': it is neither an op nor defined in this space",
            "did you mean 'width'?",
        ),
        (
            "net = bn; unused = reul",
            19,
            "unknown name 'reul': it is neither an op nor defined in this space",
            "did you mean 'relu'?",
        ),
        ("net = bn net", 9, "net refers to itself (net -> net); nothing may", None),
        ("net = a; a = bn b; b = a?", 23, "a refers to itself (a -> b -> a); nothing may", None),
        ("net = bn; let a = b; let b = a", 29, "a refers to itself (a -> b -> a); nothing may", None),
        ("u(c) = conv3x3(c); net = u", 25, "u takes 1 argument (c), not 0", None),
        ("u(c, p) = conv3x3(c, pad=p); net = u(3)", 35, "u takes 2 arguments (c, p), not 1", None),
        ("u = bn; net = u(3)", 14, "u takes 0 arguments, not 1", None),
        ("let u = bn; net = u(3)", 18, "u takes 0 arguments, not 1", None),
        ("u(c) = conv3x3(c); net = u(c=3)", 27, "arguments of a rule have no keyword", None),
        ("u(c) = conv3x3(c); net = u(bn relu)", 27, f"'bn relu' stands for ops; {NUMBER}", None),
        ("a = bn; net = conv3x3(a)", 22, f"'a' stands for ops; {NUMBER}", None),
        ("net = conv3x3(<4>)", 15, None, None),
        ("net = conv3x3(<bn / relu>)", 14, f"'<bn / relu>' stands for ops; {NUMBER}", None),
        ("w = {4, 8}; net = bn w", 21, f"'w' stands for a number; {OPS}", None),
        ("w = {4, 8}; v = w; net = bn v", 28, f"'v' stands for a number; {OPS}", None),
        ("u(c) = bn c; net = u(3)", 10, f"'c' stands for a number; {OPS}", None),
        ("w(a) = {4, 8}; net = bn", 0, "w stands for numbers and takes no parameters", None),
        (
            "w = {0, 4}; net = conv3x3(w)",
            26,
            "conv3x3 takes a whole number from 1 to 10,000 as its number of output channels, not 0",
            None,
        ),
        (
            "let w = {0.5, 4}; net = conv3x3(w)",
            32,
            "conv3x3 takes a whole number from 1 to 10,000 as its number of output channels, not 0.5",
            None,
        ),
        (
            "u(c) = v(c); v(d) = bn dropout(d); net = u({0.5, 1})",
            44,
            "dropout takes a number from 0 to below 1 as its rate, not 1",
            None,
        ),
        ("net = conv3x3({4, 4})", 18, "4 stands twice in this set", None),
        ("net = conv3x3({1..5, 3})", 21, "3 stands twice in this set", None),
        ("net = conv3x3(8..4)", 14, "the range 8..4 is empty; write the lower end first", None),
        ("net = conv3x3(4..8 step 0)", 14, "the step of a range is above 0", None),
        ("net = conv3x3(1..1001)", 14, "a set holds at most 1,000 numbers", None),
        ("net = dropout(0..0.9 step 0.0000001)", 14, "a set holds at most 1,000 numbers", None),
        ("net = conv3x3({1..999, 2000..2005})", 15, "a set holds at most 1,000 numbers", None),
        ("net = conv3x3({4, 10001})", 18, "numbers go up to 10,000, not 10001", None),
        ("net = bn{3..1}", 9, "the repetition {3..1} is empty", None),
        ("net = bn{101}", 9, "a number of repetitions is a whole number from 0 to 100, not 101", None),
        ("net = bn{1.5}", 9, "a number of repetitions is a whole number from 0 to 100, not 1.5", None),
        ("net = bn{1..999999999999999999999999}", 12, "a number of repetitions is a whole number from 0 to 100", None),
        (
            "net = bn; where parms <= 3",
            16,
            "unknown metric 'parms'; known are parameters, macs, receptive_field",
            "did you mean 'parameters'?",
        ),
        (
            "net = bn; where macs <= 0.5",
            24,
            "the bound of macs is a whole number from 0 to 1,000,000,000,000, not 0.5",
            None,
        ),
        ("net = conv3x3(8, bais?)", 17, None, "did you mean 'bias'?"),
        ("net = conv3x3", 6, "conv3x3 needs its number of output channels, as in conv3x3(8)", None),
        ("net = res()", 6, None, None),
        ("net = <bn{100}>{100}", 6, "a draw of this could have more than 1,000 parts", None),
        ("a = b b b b; b = c c c c; c = bn{100}; net = a", 4, "a draw of this could have more than 1,000 parts", None),
    ],
)
def test_each_mistake_has_its_message_and_its_place(text: str, position: int, message: str | None, hint: str | None):
    with pytest.raises(NotationError) as caught:
        parse_space(text)
    assert (caught.value.position, caught.value.hint, caught.value.text) == (position, hint, text)
    assert message is None or caught.value.message == message


def test_chains_of_rules_and_brackets_together_are_limited():
    deepest = "".join(f"a{index} = a{index + 1};" for index in range(48)) + "a48 = bn; net = a0"
    assert str(only(deepest).architecture) == "bn"
    assert derives(parse_space(deepest), only(deepest).architecture)
    chain = "".join(f"a{index} = a{index + 1};" for index in range(60)) + "a60 = bn; net = a0"
    with pytest.raises(NotationError, match=r"^rules and brackets are nested more than 50 deep$"):
        parse_space(chain)
    mixed = "".join(f"a{index} = {'<' * 40}a{index + 1}{'>' * 40};" for index in range(40)) + "a40 = bn; net = a0"
    with pytest.raises(NotationError, match=r"^rules and brackets are nested more than 50 deep$"):
        parse_space(mixed)
    # Resolved first from a shallow place, then met from a deep one.
    tail = "".join(f"a{index} = a{index + 1};" for index in range(20)) + "a20 = bn;"
    assert str(only(f"{tail} net = a0").architecture) == "bn"
    with pytest.raises(NotationError, match=r"^rules and brackets are nested more than 50 deep$"):
        parse_space(f"{tail} net = a0 {'<' * 40}a0{'>' * 40}")
    numbers = "".join(f"w{index} = w{index + 1};" for index in range(60)) + "w60 = {4, 8}; net = conv3x3(w0)"
    with pytest.raises(NotationError, match=r"^rules and brackets are nested more than 50 deep$"):
        parse_space(numbers)


def test_a_draw_has_at_most_a_thousand_parts():
    # The repetition counts 1, each of its 100 rounds 1 and its 8 ops.
    full = f"net = <{'bn ' * 8}>{{0..100}} {'bn ' * 99}"
    assert parse_space(full).net.max_nodes == 1000
    with pytest.raises(NotationError, match=r"^a draw of this could have more than 1,000 parts$"):
        parse_space(f"{full} bn")


def test_many_shared_numbers_are_limited():
    lets = "".join(f"let a{index} = 1..9;" for index in range(1200))
    uses = " ".join(f"conv3x3(a{index})" for index in range(900))
    with pytest.raises(NotationError, match=r"^a draw of this could have more than 1,000 parts$"):
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

    assert derivations(found) == 2


def test_classes_are_a_number_and_no_ops():
    with pytest.raises(NotationError, match="'classes' stands for a number; ops are needed here"):
        parse_space("net = bn classes linear(10)")
