r"""The smallest model of this bench, worked out by hand: two inputs, two hidden and two output units, eight weights.

    i1 --w1--> h1 -> a_h1 --w5--> o1 -> a_o1 -> E1 \
       --w3--> h2 -> a_h2 --w6--> o1                E_total
    i2 --w2--> h1           w7--> o2 -> a_o2 -> E2 /
       --w4--> h2           w8--> o2

Every unit is a sigmoid, there are no biases, the loss is half the squared error of one example. Names are those of the
source documents: ``h1`` is what enters a unit, ``a_h1`` what leaves it, and ``dE_dw1`` is the partial derivative of
``E_total`` with respect to ``w1``. docs/backprop.md derives each line; harness/toy/gradient_check.py tests them against
autograd and central differences. Plain Python, so that nothing is hidden in a library; no torch, no NumPy.

    >>> round(forward(WEIGHTS, EXAMPLE).E_total, 9)
    0.242519857
    >>> [round(loss, 6) for loss in losses(WEIGHTS, EXAMPLE, learning_rate=2.0, updates=2)]
    [0.24252, 0.214902, 0.189879]
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice


@dataclass(frozen=True, slots=True)
class Weights:
    """The eight parameters: w1 to w4 enter the hidden units, w5 to w8 the output units."""

    w1: float
    w2: float
    w3: float
    w4: float
    w5: float
    w6: float
    w7: float
    w8: float


@dataclass(frozen=True, slots=True)
class Example:
    """What is shown to the network, ``i``, and what it should answer, ``t``."""

    i1: float
    i2: float
    t1: float
    t2: float


@dataclass(frozen=True, slots=True)
class Forward:
    """All quantities of a forward pass, in the order in which they are computed."""

    h1: float
    h2: float
    a_h1: float
    a_h2: float
    o1: float
    o2: float
    a_o1: float
    a_o2: float
    E1: float
    E2: float
    E_total: float


@dataclass(frozen=True, slots=True)
class Backward:
    """All partial derivatives of a backward pass, in the order in which they are computed; the last eight are used."""

    dE_da_o1: float
    dE_da_o2: float
    da_o1_do1: float
    da_o2_do2: float
    dE_do1: float
    dE_do2: float
    dE_dw5: float
    dE_dw6: float
    dE_dw7: float
    dE_dw8: float
    dE_da_h1: float
    dE_da_h2: float
    da_h1_dh1: float
    da_h2_dh2: float
    dE_dh1: float
    dE_dh2: float
    dE_dw1: float
    dE_dw2: float
    dE_dw3: float
    dE_dw4: float


PARAMETERS = 8
# The numbers that all five source documents begin with.
WEIGHTS = Weights(w1=0.15, w2=0.20, w3=0.25, w4=0.30, w5=0.40, w6=0.45, w7=0.50, w8=0.55)
EXAMPLE = Example(i1=0.05, i2=0.10, t1=0.01, t2=0.99)
LEARNING_RATES = (0.1, 0.2, 0.5, 0.8, 1.0, 2.0)


def sigmoid(x: float) -> float:
    """Return 1 / (1 + exp(-x)), written so that no exponential overflows."""
    if x < 0:
        grown = math.exp(x)
        return grown / (1 + grown)
    return 1 / (1 + math.exp(-x))


def forward(w: Weights, example: Example) -> Forward:
    """Run the network on its example."""
    i1, i2, t1, t2 = example.i1, example.i2, example.t1, example.t2
    h1 = w.w1 * i1 + w.w2 * i2
    h2 = w.w3 * i1 + w.w4 * i2
    a_h1 = sigmoid(h1)
    a_h2 = sigmoid(h2)
    o1 = w.w5 * a_h1 + w.w6 * a_h2
    o2 = w.w7 * a_h1 + w.w8 * a_h2
    a_o1 = sigmoid(o1)
    a_o2 = sigmoid(o2)
    E1 = 1 / 2 * (t1 - a_o1) * (t1 - a_o1)
    E2 = 1 / 2 * (t2 - a_o2) * (t2 - a_o2)
    return Forward(h1, h2, a_h1, a_h2, o1, o2, a_o1, a_o2, E1, E2, E_total=E1 + E2)


def backward(w: Weights, example: Example, f: Forward) -> Backward:
    """Differentiate ``E_total`` from the loss back to the inputs; each line is one use of the chain rule."""
    # E1 = 1/2 (t1 - a_o1)^2: the 2 of the square cancels the half, the inner derivative is -1. E2 has no a_o1 in it.
    dE_da_o1 = f.a_o1 - example.t1
    dE_da_o2 = f.a_o2 - example.t2
    # A sigmoid's slope, from its own output: a' = a (1 - a).
    da_o1_do1 = f.a_o1 * (1 - f.a_o1)
    da_o2_do2 = f.a_o2 * (1 - f.a_o2)
    # dE/do1 = dE/da_o1 * da_o1/do1
    dE_do1 = dE_da_o1 * da_o1_do1
    dE_do2 = dE_da_o2 * da_o2_do2
    # dE/dw5 = dE/do1 * do1/dw5, and o1 = w5 a_h1 + w6 a_h2, so do1/dw5 is a_h1: what entered, not h1.
    dE_dw5 = dE_do1 * f.a_h1
    dE_dw6 = dE_do1 * f.a_h2
    dE_dw7 = dE_do2 * f.a_h1
    dE_dw8 = dE_do2 * f.a_h2
    # a_h1 reaches the loss on two paths, through o1 by w5 and through o2 by w7: their derivatives add up.
    dE_da_h1 = dE_do1 * w.w5 + dE_do2 * w.w7
    dE_da_h2 = dE_do1 * w.w6 + dE_do2 * w.w8
    da_h1_dh1 = f.a_h1 * (1 - f.a_h1)
    da_h2_dh2 = f.a_h2 * (1 - f.a_h2)
    # dE/dh1 = dE/da_h1 * da_h1/dh1: the slope multiplies the whole sum.
    dE_dh1 = dE_da_h1 * da_h1_dh1
    dE_dh2 = dE_da_h2 * da_h2_dh2
    # h1 = w1 i1 + w2 i2, so dh1/dw1 is i1.
    dE_dw1 = dE_dh1 * example.i1
    dE_dw2 = dE_dh1 * example.i2
    dE_dw3 = dE_dh2 * example.i1
    dE_dw4 = dE_dh2 * example.i2
    return Backward(
        dE_da_o1, dE_da_o2, da_o1_do1, da_o2_do2, dE_do1, dE_do2, dE_dw5, dE_dw6, dE_dw7, dE_dw8,
        dE_da_h1, dE_da_h2, da_h1_dh1, da_h2_dh2, dE_dh1, dE_dh2, dE_dw1, dE_dw2, dE_dw3, dE_dw4,
    )  # fmt: skip


def update(w: Weights, slope: Backward, learning_rate: float) -> Weights:
    """Return the weights one step of gradient descent later: all from the old ones, all at once."""
    return Weights(
        w1=w.w1 - learning_rate * slope.dE_dw1,
        w2=w.w2 - learning_rate * slope.dE_dw2,
        w3=w.w3 - learning_rate * slope.dE_dw3,
        w4=w.w4 - learning_rate * slope.dE_dw4,
        w5=w.w5 - learning_rate * slope.dE_dw5,
        w6=w.w6 - learning_rate * slope.dE_dw6,
        w7=w.w7 - learning_rate * slope.dE_dw7,
        w8=w.w8 - learning_rate * slope.dE_dw8,
    )


@dataclass(frozen=True, slots=True)
class Step:
    """The network after some updates, with its forward and its backward pass."""

    weights: Weights
    forward: Forward
    backward: Backward


def train(weights: Weights, example: Example, learning_rate: float) -> Iterator[Step]:
    """Yield the network before the first update, after the first, the second, and so on without end."""
    while True:
        passed = forward(weights, example)
        slope = backward(weights, example, passed)
        yield Step(weights, passed, slope)
        weights = update(weights, slope, learning_rate)


def losses(weights: Weights, example: Example, learning_rate: float, updates: int) -> list[float]:
    """Return ``E_total`` before the first update and after each: ``updates`` + 1 numbers."""
    return [step.forward.E_total for step in islice(train(weights, example, learning_rate), updates + 1)]
