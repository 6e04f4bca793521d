"""Comparison with CMSIS-NN: arithmetic of the reference, and instructions of single steps on emulated chips."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from harness.exports.c_library import Library, files_of
from harness.exports.emulated import emulate
from harness.spaces.fast_kernels import Optimisation
from harness.spaces.notation import parse_network
from harness.system.errors import HarnessError
from harness.training.integer import integer_logits
from measurements.cmsis_nn import CORES, requantised, step_work, timed
from measurements.exported_c import random_library
from tests.browser import skip_or_fail


@pytest.fixture(scope="module")
def library() -> Library:
    network = parse_network("conv3x3(4, stride=2) bn relu | conv3x3(4, pad=0) bn relu | gap | linear(10)")
    return replace(random_library(network), optimise=Optimisation.SPEED)


@pytest.mark.parametrize(
    ("sums", "shift", "outputs"),
    [([3, 1, -1, -3], 0, [2, 1, 0, -1]), ([2, -2, 10, -10], -1, [1, -1, 3, -3]), ([5, -5], -1, [2, -1])],
)
def test_requantisation_rounds_twice(sums: list[int], shift: int, outputs: list[int]):
    """With multipliers of one half: first halves upwards, then halves away from zero."""
    half = np.array(2**30)

    assert requantised(np.array(sums), half, np.array(shift)).tolist() == outputs


@pytest.mark.parametrize("core", CORES)
def test_instructions_of_steps_sum_to_those_of_the_network(library: Library, core: str):
    family = CORES[core]
    for program in (f"{family.tool_prefix}-gcc", family.emulator[0]):
        if shutil.which(program) is None:
            skip_or_fail(f"{program} is not installed")
    steps = len(library.network.plan.steps)
    text = timed(files_of(library)["src/network.c"], steps)
    logits = integer_logits(library.network, library.examples)[0].tolist()

    works = step_work(library, text, family, "-O2", logits)

    assert len(works) == steps
    assert works[:2].min() > 10_000
    if core == "Cortex-M4":  # the C without ``timed`` does not start a Cortex-M55
        assert works.sum() == pytest.approx(emulate(library, library.examples, family, "-O2").work, rel=0.01)
    with pytest.raises(HarnessError, match="wrong numbers"):
        step_work(library, text, family, "-O2", [logits[0] + 1, *logits[1:]])


def test_text_without_a_step_is_refused(library: Library):
    steps = len(library.network.plan.steps)

    with pytest.raises(HarnessError, match="steps"):
        timed(files_of(library)["src/network.c"], steps + 1)
