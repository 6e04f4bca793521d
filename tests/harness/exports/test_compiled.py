"""Errors of compilers, and compiled programs that this machine cannot run."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from harness.exports.compiled import ForeignProgram, compile_runner, run_logits
from harness.system.errors import DeviceError

# The ELF header of a program for IBM S/390.
FOREIGN = b"\x7fELF" + bytes([2, 2, 1]) + bytes(9) + struct.pack(">HHI", 2, 22, 1) + bytes(40)
PIXELS = np.zeros((2, 1, 3, 3), np.uint8)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 3", "does not build the test program: exit code 3"),
        ("echo 'error: no' >&2; exit 1", "does not build the test program: error: no"),
        ("exit 0", "wrote no program"),
    ],
)
def test_compiler_without_output_is_reported(script: str, message: str, tmp_path: Path):
    compiler = tmp_path / "cc"
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    compiler.chmod(0o755)

    with pytest.raises(DeviceError, match=message):
        compile_runner(tmp_path, "net", str(compiler))
    compiler.chmod(0o644)
    with pytest.raises(DeviceError, match="cannot be run"):
        compile_runner(tmp_path, "net", str(compiler))


@pytest.mark.parametrize("mode", [0o755, 0o644], ids=["of another machine", "not executable"])
def test_program_that_cannot_run_raises_foreign_program(mode: int, tmp_path: Path):
    program = tmp_path / "run"
    program.write_bytes(FOREIGN)
    program.chmod(mode)

    with pytest.raises(ForeignProgram, match="cannot run the compiled program"):
        run_logits(program, PIXELS, 3)
