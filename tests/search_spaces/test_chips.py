"""Chips: the table is whole and has its sources, limits are what one computes by hand, and networks fit or do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from search_spaces.chips import CHIPS, Fit, chip_named, fitting
from search_spaces.fast_kernels import Optimisation
from search_spaces.network import MNIST, Analysis, Task, analyse
from search_spaces.notation import parse_network
from search_spaces.space import measured
from search_spaces.space_errors import UnknownNameError

SMALL = "conv3x3(4) bn relu | maxpool(4) | gap | linear(10)"
LARGE = "conv3x3(64) bn relu conv3x3(64) bn relu | gap | linear(10)"
# Flash in KiB, bytes of RAM, MHz, of the data sheets; the chips of the table and no others.
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
}


def analysed(text: str, task: Task = MNIST) -> Analysis:
    return analyse(parse_network(text), task)


def test_the_table_has_the_figures_of_the_data_sheets_and_names_them():
    figures = {name: (chip.flash_bytes / 1_024, chip.ram_bytes, chip.clock_hz / 1e6) for name, chip in CHIPS.items()}

    assert figures == SHEETS
    for chip in CHIPS.values():
        assert chip.title
        assert any(word in chip.source for word in ("Datasheet", "Product Specification")), chip
        # The program alone fits everywhere.
        assert 0 < chip.core.program_bytes < chip.flash_bytes


@pytest.mark.parametrize(
    ("name", "task", "limits"),
    [
        # 16,384 - 3,156; 2,048 - 824 of stack - 784 of image.
        ("CH32V003", MNIST, ["weight_bytes <= 13228", "ram_bytes <= 440"]),
        # 262,144 - 3,108; 16,384 - 832 - 3 x 32 x 32.
        ("microbit-v1", Task((3, 32, 32), 7), ["weight_bytes <= 259036", "ram_bytes <= 12480"]),
    ],
)
def test_a_chip_limits_what_program_image_and_stack_leave(name: str, task: Task, limits: list[str]):
    assert list(map(str, CHIPS[name].limits(task))) == limits


@pytest.mark.parametrize("name", CHIPS)
@pytest.mark.parametrize("text", [SMALL, LARGE])
@pytest.mark.parametrize("task", [MNIST, Task((1, 8, 8), 10)])
def test_a_network_that_keeps_the_limits_of_a_search_fits(name: str, text: str, task: Task):
    analysis = analysed(text, task)
    keeps = all(limit.holds(measured(analysis, limit.metric)) for limit in CHIPS[name].limits(task))

    # Its stack takes no more than that of the network that the limits were measured with.
    if keeps and analysis.plan.buffers.size <= 588:
        assert CHIPS[name] in fitting(analysis)
    assert ("does not fit" in str(Fit(CHIPS[name], analysis))) == (CHIPS[name] not in fitting(analysis))


def test_what_a_network_takes_of_a_chip_is_counted_by_hand():
    # A window of 9 bytes, 9 inputs of two bytes, 4 results of four.
    fit = Fit(CHIPS["ATmega328P"], analysed(SMALL, Task((1, 8, 8), 10)))

    assert fit.total_ram_bytes == 233 + (9 + 18 + 16) + 64 + 4 * 2 * 2
    # For speed a window of 9 bytes, 4 results, 4 sums and 4 starts of sums of four bytes each.
    fast = replace(fit, optimise=Optimisation.SPEED)
    assert fast.total_ram_bytes == 270 + (9 + 3 * 16) + 64 + 4 * 2 * 2


def test_what_does_not_fit_says_by_how_much():
    analysis = analysed(LARGE)
    fit = Fit(CHIPS["CH32V003"], analysis)

    assert fit.lack == (
        f"{analysis.weight_bytes - 13_228:,} bytes of flash and "
        f"{236 + 576 + 2 * 576 + 4 * 64 + 784 + analysis.ram_bytes - 2_048:,} bytes of RAM"
    )
    assert Fit(CHIPS["RP2040"], analysis).lack == ""


def test_the_time_of_an_image_is_estimated_from_its_multiply_adds():
    # 784 x 9 x 4 + 4 x 10 multiply-adds, 14.8 cycles each, at 16 MHz.
    fit = Fit(CHIPS["microbit-v1"], analysed(SMALL))

    assert fit.milliseconds == pytest.approx(26.144, abs=0.001)
    assert str(fit).endswith("26 ms at 16 MHz")


def test_a_chip_is_known_in_any_case_and_an_unknown_one_names_the_nearest():
    assert chip_named("ch32v003") is CHIPS["CH32V003"]
    with pytest.raises(UnknownNameError, match=r"unknown chip 'CH32V03'; .*microbit-v1, ") as error:
        chip_named("CH32V03")
    assert error.value.hint == "did you mean 'CH32V003'?"
