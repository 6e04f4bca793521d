"""The exported C gives all logits of the reference on an emulated Xtensa, and on RISC-V with and without vectors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.exports.c_library import Library
from harness.exports.emulated import emulate
from harness.spaces.fast_kernels import Optimisation
from measurements.exported_c import checked_emulation
from measurements.other_cores import FAMILIES, write
from tests.harness.exports.test_equality import needs, small_library

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small() -> Library:
    return small_library(weight_bits=8)


@pytest.mark.parametrize("optimise", Optimisation)
@pytest.mark.parametrize("core", FAMILIES)
def test_all_logits_equal_the_reference(small: Library, core: str, optimise: Optimisation):
    family = FAMILIES[core]
    needs(family.compiler, family.emulator[0])

    emulation = checked_emulation(replace(small, optimise=optimise), family, "-O2", write)

    # A multiply-add takes several instructions, and the clock counts all of them.
    macs = 10 * 10 * 8 * 9 + 5 * 5 * 8 * 72
    assert 2 * macs < emulation.work < 30 * macs


def test_compiler_uses_vectors(small: Library):
    families = [FAMILIES[core] for core in ("RV32IMC, clang", "RV32IMC with vectors, clang")]
    needs(families[0].compiler, families[0].emulator[0])
    library = replace(small, optimise=Optimisation.SPEED)

    plain, vector = (emulate(library, library.examples[:2], family, "-Os").work for family in families)

    assert vector < 0.9 * plain
