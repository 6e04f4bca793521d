"""Run the C code of a network on emulated chips: logits, code size, stack size and number of instructions or cycles.

The clocks of the emulators tick at different rates, so each program also times a loop of known length, which gives the
work per tick. ``templates/emulated.c.jinja`` is the program.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.exports.c_library import Library, emulated_program
from harness.exports.chip_families import CHIP_FAMILIES, PASSES, ChipFamily
from harness.exports.compiled import write_files
from harness.system.errors import DeviceError, HarnessError
from harness.system.machine import run_program
from harness.system.terminal import say
from harness.training.integer import integer_logits

_PROGRAM = "on-chip"  # no clash with a network, because C names allow no hyphen
_TIMEOUT_SECONDS = 60  # of a compiler or emulator
_OVERFLOW = 2**32 - 1  # written in place of a number if the stack or a clock overflows


@dataclass(frozen=True, slots=True)
class Emulation:
    """Results of a network on an emulated chip.

    Attributes:
        code_bytes: Bytes of code of the network, and of its tables of steps and class names, without the constants.
        stack_bytes: Stack of a classification, without the stack of the caller.
        work: Mean number of instructions or cycles per image.
        loop_ticks: Clock ticks of the loop of known length.
        layer_work: Mean work per image of each step; empty without a profile.
    """

    logits: npt.NDArray[np.int32]
    code_bytes: int
    stack_bytes: int
    work: int
    loop_ticks: int
    layer_work: list[int]


def emulate(
    library: Library,
    pixels: npt.NDArray[np.uint8],
    family: ChipFamily,
    optimisation: str | None = None,
    write: Callable[[Library, Path], None] = write_files,
    *,
    is_profile: bool = False,
) -> Emulation:
    """Run a network on an emulated chip, for images, uint8 (n, channels, rows, columns).

    Args:
        optimisation: Flag of the compiler; None for the flag of the family.
        write: Writes source and header to ``src`` in a folder.
        is_profile: Whether to measure each step.

    Raises:
        DeviceError: A tool is missing, the network does not fit, or the program fails.
    """
    check_tools(family)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(library, folder)
        (folder / _PROGRAM).with_suffix(".c").write_text(emulated_program(library, pixels), encoding="utf-8")
        flag = optimisation or family.compiler_flag(library.optimise)
        macros = [f"-D{library.name.upper()}_STEP_END=step_end"] if is_profile else []
        compiler = [family.compiler, *family.flags, flag, "-std=c99", "-Isrc", *macros]
        _output([*compiler, "-c", f"{_PROGRAM}.c", f"src/{library.name}.c"], folder)
        objects = (f"{_PROGRAM}.o", f"{library.name}.o")
        # A header, then a line per object: bytes of code and constants, of initialised and of zeroed data.
        size_lines = _output([f"{family.tool_prefix}-size", *objects], folder).splitlines()[1:]
        sections = np.array([line.split()[:3] for line in size_lines]).astype(int)
        text_bytes, data_bytes, zero_bytes = sections.sum(0)
        memories = {
            "RAM": (data_bytes + zero_bytes, family.ram_bytes),
            "flash": (text_bytes + data_bytes, family.flash_bytes),
        }
        for memory, (size, limit) in memories.items():
            if size >= limit:
                raise DeviceError(f"the network needs {size:,} bytes of {memory} or more, the chip has {limit:,}")
        _output([*compiler, *objects, *family.link_flags, "-o", _PROGRAM], folder)
        text = _output([*family.emulator, _PROGRAM], folder)
    numbers = [int(number, 16) for number in re.findall("=([0-9a-f]{8})", text)]  # as ``write_number`` writes numbers
    classes = library.dataset.classes
    logits_end = 1 + len(pixels) * classes
    layers = len(library.network.plan.steps) if is_profile else 0
    if len(numbers) != logits_end + 2 + layers:
        raise DeviceError("the emulated program did not finish")
    loop_ticks, *logits = numbers[:logits_end]
    ticks, stack_bytes, *layer_ticks = numbers[logits_end:]
    if _OVERFLOW in (ticks, stack_bytes, *layer_ticks):
        raise DeviceError("the stack or the clock of the emulated chip overflowed")
    code_and_constants, initialised_data, _ = sections[1]  # of the object with the network
    work_of_tick = PASSES * family.pass_work / loop_ticks / len(pixels)
    return Emulation(
        logits=np.array(logits, np.uint32).view(np.int32).reshape(-1, classes),
        code_bytes=int(code_and_constants + initialised_data) - library.network.plan.constant_bytes,
        stack_bytes=stack_bytes,
        work=round(ticks * work_of_tick),
        loop_ticks=loop_ticks,
        layer_work=[round(ticks_of_layer * work_of_tick) for ticks_of_layer in layer_ticks],
    )


def check_tools(family: ChipFamily) -> None:
    """Raise DeviceError if the compiler or the emulator of a family is missing."""
    for program in (family.compiler, f"{family.tool_prefix}-size", family.emulator[0]):
        if shutil.which(program) is None:
            raise DeviceError(f"{program} is not installed")


def _output(command: Sequence[str], folder: Path) -> str:
    """Return stdout and stderr of a command; the emulator of Arm writes to stderr (semihosting)."""
    try:
        run = run_program(command, _TIMEOUT_SECONDS, folder=folder)
    except subprocess.TimeoutExpired:
        raise DeviceError(f"{command[0]} took more than {_TIMEOUT_SECONDS} seconds") from None
    errors = run.stderr.decode(errors="replace")
    if run.returncode:
        raise DeviceError(f"{command[0]} failed", hint=errors.strip()[:200])
    return run.stdout.decode(errors="replace") + errors


def chip_costs(library: Library) -> dict[str, dict[str, str | int]]:
    """Return the costs by family of chips, measured with the examples of the library.

    The keys are ``compiler``, ``code_bytes``, ``stack_bytes``, and the unit of the work per image; or ``unknown``, the
    reason why nothing was measured.

    Raises:
        HarnessError: The logits of a chip differ from the reference, a bug of this program.
    """
    costs: dict[str, dict[str, str | int]] = {}
    logits = integer_logits(library.network, library.examples)
    for name, family in CHIP_FAMILIES.items():
        try:
            check_tools(family)
            say(f"measuring the network on an emulated {name}, for up to {_TIMEOUT_SECONDS} seconds")
            emulation = emulate(library, library.examples, family)
        except DeviceError as error:
            costs[name] = {"unknown": error.message}
            continue
        if not np.array_equal(emulation.logits, logits):
            raise HarnessError(f"the logits of an emulated {name} differ from the reference")
        costs[name] = {
            "compiler": f"{family.compiler} {family.compiler_flag(library.optimise)}",
            "code_bytes": emulation.code_bytes,
            "stack_bytes": emulation.stack_bytes,
            family.unit: emulation.work,
        }
    return costs
