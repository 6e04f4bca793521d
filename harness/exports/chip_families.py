"""Families of chips that are emulated, with compilers, optimisation flags and emulators as packaged by Debian."""

from __future__ import annotations

from dataclasses import dataclass

from harness.spaces.fast_kernels import Optimisation


@dataclass(frozen=True, slots=True)
class ChipFamily:
    """A family of chips, with compiler and emulator as packaged by Debian.

    Attributes:
        tool_prefix: Prefix of the names of GCC and of ``size``.
        link_flags: Flags that place the program in the memory of the chip.
        emulator: Command, to be followed by the program.
        unit: Unit of work, instructions or cycles.
        pass_work: Work of a pass through the loop of known length (``LOOP`` in the program), in ``unit``.
        macro: Macro that the compilers define for these cores, and for no core of a family further below.
        speed_flag: Optimisation flag with which the code for speed is fastest.
        zephyr_options: Options of Zephyr of which one is set for these cores; empty if Zephyr does not support them.
        other_compiler: Compiler in place of GCC; None for GCC.
    """

    tool_prefix: str
    flags: tuple[str, ...]
    link_flags: tuple[str, ...]
    emulator: tuple[str, ...]
    unit: str
    pass_work: int
    ram_bytes: int
    flash_bytes: int
    macro: str
    speed_flag: str = "-O2"
    zephyr_options: tuple[str, ...] = ()
    other_compiler: str | None = None

    @property
    def compiler(self) -> str:
        """Command of the compiler."""
        return self.other_compiler or f"{self.tool_prefix}-gcc"

    def compiler_flag(self, optimise: Optimisation) -> str:
        """Return the optimisation flag with which users build."""
        return self.speed_flag if optimise is Optimisation.SPEED else SIZE_FLAG


PASSES = 2**20  # passes through the loop of known length; many ticks of every clock
SIZE_FLAG = "-Os"  # of the code for size, on all processors
OTHER_SPEED_FLAG = "-O2"  # of the code for speed, on processors of no family
_BARE_METAL = "-nostdlib"  # compiler flag for a chip without an operating system
_QEMU = ("-nographic", "-icount", "shift=0")  # the virtual time advances by 1 ns per instruction


def _arm_family(
    core: str,
    flags: tuple[str, ...],
    machine: tuple[str, ...],
    addresses: tuple[int, int],
    memory_bytes: int,
    macro: str,
    zephyr_options: tuple[str, ...],
    speed_flag: str,
) -> ChipFamily:
    """Return a family of a Cortex-M, for a machine of QEMU with RAM and flash of equal size at two addresses."""
    flash, ram = addresses
    return ChipFamily(
        tool_prefix="arm-none-eabi",
        flags=(f"-mcpu={core}", "-mthumb", *flags, _BARE_METAL),
        # The first two words are the stack pointer and the address of the first instruction.
        link_flags=(f"-Wl,--section-start=.vectors={flash:#x},-Ttext={flash + 8:#x},-Tdata={ram:#x},-e,main", "-lgcc"),
        emulator=("qemu-system-arm", "-M", *machine, "-semihosting", *_QEMU, "-kernel"),
        unit="instructions",
        pass_work=2,
        ram_bytes=memory_bytes,
        flash_bytes=memory_bytes,
        macro=macro,
        zephyr_options=zephyr_options,
        speed_flag=speed_flag,
    )


CHIP_FAMILIES = {
    "Cortex-M0": _arm_family(
        # More RAM than on the micro:bit, so that networks for larger chips can be measured.
        "cortex-m0", (), ("microbit", "-global", "nrf51-soc.sram-size=262144"), (0, 0x20000000), 262_144,
        "__ARM_ARCH_6M__", ("CPU_CORTEX_M0", "CPU_CORTEX_M0PLUS"), "-O2",
    ),
    "Cortex-M55": _arm_family(
        # GCC uses vector instructions, also of integers, with the flag for floats only. The addresses are the secure
        # ones of the tightly coupled memories. -O3: 17 % fewer instructions than -O2 for b0e868, 4.1 kB more code.
        "cortex-m55", ("-mfloat-abi=hard",), ("mps3-an547",), (0x10000000, 0x30000000), 2**19,
        "__ARM_FEATURE_MVE", ("CPU_CORTEX_M55", "CPU_CORTEX_M85"), "-O3",
    ),
    "Cortex-M4": _arm_family(
        # -O3: 11 % fewer instructions than -O2 for b0e868, 4.2 kB more code.
        "cortex-m4", (), ("mps2-an386",), (0, 0x20000000), 2**22,
        "__ARM_FEATURE_DSP", ("CPU_CORTEX_M4", "CPU_CORTEX_M7", "CPU_CORTEX_M33"), "-O3",
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
        macro="__riscv",
        zephyr_options=("RISCV",),
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
        macro="__AVR__",
        speed_flag="-Os",  # smaller than -O2, and as fast
    ),
}  # fmt: skip
