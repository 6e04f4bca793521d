from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from search_spaces.catalog import PRESETS, SPACES, space
from search_spaces.cost import analyse
from search_spaces.count import configurations
from search_spaces.draw import Uniform, draw, draw_uniform, enumerate_draws
from search_spaces.membership import contains, derives
from search_spaces.network import Architecture
from search_spaces.notation import parse_network
from search_spaces.ops import BatchNorm, Conv, DepthwiseConv, Op, Residual
from search_spaces.resolve import parse_space
from search_spaces.space import SearchSpace
from search_spaces.task import MNIST

SEEDS = ["seed0", "seed1", "seed2", "seed3", "seed4"]


@pytest.mark.parametrize("name", SEEDS)
def test_the_space_seeds_contains_the_five_seed_networks(name: str):
    assert contains(space("seeds"), parse_network(PRESETS[name].text))


def test_the_space_seeds_is_a_family_and_not_a_list():
    assert configurations(space("seeds")) > 10**9
    variant = PRESETS["seed4"].text.replace("conv1x1(8)", "conv1x1(16)")
    assert contains(space("seeds"), parse_network(variant))
    assert not contains(space("seeds"), parse_network(PRESETS["anchor3762"].text))


def unit(channels: int, tie: str = "") -> str:
    return f"conv3x3({channels}{tie and ', tie='}{tie}) bn relu "


@pytest.mark.parametrize(
    ("blocks", "parameters"),
    [
        ((unit(4) * 3, unit(8) * 3, unit(8) * 3), 3702),
        ((unit(4) + unit(4, "a") * 2, unit(12) + unit(12, "b") * 2, unit(12, "b") * 4), 2230),
        ((unit(10) + unit(10, "b") * 2, unit(10, "b") * 3, unit(10, "b") * 3), 1280),
        ((unit(8) + unit(8, "b") * 3, unit(8, "b") * 4, unit(8, "b") * 4), 930),
    ],
)
def test_the_space_tied_contains_the_networks_whose_region_it_is(blocks: tuple[str, ...], parameters: int):
    network = parse_network(" | maxpool | ".join(blocks) + "| gap | linear(10)")
    assert analyse(network, MNIST).parameters == parameters
    assert contains(space("tied"), network)


@pytest.mark.parametrize(("few", "parameters"), [(12, 1940), (8, 1500)])
def test_the_space_posed_contains_the_networks_whose_region_it_is(few: int, parameters: int):
    again = f"res(conv1x1({few}, poses=4, tie=c) conv3x3(40, poses=4, tie=b) bn(poses=4)) relu "
    text = (
        f"conv3x3(40, poses=4) bn(poses=4) relu | avgpool | conv1x1({few}, poses=4) conv3x3(40, poses=4, tie=b) "
        f"bn(poses=4) relu {again} | avgpool | {3 * again} | gap | linear(10)"
    )
    network = parse_network(text)
    assert analyse(network, MNIST).parameters == parameters
    assert contains(space("posed"), network)


@pytest.mark.parametrize("name", SPACES)
def test_spaces_contain_what_they_draw_and_not_its_neighbours_elsewhere(name: str):
    rng = random.Random(4)
    for _ in range(20):
        network = draw_uniform(space(name), rng).architecture
        assert contains(space(name), network)
        assert contains(space(name), parse_network(str(network)))
        # No space has a width of 11, and none puts two bn in a row.
        assert not derives(space(name), Architecture((Conv(3, 11), *network.ops)))
        assert not derives(space(name), Architecture((*network.ops, BatchNorm())))


def varied(ops: tuple[Op, ...], rng: random.Random) -> tuple[Op, ...]:
    """Ops with one small change: one taken out, doubled, or one of its fields changed."""
    if not ops:
        return (BatchNorm(),)
    place = rng.randrange(len(ops))
    op = ops[place]
    match op:
        case Residual() if rng.random() < 0.7:
            return (*ops[:place], Residual(varied(op.ops, rng)), *ops[place + 1 :])
        case Conv() if rng.random() < 0.7:
            kept = rng.choice(
                [
                    replace(op, out_channels=rng.choice([4, 6, 8])),
                    replace(op, bias=not op.bias),
                    replace(op, tie=rng.choice([None, "t1", "t2"])),
                    replace(op, padding=rng.choice([0, 1])),
                ]
            )
            return (*ops[:place], kept, *ops[place + 1 :])
    return rng.choice([(*ops[:place], *ops[place + 1 :]), (*ops[:place], op, op, *ops[place + 1 :])])


@given(st.from_type(SearchSpace), st.integers(0, 1000))
def test_membership_equals_enumeration(found: SearchSpace, seed: int):
    assume(configurations(found) <= 300)
    networks = {each.architecture for each in enumerate_draws(found)}
    rng = random.Random(seed)
    some = rng.sample(sorted(networks, key=str), min(len(networks), 8))
    for network in some:
        assert derives(found, network)
        neighbour = Architecture(varied(network.ops, rng))
        assert derives(found, neighbour) == (neighbour in networks)


@given(st.from_type(SearchSpace), st.integers(0, 1000))
def test_every_draw_of_a_large_space_is_derived(found: SearchSpace, seed: int):
    assert derives(found, draw(found, Uniform(random.Random(seed))).architecture)


