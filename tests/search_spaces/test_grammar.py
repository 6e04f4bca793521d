from __future__ import annotations

import time
from collections.abc import Callable
from importlib import resources
from typing import Literal

import lark
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.lark import from_lark

from search_spaces.errors import NotationError, SearchSpaceError
from search_spaces.grammar import _LONGEST_TEXT, read
from search_spaces.notation import parse_network
from search_spaces.resolve import parse_space

GRAMMAR = lark.Lark(
    resources.files("search_spaces").joinpath("notation.lark").read_text("utf-8"),
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


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("", ""),
        ("bn\r\n\trelu\f# comment ( < \r\n|gap", "bn relu | gap"),
        ("conv3x3 ( 8 ,pad = 0, bias ,tie=a )", "conv3x3(8, pad=0, bias, tie=a)"),
        ("bn()", "bn"),
        ("dropout(00.0500)", "dropout(0.05)"),
        ("res( bn|relu )", "res(bn | relu)"),
    ],
)
def test_a_network_has_one_normal_form(text: str, normal: str):
    assert str(read(text, "network")) == normal


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("bn", "bn"),
        ("net=bn", "net = bn;\n"),
        ("let a={1,2..8 step 3};net=<a/|b/>?", "let a = {1, 2..8 step 3};\nnet = <a / | b / >?;\n"),
        ("u(c)=x(c,pad={0,1}){1..3}<bn>{2}; net=u(4..16 step 2.0);", None),
        ("where parameters<=20000,macs > 5;\n net = u", "where parameters <= 20000, macs > 5;\nnet = u;\n"),
        ("letter = wherever", "letter = wherever;\n"),
        ("step = {1..2 step 1}", "step = {1..2 step 1};\n"),
    ],
)
def test_a_space_has_one_normal_form(text: str, normal: str | None):
    if normal is None:
        normal = "u(c) = x(c, pad={0, 1}){1..3} <bn>{2};\nnet = u(4..16 step 2);\n"
    assert str(read(text, "space")) == normal


@pytest.mark.parametrize(
    ("start", "marked", "hint"),
    [
        ("network", "conv3x3(8^", None),
        ("network", "^8", None),
        ("network", "conv3x3(8,^)", None),
        ("network", "conv3x3(1^e4)", None),
        ("network", "net ^= bn", "choices and definitions belong to a search space"),
        ("network", "^let a = 3", "choices and definitions belong to a search space"),
        ("network", "bn{^}", None),
        ("network", "conv3x3(^-8)", None),
        ("network", "conv3^\u00d73(8)", None),
        ("network", "bn^\x00", None),
        ("network", "^\ud800", None),
        ("network", "dropout(^.5)", None),
        ("space", "a = bn b ^= gap", "a ';' may be missing before this definition"),
        ("space", "a = bn ^where parameters <= 3", "a ';' may be missing at the end of the statement before"),
        ("space", "a = ^;", None),
        ("space", "a = <bn / relu^", None),
        ("space", "a = bn{1..2}^{3}", None),
        ("space", "where parameters ^= 3", None),
        ("space", "where macs <= ^many", None),
        ("space", "a = {4, ^b}", None),
    ],
)
def test_texts_that_break_the_grammar(start: Literal["network", "space"], marked: str, hint: str | None):
    with pytest.raises(NotationError) as caught:
        read(marked.replace("^", ""), start)
    assert (caught.value.position, caught.value.hint) == (marked.index("^"), hint)


@pytest.mark.parametrize("opening", ["res(", "<", "<bn / res("])
def test_deep_nesting_is_refused_before_it_costs_stack(opening: str):
    with pytest.raises(NotationError, match="more than 50 deep"):
        read(opening * 10_000, "space")
    deep = "res(" * 50 + "bn" + ")" * 50
    assert str(read(f"{deep} {deep}", "network")) == f"{deep} {deep}"


def test_brackets_in_comments_and_conditions_do_not_nest():
    assert len(str(read("net = bn; # " + "(" * 100 + "\nwhere " + "macs < 3, " * 20 + "macs <= 3", "space"))) > 20


def test_long_texts_are_refused_and_the_longest_are_read_fast():
    with pytest.raises(NotationError, match="at most 100,000"):
        read(" " * (_LONGEST_TEXT + 1), "network")
    begin = time.perf_counter()
    assert len(read("bn " * (_LONGEST_TEXT // 3), "network").items) == _LONGEST_TEXT // 3
    assert time.perf_counter() - begin < 10


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(from_lark(GRAMMAR, start="network", explicit=WORDS))
def test_any_text_of_the_grammar_is_a_network_or_one_clear_error(text: str):
    assert str(read(str(read(text, "network")), "network")) == str(read(text, "network"))
    _parsed_or_refused(parse_network, text)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(from_lark(GRAMMAR, start="space", explicit=WORDS))
def test_any_text_of_the_grammar_is_a_space_or_one_clear_error(text: str):
    _parsed_or_refused(parse_space, text)


@given(st.text(alphabet=st.sampled_from("conv3x(8) bn|<>/?{}.,=;#\n\té0"), max_size=30))
def test_any_text_at_all_is_read_or_refused(text: str):
    _parsed_or_refused(parse_network, text)
    _parsed_or_refused(parse_space, text)


def _parsed_or_refused(parse: Callable[[str], object], text: str) -> None:
    refusal: SearchSpaceError | None = None
    try:
        parse(text)
    except SearchSpaceError as error:
        refusal = error
    if refusal is not None:
        assert refusal.message
        assert "\n" not in refusal.message
        assert refusal.position is not None
        assert 0 <= refusal.position <= len(text)
        assert refusal.text == text
