"""Measure the exported C that is optimised for size and for speed on emulated chips, for networks of different form.

The networks have random weights, because instructions hardly depend on the weights. The table is printed as Markdown.
The share of the inner loops (functions ``dot`` and ``slide``) is counted in the log of executed blocks of QEMU, for the
code for speed; in the code for size the compiler may inline them.
Requires the cross compilers and emulators that CONTRIBUTING lists.

    python -m measurements.kernels
"""

from __future__ import annotations

import bisect
import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from harness.exports.c_library import Library, emulated_program
from harness.exports.chip_families import CHIP_FAMILIES, ChipFamily
from harness.exports.compiled import write_files
from harness.spaces.fast_kernels import Optimisation
from harness.spaces.network import analyse
from harness.spaces.notation import parse_network
from harness.system.errors import HarnessError
from measurements.exported_c import checked_emulation, random_library

_FLAG = "-O2"  # option of the compilers, for both variants
_CHIPS = ("Cortex-M0", "RV32IMC")  # keys of ``CHIP_FAMILIES``
NETWORKS = (
    "conv3x3(8) bn relu maxpool conv3x3(16) bn relu maxpool conv3x3(16) bn relu | gap | linear(10)",
    "conv5x5(6) relu maxpool conv5x5(12, pad=0) relu maxpool | linear(10)",
    "conv3x3(16, poses=4) bn(poses=4) relu avgpool conv3x3(16, poses=4) bn(poses=4) relu avgpool | gap | linear(10)",
    "conv3x3(16, poses=8) bn(poses=8) relu maxpool conv3x3(16, poses=8) bn(poses=8) relu maxpool | gap | linear(10)",
    "conv3x3(8) bn relu maxpool dwconv3x3 bn conv1x1(16) bn relu maxpool dwconv3x3 conv1x1(24) relu | gap | linear(10)",
    "conv3x3(8, poses=8) bn relu avgpool conv1x1(24, poses=8) dwconv3x3(poses=8) conv1x1(24, poses=8) bn relu | gap"
    " | linear(10)",
    "conv3x3(12, stride=2) bn relu conv3x3(16, groups=4) bn relu maxpool conv1x1(20) relu | gap | linear(10)",
    "unshuffle(4) conv1x1(24) bn relu res(conv3x3(24, groups=8) bn relu conv1x1(24) bn) relu | gap | linear(10)",
    "conv1x5(8) bn relu conv1x5(8, stride=2) bn relu conv3x1(12) leaky maxpool | gap | linear(10)",
    "maxpool(4) linear(32) relu linear(10)",
)


def _inner_share(library: Library, family: ChipFamily) -> float:
    """Return the share of the instructions of an image in the inner loops, from 0 to 1."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(library, folder)
        (folder / "main.c").write_text(emulated_program(library, library.examples, passes=1), encoding="utf-8")
        compiler = [f"{family.tool_prefix}-gcc", *family.flags, _FLAG, "-std=c99", "-Isrc"]
        sources = ["main.c", f"src/{library.name}.c"]
        subprocess.run([*compiler, *sources, *family.link_flags, "-o", "program"], cwd=folder, check=True)
        lister = [f"{family.tool_prefix}-nm", "--numeric-sort", "program"]
        symbols = subprocess.run(lister, cwd=folder, capture_output=True, text=True, check=True).stdout
        # Arm marks the beginning of code and data by names with "$".
        rows = [row.split() for row in symbols.splitlines() if re.search(r" [tT] [^$]", row)]
        *command, kernel = family.emulator
        run = subprocess.Popen(
            [*command, "-d", "in_asm,exec,nochain", kernel, "program"], cwd=folder, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert run.stderr is not None, "stderr is a pipe"
        sizes: Counter[int] = Counter()  # instructions of each block, by its latest translation
        executed: Counter[int] = Counter()  # instructions by the start of the block
        block: int | None = None
        for line in run.stderr:
            if line.startswith("IN:"):
                block = None
            elif line.startswith("0x"):
                if block is None:
                    block = int(line.split(":")[0], 16)
                    sizes[block] = 0
                sizes[block] += 1
            elif execution := re.match(r"Trace.*?\[[0-9a-f]+/([0-9a-f]+)/", line):
                start = int(execution[1], 16)
                executed[start] += sizes[start]
        if run.wait() != 0:
            raise HarnessError(f"{command[0]} ended with code {run.returncode}")
    starts = [int(row[0], 16) for row in rows]
    work: Counter[str] = Counter()
    for start, count in executed.items():
        # Blocks before the first symbol are the reset code of QEMU.
        if start >= starts[0]:
            work[rows[bisect.bisect_right(starts, start) - 1][2]] += count
    outside = sum(work[function] for function in ("main", "write_letter", "write_number", "ask", "start"))
    inner = sum(count for function, count in work.items() if re.match(r"dot_|slide_", function))
    return inner / (work.total() - outside)


def main() -> None:
    """Measure and print the table."""
    print("| network | multiply-adds | arena | chip | per multiply-add, size | speed |"
          " inner loops, speed | code, size | speed | stack, size | speed |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for text in NETWORKS:
        library = random_library(parse_network(text))
        macs = analyse(parse_network(text), library.dataset.task).macs
        for chip in _CHIPS:
            family = CHIP_FAMILIES[chip]
            variants = [replace(library, optimise=optimise) for optimise in Optimisation]
            results = [checked_emulation(variant, family, _FLAG) for variant in variants]
            share = _inner_share(replace(library, optimise=Optimisation.SPEED), family)
            works = " | ".join(f"{result.work / macs:.2f}" for result in results)
            codes = " | ".join(f"{result.code_bytes:,}" for result in results)
            stacks = " | ".join(f"{result.stack_bytes:,}" for result in results)
            name = text.replace(" | ", " ")
            arena = library.network.plan.arena_bytes
            print(
                f"| `{name}` | {macs:,} | {arena:,} | {chip} | {works} | {100 * share:.0f} % | {codes} | {stacks} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
