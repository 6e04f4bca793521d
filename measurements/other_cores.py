"""Measure the exported C on emulated cores that ``export`` does not measure: Xtensa, and RISC-V with vectors.

Two recorded networks run as code for size and for speed on an Xtensa LX106 (ESP8266) and on RV32IMC, compiled by clang
for the plain core, and with the vector extension for integers (Zve32x, 128 bits), which clang uses for loops. Requires
the packages gcc-xtensa-lx106, clang-19, gcc-riscv64-unknown-elf and qemu-system-misc of Debian, and a copy of MNIST.

    python -m measurements.other_cores FOLDER_OF_MNIST
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from harness.data.training_images import load
from harness.exports.c_library import EXAMPLES, Library
from harness.exports.chip_families import CHIP_FAMILIES, ChipFamily
from harness.exports.compiled import write_files
from harness.spaces.fast_kernels import Optimisation
from measurements.exported_c import checked_emulation, recorded_network

_RECORDS = ("ecbe650b5cc8-63902e6a5fda-mnist-99_4", "b0e8688f0529-e48975600a06-mnist-99_4")
_FLAGS = ("-Os", "-O2", "-O3")
_RV32 = CHIP_FAMILIES["RV32IMC"]
_DIVISIONS = "divisions.c"
# The compiler of Debian for the ESP8266 has no divisions of 32 bits, which are in the ROM of this chip.
_DIVISION_FUNCTIONS = """\
#include <stdint.h>
uint32_t __udivsi3(uint32_t dividend, uint32_t divisor)
{
    uint32_t quotient = 0, bit = 1;
    while (divisor < dividend && !(divisor >> 31)) {
        divisor <<= 1;
        bit <<= 1;
    }
    for (; bit; bit >>= 1, divisor >>= 1)
        if (dividend >= divisor) {
            dividend -= divisor;
            quotient |= bit;
        }
    return quotient;
}
uint32_t __umodsi3(uint32_t dividend, uint32_t divisor) { return dividend - __udivsi3(dividend, divisor) * divisor; }
int32_t __divsi3(int32_t dividend, int32_t divisor)
{
    uint32_t size = dividend < 0 ? -(uint32_t)dividend : (uint32_t)dividend;
    uint32_t quotient = __udivsi3(size, divisor < 0 ? -(uint32_t)divisor : (uint32_t)divisor);
    return (int32_t)((dividend < 0) == (divisor < 0) ? quotient : -quotient);
}
"""


def _clang(extension: str, core: str) -> ChipFamily:
    return replace(
        _RV32,
        flags=(
            *("--target=riscv32-unknown-elf", f"-march=rv32imc_zicsr{extension}", "-mabi=ilp32", "-mcmodel=medany"),
            *("-ffreestanding", "-nostdlib"),
        ),
        link_flags=(
            *("--ld-path=/usr/bin/riscv64-unknown-elf-ld", "-Wl,-m,elf32lriscv"),
            "-Wl,--section-start=.init=0x80000000,-e,start",
        ),
        emulator=("qemu-system-riscv32", "-cpu", core, *_RV32.emulator[1:]),
        other_compiler="clang-19",
    )


FAMILIES = {
    "Xtensa LX106": replace(
        _RV32,
        tool_prefix="xtensa-lx106-elf",
        flags=("-ffreestanding", "-nostdlib", "-mtext-section-literals"),
        link_flags=("-Wl,--section-start=.vectors=0x50000000,-Ttext=0x50000010,-e,start", _DIVISIONS, "-lgcc"),
        emulator=(
            *("qemu-system-xtensa", "-M", "sim", "-cpu", "lx106", "-semihosting"),
            *("-nographic", "-icount", "shift=0", "-kernel"),
        ),
        macro="__XTENSA__",
    ),
    "RV32IMC, clang": _clang("", "rv32"),
    "RV32IMC with vectors, clang": _clang("_zve32x_zvl128b", "rv32,v=true,vlen=128"),
}


def write(library: Library, folder: Path) -> None:
    """Write the files of a library, and the divisions that the compiler for Xtensa lacks."""
    write_files(library, folder)
    (folder / _DIVISIONS).write_text(_DIVISION_FUNCTIONS, encoding="utf-8")


def main() -> None:
    """Print bytes of code, bytes of stack, and instructions per image."""
    print("| network | code | core | flag | code, bytes | stack, bytes | instructions per image |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    data = load("mnist", Path(sys.argv[1]))
    for name in _RECORDS:
        library = recorded_network(name, 0, data, 1).library
        library = replace(library, examples=data.train_images[data.examples(EXAMPLES)].numpy())
        for optimise in Optimisation:
            for core, family in FAMILIES.items():
                for flag in _FLAGS:
                    result = checked_emulation(replace(library, optimise=optimise), family, flag, write)
                    figures = f"{result.code_bytes:,} | {result.stack_bytes:,} | {result.work:,}"
                    print(f"| `{name[:6]}` | {optimise} | {core} | `{flag}` | {figures} |", flush=True)


if __name__ == "__main__":
    main()
