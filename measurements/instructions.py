"""Measure the instructions of the exported C on emulated chips, and fit the coefficients of ``chips.toml``.

Networks with random weights are drawn from the shipped spaces, some for the fit and others to judge it. An image of
each network runs on an emulated chip; a row of the results is a network on a core, with instructions (AVR: cycles) of
the C for size (``-Os``) and for speed (``-O2``). The coefficients minimise the squares of the relative errors and are
not negative. ``--judge`` prints the errors for the other networks. Requires the cross compilers and emulators that
CONTRIBUTING lists, and ``qemu-system-arm`` with the boards ``mps2-an385`` and ``mps2-an386``.

With ``--packed``, networks of the other set run with weights of 3, 5 and 6 bits instead, and the instructions per
weight that is unpacked and, for speed, per multiply-add (``unpacked`` and ``paired`` in ``Repetitions``) are printed.

    python -m measurements.instructions [--measure] [--judge] [--packed]
"""

from __future__ import annotations

import itertools
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import astuple, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from harness.exports.c_library import Library
from harness.exports.chip_families import CHIP_FAMILIES
from harness.spaces.catalog import space
from harness.spaces.cores import CORES, Repetitions
from harness.spaces.fast_kernels import Optimisation
from harness.spaces.network import MNIST, analyse
from harness.spaces.notation import parse_network
from harness.spaces.space import draw_uniform
from harness.system.errors import ContentError, DeviceError
from measurements.exported_c import checked_emulation, random_library

RESULTS = Path(__file__).parent / "results" / "instructions.jsonl"
_SPACES = ("all", "card", "forms", "minute", "pictures", "posed", "tied", "tiny")
_MACS = (100_000, 1_500_000)  # least and largest multiply-adds of a network
_SETS = {"fit": (0, 80), "judged": (1, 30)}  # seed and number of networks of each set
_PACKED_BITS = (3, 5, 6)  # bits of a weight in the measurement of packed weights
_PACKED_NETWORKS = 4  # networks in this measurement
_AS_M4 = "cortex-m3"  # core whose code for size has the coefficients of the Cortex-M4
_RISC_V = CHIP_FAMILIES["RV32IMC"]
_AVR = CHIP_FAMILIES["ATmega328P"]
_RV32EC = tuple(flag.replace("rv32imc", "rv32ec").replace("ilp32", "ilp32e") for flag in _RISC_V.flags)

_M4 = CHIP_FAMILIES["Cortex-M4"]
_EMULATED_FAMILIES = {
    "cortex-m0": CHIP_FAMILIES["Cortex-M0"],
    "rv32imc": _RISC_V,
    "cortex-m3": replace(
        _M4,
        flags=tuple(flag.replace("cortex-m4", "cortex-m3") for flag in _M4.flags),
        speed_flag="-O2",
        emulator=tuple(word.replace("an386", "an385") for word in _M4.emulator),
    ),
    "cortex-m4": _M4,
    "cortex-m55": CHIP_FAMILIES["Cortex-M55"],
    "rv32ec": replace(_RISC_V, flags=_RV32EC, link_flags=(*_RISC_V.link_flags, "-march=rv32eac")),
    # More memory than an ATmega328P, so that images of MNIST fit.
    "avr": replace(
        _AVR,
        flags=("-mmcu=atmega1284p", "-DHARNESS_NEAR_FLASH"),  # addresses as on the ATmega328P
        emulator=("simavr", "-m", "atmega1284p", "-f", "16000000"),
        ram_bytes=16_384,
        flash_bytes=131_072,
    ),
}


def draw_networks() -> Iterator[tuple[str, str, Library]]:
    """Yield set, text and C of each network, drawn from the spaces in turn; no two networks have the same steps."""
    known: set[tuple[str, ...]] = set()
    for name, (seed, count) in _SETS.items():
        rng = random.Random(seed)
        index = 0
        while index < count:
            network = draw_uniform(space(_SPACES[index % len(_SPACES)], MNIST), rng, 20_000).architecture
            analysis = analyse(network, MNIST)
            # Dropout and bars are no part of the plan.
            steps = tuple(op for op in str(network).split() if op != "|" and not op.startswith("dropout"))
            if not _MACS[0] <= analysis.macs <= _MACS[1] or analysis.plan.missing or steps in known:
                continue
            try:
                library = random_library(network)
            except ContentError:
                continue  # the sums of these random weights exceed 32 bits
            known.add(steps)
            index += 1
            yield name, str(network), library


def measure() -> None:
    """Measure all networks on all cores and append the rows that the results lack."""
    text = RESULTS.read_text("utf-8") if RESULTS.exists() else ""
    known = {(row["architecture"], row["core"]) for row in map(json.loads, text.splitlines())}
    networks = list(draw_networks())
    for core, family in _EMULATED_FAMILIES.items():
        for name, network, library in networks:
            if (network, core) in known:
                continue
            row: dict[str, str | int] = {"set": name, "core": core, "architecture": network}
            try:
                for optimise in Optimisation:
                    row[optimise.value] = checked_emulation(replace(library, optimise=optimise), family).work
            except DeviceError as error:
                row["unknown"] = error.message
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def rows_of(name: str, core: str) -> list[dict[str, Any]]:
    """Return the rows of a set and a core, without networks that do not fit the emulated chip."""
    rows = [json.loads(line) for line in RESULTS.read_text("utf-8").splitlines()]
    return [row for row in rows if (row["set"], row["core"]) == (name, core) and "unknown" not in row]


