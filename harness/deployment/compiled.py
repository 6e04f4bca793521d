"""The C of a network, compiled and run on this machine: its logits of many images."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.deployment.c_library import Library, files_of, runner_of
from harness.system.errors import DeviceError
from harness.system.machine import compiler_words

# Tried in this order where CC names none.
_COMPILERS = ("cc", "gcc", "clang")
_WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror")


def find_compiler() -> str | None:
    """Return the command of the C compiler: that of CC, else the first installed; None where there is none."""
    return " ".join(compiler_words("CC", _COMPILERS)) or None


def write_files(library: Library, folder: Path) -> None:
    """Write the folder of a library and the program that runs it on many images."""
    for path, text in {**files_of(library), "test/run.c": runner_of(library)}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def compile_runner(folder: Path, name: str, command: str, flags: Sequence[str] = ("-O2",)) -> Path:
    """Compile the program of a folder that ``write_files`` wrote; return its path.

    Raises:
        DeviceError: the compiler refuses it.
    """
    program = folder / "run"
    sources = ["test/run.c", f"src/{name}.c"]
    words = [*command.split(), *flags, *_WARNINGS, "-Isrc", "-o", str(program), *sources]
    run = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if run.returncode:
        raise DeviceError(f"{command} refuses the network: {run.stderr.strip().splitlines()[0]}")
    return program


def run_logits(program: Path, pixels: npt.NDArray[np.uint8], classes: int) -> npt.NDArray[np.int32]:
    """Return what a compiled program says of images, uint8 (n, channels, rows, columns): int32 (n, classes).

    Raises:
        DeviceError: the program fails.
    """
    images = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
    run = subprocess.run([program], input=images.tobytes(), capture_output=True, check=False)
    if run.returncode:
        raise DeviceError(f"the compiled network fails: {run.stderr.decode(errors='replace').strip()[:200]}")
    return np.frombuffer(run.stdout, np.int32).reshape(-1, classes)
