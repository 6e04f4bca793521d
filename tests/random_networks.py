"""Strategies for random networks and spaces: ``st.from_type(Architecture)`` and ``st.from_type(SearchSpace)``."""

from __future__ import annotations

from hypothesis import strategies as st

from harness.spaces.network import MNIST, Architecture
from harness.spaces.notation import parse_space
from harness.spaces.ops import (
    AvgPool,
    BatchNorm,
    Conv,
    DepthwiseConv,
    Dropout,
    Dropout2d,
    GlobalAvgPool,
    LeakyReLU,
    Linear,
    MaxPool,
    Op,
    PReLU,
    ReLU,
    Residual,
    Shape,
    Swish,
    Unshuffle,
)
from harness.spaces.space import SearchSpace
from harness.spaces.space_errors import ShapeError

RATES = st.sampled_from([0.0, 0.05, 0.069, 0.1, 0.25, 0.00001])
PLAIN_OPS = st.one_of(
    st.builds(ReLU),
    st.builds(PReLU),
    st.builds(Swish),
    st.builds(LeakyReLU, st.sampled_from([0.1, 0.01, 0.3])),
    st.builds(Dropout, RATES),
    st.builds(Dropout2d, RATES),
    st.builds(MaxPool, st.integers(1, 3)),
    st.builds(AvgPool, st.integers(1, 3)),
    st.builds(Unshuffle, st.integers(2, 3)),
)


HEADS: list[tuple[Op, ...]] = [(GlobalAvgPool(), Linear(10)), (Conv(1, 10), GlobalAvgPool()), (Linear(10),)]


@st.composite
def kernels(draw: st.DrawFn, channels: int) -> Op:
    """Return a convolution of ``channels`` input channels; all kernels of a tie have the same shape."""
    stride, bias, has_tie = draw(st.integers(1, 2)), draw(st.booleans()), draw(st.booleans())
    if draw(st.integers(0, 3)) == 0:
        poses = draw(st.sampled_from([count for count in (1, 1, 2, 4, 8) if channels % count == 0]))
        tie = f"d{channels // poses}" if has_tie else None
        return DepthwiseConv(draw(st.integers(0, 2)), stride, bias, tie, poses)
    rows, columns = draw(st.sampled_from([(1, 1), (3, 3), (5, 5), (3, 1), (1, 3)]))
    out = draw(st.sampled_from([1, 4, 8, 10]))
    groups = draw(st.sampled_from([count for count in (1, 1, 2, 4, 5) if channels % count == out % count == 0]))
    parts = channels // groups, out // groups
    counts = [count for count in (1, 1, 2, 4, 8) if parts[1] % count == 0 and (parts[0] == 1 or parts[0] % count == 0)]
    poses = draw(st.sampled_from(counts)) if rows == columns else 1
    # Tied ops share the shape of the learned kernel, but may differ in groups and poses.
    tie = f"k{rows}_{columns}_{parts[0]}_{out // poses}" if has_tie else None
    return Conv(rows, out, draw(st.integers(0, 3)), stride, bias, tie, columns, groups, poses)


@st.composite
def norms(draw: st.DrawFn, channels: int) -> Op:
    """Return a normalisation of ``channels`` channels; all norms of a tie have the same number of scales and shifts."""
    poses = draw(st.sampled_from([count for count in (1, 1, 2, 4, 8) if channels % count == 0]))
    unscaled = draw(st.booleans())
    tie = draw(st.sampled_from([None, f"n{channels // poses}_{unscaled}"]))
    return BatchNorm(unscaled, poses, poses > 1 and draw(st.booleans()), tie)


@st.composite
def residuals(draw: st.DrawFn, channels: int) -> Op:
    rows, columns = draw(st.sampled_from([(1, 1), (3, 3), (1, 3)]))
    tie = draw(st.sampled_from([None, f"k{rows}_{columns}_{channels}_{channels}"]))
    inner: list[Op] = [Conv(rows, channels, tie=tie, kernel_width=columns)]
    inner.extend(
        draw(st.lists(st.sampled_from([BatchNorm(), ReLU(), LeakyReLU(), PReLU(), Swish(), Dropout(0.0)]), max_size=2))
    )
    return Residual(tuple(inner), draw(st.sampled_from([(), (1,)])))


@st.composite
def networks(draw: st.DrawFn) -> Architecture:
    ops: list[Op] = []
    shape: Shape = MNIST.input_shape
    for _ in range(draw(st.integers(0, 8))):
        op = draw(st.one_of(PLAIN_OPS, norms(shape[0]), kernels(shape[0]), residuals(shape[0])))
        try:
            output_shape = op.shape(shape)
        except ShapeError:
            continue
        # Repeated unshuffles would give more channels than realistic networks have.
        if output_shape[0] <= 64:
            ops.append(op)
            shape = output_shape
    ops.extend(draw(st.sampled_from(HEADS)))
    return Architecture(tuple(ops), tuple(sorted(draw(st.sets(st.integers(0, len(ops)), max_size=3)))))


# Texts of parts of spaces. Parsing a space does not check shapes, so all combinations can be parsed.
VALUES = st.sampled_from(["4", "{4, 8}", "{1, 2..6 step 2}", "2..3", "width", "c"])
LEAVES = st.one_of(
    st.sampled_from(["bn", "relu", "leaky({0.1, 0.2})", "norm", "unit(4)", "maxpool?", "dropout(rate)", "|"]),
    st.sampled_from(["dropout({0, 0.1})", "bn(unscaled?)", "bn(poses={1, 2})", "bn(poses=2, shared?)"]),
    st.builds("conv3x3({}, bias?)".format, VALUES),
    st.builds("conv1x1({}, tie=a?)".format, VALUES),
    st.builds("conv3x1({}, pad={{0, 1}})".format, VALUES),
    st.builds("conv3x3({}, groups={{1, 2}})".format, VALUES),
    st.builds("conv3x3({}, poses={{1, 2, 4}})".format, VALUES),
    st.builds("unit({})".format, VALUES),
)


def _combinations(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("<{} / {}>".format, parts, parts),
        st.builds("<{}>?".format, parts),
        st.builds("<{}>{{{}}}".format, parts, st.sampled_from(["2", "0..1", "1..2"])),
        st.builds("res({})".format, parts),
        st.builds("{} {}".format, parts, parts),
    )


PARTS = st.recursive(LEAVES, _combinations, max_leaves=4)


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """Return a space of random constructs of the notation; most spaces are small enough to be enumerated."""
    norm, unit, net = draw(PARTS), draw(PARTS), draw(PARTS)
    text = f"""
        let c = {{4, 8}};                       # a shared number
        let rate = {draw(st.sampled_from(["{0, 0.1}", "0", "0.05"]))};
        let norm = {norm.replace("norm", "bn").replace("unit", "conv3x3")};
        width = {{4, 6}};
        unit(c) = {unit.replace("unit", "conv3x3")};
        net = conv3x3(4) {net} | <gap | linear(10) / conv1x1(10) | gap>;
        where {draw(st.sampled_from(["parameters <= 20000", "parameters < 500, receptive_field >= 4"]))}
    """
    return parse_space(text, "random")


st.register_type_strategy(Architecture, networks())
st.register_type_strategy(SearchSpace, spaces())