def _fit(core: str, optimise: Optimisation) -> str:
    """Return the coefficients of a core as a line of ``chips.toml``, and print the errors."""
    rows = rows_of("fit", core)
    works = [astuple(Repetitions.of(analyse(parse_network(row["architecture"]), MNIST).plan, optimise)) for row in rows]
    # Rows are divided by the measured number, so that the relative error is minimised; columns by the largest value.
    shares = np.array(works) / np.array([[row[optimise.value]] for row in rows])
    scales = np.maximum(shares.max(0), np.finfo(float).tiny)
    columns = shares / scales

    def coefficients(table: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        solution: npt.NDArray[np.float64] = nnls(table, np.ones(len(table)), maxiter=10_000)[0]
        return solution

    # The error for each network of a fit to the other networks.
    left_out = [abs(row @ coefficients(np.delete(columns, index, 0)) - 1) for index, row in enumerate(columns)]
    print(f"# {core}, {optimise}, {len(rows)} networks, each left out of a fit: {_errors(np.array(left_out))}")
    cycles = coefficients(columns) / scales
    pairs = zip(fields(Repetitions), cycles, strict=True)
    return ", ".join(f"{field.name} = {value:.4g}" for field, value in pairs if value)


def _errors(errors: npt.NDArray[np.float64]) -> str:
    """Return median and largest error, and the number of errors below 10 %, as text."""
    below = np.count_nonzero(errors < 0.1)
    return f"median {np.median(errors):.1%}, largest {errors.max():.1%}, below 10 % {below} of {len(errors)}"


def errors(core: str, optimise: Optimisation, name: str = "judged") -> npt.NDArray[np.float64]:
    """Return the relative errors of the estimates in ``chips.toml`` for the networks of a set."""
    estimates = []
    for row in rows_of(name, core):
        analysis = analyse(parse_network(row["architecture"]), MNIST)
        cycles = CORES[core].cycles_per_image(analysis.plan, analysis.macs, optimise)
        estimates.append(cycles / row[optimise.value])
    return abs(np.array(estimates) - 1)


def measure_packed(core: str) -> None:
    """Print the instructions, or cycles, for packed weights of networks of the judged set on a core.

    For size, the median of the additional instructions per weight that is unpacked; for speed, the coefficients
    ``paired`` and ``unpacked``, fitted to the instructions that the other coefficients of ``chips.toml`` leave.
    Networks that are too large or too slow for the emulated chip are left out.
    """
    sizes: list[float] = []
    works: list[tuple[float, float]] = []
    rest: list[float] = []
    speed = CORES[core].costs(Optimisation.SPEED)
    other_costs = replace(speed, cycles=replace(speed.cycles or Repetitions(), paired=0, unpacked=0))
    for row in rows_of("judged", core)[:_PACKED_NETWORKS]:
        architecture = parse_network(row["architecture"])
        macs = analyse(architecture, MNIST).macs
        for bits, optimise in itertools.product(_PACKED_BITS, Optimisation):
            library = replace(random_library(architecture, bits), optimise=optimise)
            try:
                result = checked_emulation(library, _EMULATED_FAMILIES[core])
            except DeviceError as error:
                print(f"{core}, {bits} bits, {architecture}: {error.message}")
                continue
            repetitions = Repetitions.of(library.network.plan, optimise)
            if optimise is Optimisation.SIZE:
                sizes.append((result.work - row[optimise.value]) / repetitions.unpacked)
            else:
                estimate = replace(CORES[core], speed=other_costs).cycles_per_image(
                    library.network.plan, macs, optimise
                )
                works.append((repetitions.paired / result.work, repetitions.unpacked / result.work))
                rest.append((result.work - estimate) / result.work)
            print(f"{core}, {bits} bits, {optimise}: {result.work:,}; code {result.code_bytes}")
    (paired, unpacked), residual = nnls(np.array(works), np.array(rest))
    print(f"{core}, size: unpacked {np.median(sizes):.4g}")
    print(f"{core}, speed: paired {paired:.4g}, unpacked {unpacked:.4g}, residual {residual:.2g}", flush=True)


def main() -> None:
    """Measure, fit or judge."""
    if "--packed" in sys.argv:
        for core in _EMULATED_FAMILIES:
            measure_packed(core)
        return
    if "--measure" in sys.argv:
        measure()
    for core in _EMULATED_FAMILIES:
        for optimise in Optimisation:
            if "--judge" in sys.argv:
                print(f"{core}, {optimise}: {_errors(errors(core, optimise))}")
            elif (core, optimise) != (_AS_M4, Optimisation.SIZE):
                print(f"cycles = {{ {_fit(core, optimise)} }}")


if __name__ == "__main__":
    main()
