"""Chips: the table equals the data sheets, limits equal hand computations, and networks fit or do not fit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.spaces.chips import CHIPS, Fit, chip_named, fitting
from harness.spaces.cores import CORES, Core, Repetitions
from harness.spaces.fast_kernels import Optimisation
from harness.spaces.network import MNIST, Analysis, Task, analyse
from harness.spaces.notation import parse_network
from harness.spaces.space import Metric, measured
from harness.spaces.space_errors import UnknownNameError
from measurements import instructions

SMALL = "conv3x3(4) bn relu | maxpool(4) | gap | linear(10)"
LARGE = "conv3x3(64) bn relu conv3x3(64) bn relu | gap | linear(10)"
# Flash in KiB, RAM in bytes and clock in MHz of all chips, from the data sheets.
SHEETS = {
    "microbit-v1": (256, 16_384, 16),
    "ATmega328P": (32, 2_048, 16),
    "CH32V003": (16, 2_048, 48),
    "RP2040": (2_048, 264 * 1_024, 133),
    "SAMD21G18": (256, 32 * 1_024, 48),
    "nRF52832": (512, 65_536, 64),
    "nRF52840": (1_024, 256 * 1_024, 64),
    "STM32F030F4": (16, 4_096, 48),
    "STM32F103C8": (64, 20 * 1_024, 72),
    "STM32L432KC": (256, 65_536, 80),
    "ESP32-C3": (4_096, 400 * 1_024, 160),
    "RP2350": (4_096, 520 * 1_024, 150),
    "STM32F746NG": (1_024, 320 * 1_024, 216),
    "RA8M1": (2_048, 1_024 * 1_024, 480),
}


def analysed(text: str, task: Task = MNIST) -> Analysis:
    return analyse(parse_network(text), task)


def test_table_equals_data_sheets_and_names_sources():
    figures = {name: (chip.flash_bytes / 1_024, chip.ram_bytes, chip.clock_hz / 1e6) for name, chip in CHIPS.items()}

    assert figures == SHEETS
    for chip in CHIPS.values():
        assert chip.title
        assert any(word in chip.source for word in ("Datasheet", "Product Specification")), chip
        # The program without weights fits on every chip.
        assert 0 < chip.core.program_bytes < chip.flash_bytes


@pytest.mark.parametrize(
    ("name", "task", "limits"),
    [
        # 16,384 - 3,156; 2,048 - 824 (stack) - 784 (image).
        ("CH32V003", MNIST, ["weight_bytes <= 13228", "ram_bytes <= 440"]),
        # 262,144 - 3,108; 16,384 - 832 - 3 x 32 x 32.
        ("microbit-v1", Task((3, 32, 32), 7), ["weight_bytes <= 259036", "ram_bytes <= 12480"]),
    ],
)
def test_limits_are_memory_without_program_image_and_stack(name: str, task: Task, limits: list[str]):
    assert list(map(str, CHIPS[name].limits(task))) == limits


@pytest.mark.parametrize("name", CHIPS)
@pytest.mark.parametrize("text", [SMALL, LARGE])
@pytest.mark.parametrize("task", [MNIST, Task((1, 8, 8), 10)])
def test_network_within_limits_of_a_chip_fits(name: str, text: str, task: Task):
    analysis = analysed(text, task)
    within_limits = all(limit.holds(measured(analysis, limit.metric)) for limit in CHIPS[name].limits(task))

    # The limits reserve 588 bytes of stack for the buffers of convolutions; larger buffers need more.
    if within_limits and analysis.plan.buffers.size <= 588:
        assert CHIPS[name] in fitting(analysis)
    assert ("does not fit" in str(Fit(CHIPS[name], analysis))) == (CHIPS[name] not in fitting(analysis))


def test_memory_of_a_network_equals_count_by_hand():
    # A window of 9 bytes, 9 inputs of 2 bytes, 4 results of 4 bytes.
    fit = Fit(CHIPS["ATmega328P"], analysed(SMALL, Task((1, 8, 8), 10)))

    assert fit.total_ram_bytes == 233 + (9 + 18 + 16) + 64 + 4 * 2 * 2
    # Optimised for speed: 10 columns of 3 bytes, with a sum of 4 bytes each; 2 x 4 results, 8 x 4 sums and 4 initial
    # sums of 4 bytes each.
    fast = replace(fit, optimise=Optimisation.SPEED)
    speed_stack_bytes = CORES["avr"].costs(Optimisation.SPEED).stack_bytes
    assert fast.total_ram_bytes == speed_stack_bytes + 30 + 4 * (10 + 8 + 32 + 4) + 64 + 4 * 2 * 2
    # Each kernel is packed into whole bytes.
    packed = replace(fit, analysis=replace(fit.analysis, weight_bits=3))
    kernels = [math.prod(kernel.form.shape) for kernel in fit.analysis.plan.kernels]
    saved_bytes = sum(count - math.ceil(3 * count / 8) for count in kernels)
    assert packed.total_flash_bytes == fit.total_flash_bytes - saved_bytes
    packed_fast = replace(packed, optimise=Optimisation.SPEED)
    assert packed_fast.total_flash_bytes == fast.total_flash_bytes - saved_bytes
    # Weights of fewer than 8 bits are on the stack: for each pair of filters and each of 9 places a number of 4 bytes.
    assert packed_fast.total_ram_bytes == fast.total_ram_bytes + 2 * 9 * 4


def test_lack_states_missing_bytes():
    analysis = analysed(LARGE)
    fit = Fit(CHIPS["CH32V003"], analysis)

    assert fit.lack == (
        f"{analysis.weight_bytes - 13_228:,} bytes of flash and "
        f"{236 + 576 + 2 * 576 + 4 * 64 + 784 + analysis.ram_bytes - 2_048:,} bytes of RAM"
    )
    assert Fit(CHIPS["RP2040"], analysis).lack == ""


def test_milliseconds_follow_from_multiply_adds():
    # 784 x 9 x 4 + 4 x 10 multiply-adds with 14.8 cycles each, at 16 MHz.
    core = Core(program_bytes=3_108, stack_bytes=244, cycles_a_mac=14.8)
    fit = Fit(replace(CHIPS["microbit-v1"], core=core), analysed(SMALL))

    assert fit.milliseconds == pytest.approx(26.144, abs=0.001)
    assert str(fit).endswith("26 ms at 16 MHz")


def test_chip_names_ignore_case_and_errors_suggest_nearest_name():
    assert chip_named("ch32v003") is CHIPS["CH32V003"]
    with pytest.raises(UnknownNameError, match=r"unknown chip 'CH32V03'; .*microbit-v1, ") as error:
        chip_named("CH32V03")
    assert error.value.hint == "did you mean 'CH32V003'?"


@pytest.mark.parametrize("cycles", [{}, {"cycles_a_mac": 1.0, "cycles": Repetitions()}])
def test_core_needs_exactly_one_kind_of_costs(cycles: dict[str, Any]):
    with pytest.raises(ValueError, match="either"):
        Core(program_bytes=1, stack_bytes=1, **cycles)


def test_repetitions_equal_count_by_hand():
    # 28 x 28 positions with 9 inputs and 5 filters, followed by pooling.
    plan = analysed("conv3x3(5) bn relu avgpool | gap | linear(10)").plan

    sizes = Repetitions.of(plan, Optimisation.SIZE)
    assert sizes == Repetitions(
        positions=784, parts=9 * 784, window=9 * 784, ordered_parts=9 * 784, macs=45 * 784, rest=5 * 784,
        outputs=5 * 784, means=5 * 196, sums=5 * 196 + 50,
    )  # fmt: skip
    fast = Repetitions.of(plan, Optimisation.SPEED)
    assert Repetitions.of(replace(plan, weight_bits=5), Optimisation.SIZE).unpacked == 45 * 784 + 50
    # Tiles of 14 columns, two in each of 28 rows, under which are 16 columns of 3 numbers; blocks of 3 and 2 filters.
    assert fast == Repetitions(
        positions=56, parts=3 * 16 * 56, window=3 * 16 * 56, dots=2 * 784, macs=45 * 784, rest=2 * 784,
        widened=45 * 56, vectors=5 * 784,
        outputs=5 * 784, means=5 * 196, sums=5 * 196 + 50,
    )  # fmt: skip


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("optimise", Optimisation)
def test_instructions_of_networks_outside_the_fit_are_estimated(core: str, optimise: Optimisation):
    """``measurements/instructions.py`` measures the instructions on emulated chips."""
    errors = instructions.errors(core, optimise)

    # Half of the networks do not fit the emulated AVR.
    assert len(errors) == (15 if core == "avr" else 30)
    assert np.median(errors) <= 0.05
    # With -O3, GCC copies the functions of small networks for each step, but not those of large networks.
    has_copies = (core, optimise) in [("cortex-m4", Optimisation.SPEED), ("cortex-m55", Optimisation.SPEED)]
    assert np.mean(errors < 0.1) >= (0.8 if has_copies else 0.95)


@pytest.mark.parametrize(("metric", "core"), [("instructions_m0", "cortex-m0"), ("instructions_rv32", "rv32imc")])
def test_metric_of_instructions_is_the_estimate_for_speed(metric: str, core: str):
    analysis = analysed(SMALL)
    chip = replace(CHIPS["RP2040"], core=CORES[core], clock_hz=1_000)

    assert measured(analysis, Metric(metric)) == round(Fit(chip, analysis, Optimisation.SPEED).milliseconds)
