"""The C of a network on emulated chips: its logits there, and the code, the stack and the work that it takes.

The clocks of the emulators tick at different rates, so each program also times a loop of known length: what a tick
stands for is measured with the network, not assumed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.deployment.c_library import Library, emulated_program
from harness.deployment.compiled import write_files
from harness.system.errors import DeviceError, HarnessError
from harness.system.terminal import say
from harness.training.integer import integer_logits

# How often the loop of known length is passed; long beside a tick of any clock here.
TURNS = 2**20
OPTIMISATION = "-Os"
# No network has such a name, as it is none in C.
_PROGRAM = "on-chip"
_PATIENCE_SECONDS = 60
# What the program writes in place of a number where the stack or a clock has run over.
_OVER = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Family:
    """A family of chips, with the Debian tools that compile for one and emulate it.

    Attributes:
        tools: what the names of its compiler and its ``size`` begin with.
        link: flags that place a program in the memory of the chip.
        unit: of its work; ``turn`` is the work of one pass of the loop of known length.
        ram_bytes: of the emulated chip; ``flash_bytes`` likewise.
    """

    tools: str
    flags: tuple[str, ...]
    link: tuple[str, ...]
    emulator: tuple[str, ...]
    unit: str
    turn: int
    ram_bytes: int
    flash_bytes: int


_BARE = ("-ffreestanding", "-nostdlib")
# With this, QEMU's time advances by a nanosecond an instruction.
_QEMU = ("-nographic", "-icount", "shift=0")
# More RAM than the micro:bit has, so that networks for larger chips are measured too.
_MICROBIT = ("-M", "microbit", "-global", "nrf51-soc.sram-size=262144", "-semihosting")
FAMILIES = {
    "Cortex-M0": Family(
        tools="arm-none-eabi",
        flags=("-mcpu=cortex-m0", "-mthumb", *_BARE),
        link=("-Wl,--section-start=.vectors=0,-Ttext=8,-Tdata=0x20000000,-e,main", "-lgcc"),
        emulator=(
            "qemu-system-arm",
            "-M",
            "microbit",
            "-semihosting",
            *_QEMU,
            "-global",
            "nrf51-soc.sram-size=262144",
            "-kernel",
        ),
        unit="instructions",
        turn=2,
        ram_bytes=262_144,
        flash_bytes=262_144,
    ),
    "RV32IMC": Family(
        tools="riscv64-unknown-elf",
        flags=("-march=rv32imc_zicsr", "-mabi=ilp32", "-mcmodel=medany", *_BARE),
        link=("-Wl,--section-start=.init=0x80000000,-e,start", "-lgcc"),
        emulator=("qemu-system-riscv32", "-M", "virt", "-bios", "none", *_QEMU, "-kernel"),
        unit="instructions",
        turn=2,
        ram_bytes=2**27,
        flash_bytes=2**27,
    ),
    "ATmega328P": Family(
        tools="avr",
        flags=("-mmcu=atmega328p",),
        link=(),
        emulator=("simavr", "-m", "atmega328p", "-f", "16000000"),
        unit="cycles",
        turn=6,
        ram_bytes=2_048,
        flash_bytes=32_768,
    ),
}


@dataclass(frozen=True, slots=True)
class Emulation:
    """What a network gives and takes on an emulated chip.

    Attributes:
        logits: int32 (n, classes).
        code_bytes: of the network, without its constants.
        stack_bytes: that it has written below those of its caller.
        work: instructions or cycles an image, the mean.
        loop_ticks: of the loop of known length.
    """

    logits: npt.NDArray[np.int32]
    code_bytes: int
    stack_bytes: int
    work: int
    loop_ticks: int


def emulate(
    library: Library, pixels: npt.NDArray[np.uint8], family: Family, optimisation: str = OPTIMISATION
) -> Emulation:
    """Run images, uint8 (n, channels, rows, columns), on an emulated chip.

    Raises:
        DeviceError: a tool is missing, the network does not fit, or the program fails.
    """
    _check_tools(family)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(library, folder)
        (folder / _PROGRAM).with_suffix(".c").write_text(emulated_program(library, pixels, TURNS), encoding="utf-8")
        compiler = [f"{family.tools}-gcc", *family.flags, optimisation, "-std=c99", "-Isrc"]
        _output([*compiler, "-c", f"{_PROGRAM}.c", f"src/{library.name}.c"], folder)
        objects = (f"{_PROGRAM}.o", f"{library.name}.o")
        rows = _output([f"{family.tools}-size", *objects], folder).splitlines()[1:]
        sections = np.array([row.split()[:3] for row in rows]).astype(int)
        text_bytes, data_bytes, zero_bytes = sections.sum(0)
        memories = {
            "RAM": (data_bytes + zero_bytes, family.ram_bytes),
            "flash": (text_bytes + data_bytes, family.flash_bytes),
        }
        for memory, (size, limit) in memories.items():
            if size >= limit:
                raise DeviceError(f"it takes {size:,} bytes of {memory} or more, and there are {limit:,}")
        _output([*compiler, *objects, *family.link, "-o", _PROGRAM], folder)
        text = _output([*family.emulator, _PROGRAM], folder)
    numbers = [int(number, 16) for number in re.findall("=([0-9a-f]{8})", text)]
    classes = library.dataset.classes
    if len(numbers) != len(pixels) * classes + 3:
        raise DeviceError("the emulated chip does not come to an end")
    loop_ticks, *logits, ticks, stack_bytes = numbers
    if _OVER in (ticks, stack_bytes):
        raise DeviceError("its stack or the clock of the emulated chip runs over")
    return Emulation(
        logits=np.array(logits, np.uint32).view(np.int32).reshape(-1, classes),
        code_bytes=int(sections[1, :2].sum()) - library.network.plan.constant_bytes,
        stack_bytes=stack_bytes,
        work=round(ticks / loop_ticks * TURNS * family.turn / len(pixels)),
        loop_ticks=loop_ticks,
    )


def _check_tools(family: Family) -> None:
    """Raise DeviceError where a tool of a family is missing."""
    for program in (f"{family.tools}-gcc", f"{family.tools}-size", family.emulator[0]):
        if shutil.which(program) is None:
            raise DeviceError(f"{program} is not installed")


def _output(words: Sequence[str], folder: Path) -> str:
    """Return what a program writes, errors included, as semihosting writes there."""
    try:
        run = subprocess.run(
            words, cwd=folder, input="", capture_output=True, errors="replace", timeout=_PATIENCE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(f"{words[0]} takes more than {_PATIENCE_SECONDS} seconds") from None
    if run.returncode:
        raise DeviceError(f"{words[0]} fails", hint=run.stderr.strip()[:200])
    return run.stdout + run.stderr


def chip_costs(library: Library) -> dict[str, dict[str, str | int]]:
    """Return what the network takes on a chip of each family, by its examples; where that is not known, why.

    Raises:
        HarnessError: a chip gives other logits than the reference; a fault of this program.
    """
    costs: dict[str, dict[str, str | int]] = {}
    logits = integer_logits(library.network, library.examples)
    for name, family in FAMILIES.items():
        try:
            _check_tools(family)
            say(f"measuring the network on an emulated {name}, for up to {_PATIENCE_SECONDS} seconds")
            emulation = emulate(library, library.examples, family)
        except DeviceError as error:
            costs[name] = {"unknown": error.message}
            continue
        if not np.array_equal(emulation.logits, logits):
            raise HarnessError(f"the logits of an emulated {name} differ from the reference")
        costs[name] = {
            "compiler": f"{family.tools}-gcc {OPTIMISATION}",
            "code_bytes": emulation.code_bytes,
            "stack_bytes": emulation.stack_bytes,
            family.unit: emulation.work,
        }
    return costs
