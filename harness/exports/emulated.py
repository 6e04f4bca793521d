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

from harness.exports.c_library import Library, context_of, rendered
from harness.exports.compiled import write_files
from harness.system.errors import DeviceError, HarnessError
from harness.system.machine import run_program
from harness.system.terminal import say
from harness.training.integer import integer_logits

PASSES = 2**20  # passes through the loop of known length; many ticks of every clock
_PROGRAM = "on-chip"  # no clash with a network, because C names allow no hyphen
_TIMEOUT_SECONDS = 60  # of a compiler or emulator
_OVERFLOW = 2**32 - 1  # written in place of a number if the stack or a clock overflows


@dataclass(frozen=True, slots=True)
class ChipFamily:
    """A family of chips, with compiler and emulator as packaged by Debian.

    Attributes:
        tool_prefix: Prefix of the names of the compiler and of ``size``.
        link_flags: Flags that place the program in the memory of the chip.
        emulator: Command, to be followed by the program.
        unit: Unit of work, instructions or cycles.
        pass_work: Work of a pass through the loop of known length (``LOOP`` in the program), in ``unit``.
        optimisation: Optimisation flag with which users build; None for the flag of the library's Makefile.
    """

    tool_prefix: str
    flags: tuple[str, ...]
    link_flags: tuple[str, ...]
    emulator: tuple[str, ...]
    unit: str
    pass_work: int
    ram_bytes: int
    flash_bytes: int
    optimisation: str | None = None


_BARE_METAL = "-nostdlib"  # compiler flag for a chip without an operating system
_QEMU = ("-nographic", "-icount", "shift=0")  # the virtual time advances by 1 ns per instruction
CHIP_FAMILIES = {
    "Cortex-M0": ChipFamily(
        tool_prefix="arm-none-eabi",
        flags=("-mcpu=cortex-m0", "-mthumb", _BARE_METAL),
        link_flags=("-Wl,--section-start=.vectors=0,-Ttext=8,-Tdata=0x20000000,-e,main", "-lgcc"),
        # More RAM than on the micro:bit, so that networks for larger chips can be measured.
        emulator=(
            *("qemu-system-arm", "-M", "microbit", "-semihosting", *_QEMU),
            *("-global", "nrf51-soc.sram-size=262144", "-kernel"),
        ),
        unit="instructions",
        pass_work=2,
        ram_bytes=262_144,
        flash_bytes=262_144,
    ),
    "RV32IMC": ChipFamily(
        tool_prefix="riscv64-unknown-elf",
        # Debian has no C library for this compiler, whose stdint.h needs -ffreestanding.
        flags=("-march=rv32imc_zicsr", "-mabi=ilp32", "-mcmodel=medany", "-ffreestanding", _BARE_METAL),
        link_flags=("-Wl,--section-start=.init=0x80000000,-e,start", "-lgcc"),
        emulator=("qemu-system-riscv32", "-M", "virt", "-bios", "none", *_QEMU, "-kernel"),
        unit="instructions",
        pass_work=2,
        ram_bytes=2**27,
        flash_bytes=2**27,
    ),
    "ATmega328P": ChipFamily(
        tool_prefix="avr",
        flags=("-mmcu=atmega328p",),
        link_flags=(),
        emulator=("simavr", "-m", "atmega328p", "-f", "16000000"),
        unit="cycles",
        pass_work=6,
        ram_bytes=2_048,
        flash_bytes=32_768,
        optimisation="-Os",  # as Arduino and PlatformIO compile for AVR; -O2 is larger and not faster for speed
    ),
}


@dataclass(frozen=True, slots=True)
class Emulation:
    """Results of a network on an emulated chip.

    Attributes:
        code_bytes: Bytes of code of the network, and of its tables of steps and class names, without the constants.
        stack_bytes: Stack of a classification, without the stack of the caller.
        work: Mean number of instructions or cycles per image.
        loop_ticks: Clock ticks of the loop of known length.
    """

    logits: npt.NDArray[np.int32]
    code_bytes: int
    stack_bytes: int
    work: int
    loop_ticks: int


def emulated_program(library: Library, pixels: npt.NDArray[np.uint8], passes: int) -> str:
    """Return a C program for an emulated chip that times a loop of ``passes`` passes and runs the images."""
    images = [image.ravel().tolist() for image in pixels.transpose(0, 2, 3, 1)]
    return rendered("emulated.c", context_of(library) | {"images": images, "passes": passes})


def emulate(
    library: Library,
    pixels: npt.NDArray[np.uint8],
    family: ChipFamily,
    optimisation: str | None = None,
    write: Callable[[Library, Path], None] = write_files,
) -> Emulation:
    """Run a network on an emulated chip, for images, uint8 (n, channels, rows, columns).

    Args:
        optimisation: Flag of the compiler; None for the flag of the family, else of the Makefile.
        write: Writes source and header to ``src`` in a folder.

    Raises:
        DeviceError: A tool is missing, the network does not fit, or the program fails.
    """
    _check_tools(family)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(library, folder)
        (folder / _PROGRAM).with_suffix(".c").write_text(emulated_program(library, pixels, PASSES), encoding="utf-8")
        flag = optimisation or family.optimisation or library.compiler_flag
        compiler = [f"{family.tool_prefix}-gcc", *family.flags, flag, "-std=c99", "-Isrc"]
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
    if len(numbers) != len(pixels) * classes + 3:
        raise DeviceError("the emulated program did not finish")
    loop_ticks, *logits, ticks, stack_bytes = numbers
    if _OVERFLOW in (ticks, stack_bytes):
        raise DeviceError("the stack or the clock of the emulated chip overflowed")
    code_and_constants, initialised_data, _ = sections[1]  # of the object with the network
    return Emulation(
        logits=np.array(logits, np.uint32).view(np.int32).reshape(-1, classes),
        code_bytes=int(code_and_constants + initialised_data) - library.network.plan.constant_bytes,
        stack_bytes=stack_bytes,
        work=round(ticks / loop_ticks * PASSES * family.pass_work / len(pixels)),
        loop_ticks=loop_ticks,
    )


def _check_tools(family: ChipFamily) -> None:
    for program in (f"{family.tool_prefix}-gcc", f"{family.tool_prefix}-size", family.emulator[0]):
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
            _check_tools(family)
            say(f"measuring the network on an emulated {name}, for up to {_TIMEOUT_SECONDS} seconds")
            emulation = emulate(library, library.examples, family)
        except DeviceError as error:
            costs[name] = {"unknown": error.message}
            continue
        if not np.array_equal(emulation.logits, logits):
            raise HarnessError(f"the logits of an emulated {name} differ from the reference")
        costs[name] = {
            "compiler": f"{family.tool_prefix}-gcc {family.optimisation or library.compiler_flag}",
            "code_bytes": emulation.code_bytes,
            "stack_bytes": emulation.stack_bytes,
            family.unit: emulation.work,
        }
    return costs
