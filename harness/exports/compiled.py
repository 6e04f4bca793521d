"""Compile the exported C code on this machine, and compute the logits of many images."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.exports.c_library import Library, context_of, files_of, rendered
from harness.system.errors import DeviceError, reason
from harness.system.machine import compiler_words, run_program

_COMPILERS = ("cc", "gcc", "clang")  # in this order, if CC is not set
_SECONDS = 600.0  # time limit of the compiler and of the program
_WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror")


class ForeignProgram(DeviceError):
    """Raised if this machine cannot run a program: wrong processor, or a folder mounted without execution."""


def find_compiler() -> str | None:
    """Return the command of the C compiler: CC, else the first installed compiler, or None."""
    return " ".join(compiler_words("CC", _COMPILERS)) or None


def write_files(library: Library, folder: Path) -> None:
    """Write the files of a library and ``test/run.c``, which runs the network on many images."""
    for path, text in {**files_of(library), "test/run.c": rendered("run.c", context_of(library))}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def compile_runner(folder: Path, name: str, command: str, flags: Sequence[str] = ("-O2",)) -> Path:
    """Compile ``test/run.c`` in a folder from ``write_files``, and return the path of the program.

    ``flags`` are added to the warnings, all of which are errors.

    Raises:
        DeviceError: The compiler cannot be run, or builds no program.
    """
    program = folder / "run"
    sources = ["test/run.c", f"src/{name}.c"]
    arguments = [*command.split(), *flags, *_WARNINGS, "-Isrc", "-o", str(program), *sources]
    try:
        run = run_program(arguments, _SECONDS, folder=folder)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeviceError(f"{command} cannot be run: {reason(error)}") from error
    if run.returncode:
        error_lines = run.stderr.decode(errors="replace").strip().splitlines()
        first_line = next(iter(error_lines), f"exit code {run.returncode}")
        raise DeviceError(f"{command} does not build the test program: {first_line}")
    if not program.exists():
        raise DeviceError(f"{command} wrote no program")
    return program


def run_logits(program: Path, pixels: npt.NDArray[np.uint8], classes: int) -> npt.NDArray[np.int32]:
    """Return the logits, int32 (n, classes), of a compiled program for images, uint8 (n, channels, rows, columns).

    Raises:
        ForeignProgram: This machine cannot run the program.
        DeviceError: The program fails.
    """
    images = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))  # channels innermost, as C reads images
    try:
        run = run_program([program], _SECONDS, content=images.tobytes())
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ForeignProgram(f"this machine cannot run the compiled program: {reason(error)}") from error
    if run.returncode:
        raise DeviceError(f"the compiled network failed: {run.stderr.decode(errors='replace').strip()[:200]}")
    return np.frombuffer(run.stdout, np.int32).reshape(-1, classes)