# Spaces in which parts far apart depend on each other; each is compared with its enumeration.
ENTANGLED = [
    "let c = {4, 8}; net = conv3x3(c) bn? conv3x3(c) linear(10)",
    "let c = {4, 8}; let d = c; net = conv3x3(c) conv3x3(d) linear(10)",
    "let c = {4, 8}; d = c; u(e) = conv3x3(e) conv1x1(d); net = u(c) u({4, 8})",
    "let r = {0, 0.1}; net = dropout(r) bn dropout2d(r) relu dropout(r)",
    "u(r) = dropout(r) bn? dropout(r); net = u({0, 0.1}){1..2}",
    "let s = <bn / relu> bn?; net = s conv3x3(4) s",
    "let s = <dropout({0, 0.1}) / > bn?; net = s relu s",
    "let s = conv3x3({4, 8}, tie=a?); net = s s? s",
    "let s = <conv3x3(4, tie=a) / conv3x3(4, tie=b)>; net = s bn s",
    "let s = <conv3x3(4, tie=a) / conv3x3(4, tie=b) / conv3x3(4)>; net = s bn s? conv3x3(4, tie=b)?",
    "let s = res(conv3x3(4, tie=a?) dropout({0, 0.1})); net = s? bn s conv3x3(4, tie=a)?",
    "let i = <bn / relu>; let o = i conv3x3({4, 8}) i; net = o i o",
    "let i = res(<bn / relu>?); let o = <i / res(i)>; net = o i res(o) bn?",
    "net = conv3x3(4, tie=a?){1..3} conv3x3(4, tie=b?){0..2}",
    "net = <conv3x3(4, tie=a) conv3x3(4, tie=b) / conv3x3(4, tie=b)>{1..2} conv3x3(4, tie=a)?",
    "net = dwconv3x3(tie=a?) res(dwconv3x3(tie=a) bn?) dwconv3x3(tie=b?)",
    "u(c) = conv3x3(c, tie=a) v(c){0..2}; v(d) = res(conv3x3(d, tie=b?)); net = u({4, 8})",
    "net = <bn / bn relu / bn relu bn>{1..2} <bn / relu>?",
    "net = <bn{0..2}>{0..2} relu < / bn>",
    "net = maxpool({2, 3}) avgpool gap? linear({9, 10}) <| bn |>?",
    "net = conv3x3(8, poses={1, 2, 4}) bn(poses={1, 2})? bn",
    "let s = leaky({0.1, 0.2}); let n = bn(unscaled?); net = s n conv3x1(4, groups={1, 2}) n? s",
    "net = <conv3x1(4, tie=a) / conv1x3(4, tie=b)>{1..2} prelu? unshuffle({2, 3})?",
]


@pytest.mark.parametrize("text", ENTANGLED)
def test_entangled_spaces_are_recognised_exactly(text: str):
    found = parse_space(text)
    networks = {each.architecture for each in enumerate_draws(found)}
    assert all(derives(found, network) for network in networks)
    rng = random.Random(0)
    outside = 0
    for network in sorted(networks, key=str):
        for _ in range(12):
            neighbour = Architecture(varied(network.ops, rng))
            assert derives(found, neighbour) == (neighbour in networks)
            outside += neighbour not in networks
    assert outside


def test_the_spelling_of_a_network_does_not_matter():
    found = parse_space("let r = {0, 0.1}; net = conv3x3({4, 8}, pad=1, stride=1, tie=x) dropout(r) | gap linear(10)")
    assert contains(found, parse_network("conv3x3(8) gap linear(10)"))
    assert contains(found, parse_network("conv3x3(4, tie=alone) | dropout(0.10) gap | linear(10)"))
    assert not contains(found, parse_network("conv3x3(4, pad=0) gap linear(10)"))
    assert not contains(found, parse_network("conv3x3(4) dropout2d(0.1) gap linear(10)"))
    assert not contains(found, parse_network("dwconv3x3 gap linear(10)"))


def test_conditions_belong_to_membership():
    found = parse_space("net = conv3x3(4..8) gap linear(10); where parameters <= 100")
    assert contains(found, parse_network("conv3x3(4) gap linear(10)"))
    assert not contains(found, parse_network("conv3x3(8) gap linear(10)"))
    assert derives(found, parse_network("conv3x3(8) gap linear(10)"))


def test_ops_that_do_not_fit_together_belong_to_no_space():
    found = parse_space("net = conv3x3(4) gap?")
    assert derives(found, Architecture((Conv(3, 4),)))
    assert not contains(found, Architecture((Conv(3, 4),)))


def test_repetition_of_ambiguous_parts_is_read_in_reasonable_time():
    found = parse_space("let r = {0, 0.1}; u = <bn / relu / bn relu / dropout(r)>; net = u{0..60} linear(10)")
    assert derives(found, parse_network("bn relu " * 30 + "linear(10)"))
    assert not derives(found, parse_network("bn relu " * 30 + "gap linear(10)"))


def test_depthwise_ops_are_told_from_full_ones():
    found = parse_space("net = dwconv3x3(pad={0, 1}, bias?)")
    assert derives(found, Architecture((DepthwiseConv(0, 1, True),)))
    assert not derives(found, Architecture((DepthwiseConv(2),)))
    assert not derives(found, Architecture((Conv(3, 1),)))
