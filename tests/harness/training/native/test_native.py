"""Compilation, cache, loading and choice of the native engine."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.spaces.network import MNIST, Architecture, analyse
from harness.system.errors import DeviceError
from harness.training.native import engine as engine_module
from harness.training.native.engine import (
    _LEVELS,
    _SOURCE_FOLDER,
    OPTIONS,
    EngineChoice,
    EngineUnavailable,
    choose_engine,
    compiler,
)
from harness.training.native.instruction import _HEADER, _header
from harness.training.native.instruction import program as flat
from harness.training.recipe import Recipe
from tests.conftest import REPOSITORY
from tests.harness.training.native.networks import IN_PAIRS, NETWORKS, POSED, POSED_DEPTHWISE, TILED


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return an empty cache folder, with no engine loaded."""
    monkeypatch.setenv("HARNESS_ENGINE_CACHE", str(tmp_path / "cache"))
    engine_module._outcome.cache_clear()
    yield tmp_path / "cache"
    engine_module._outcome.cache_clear()


def write_script(path: Path, text: str) -> Path:
    """Write an executable shell script and return the path."""
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture(scope="module")
def library() -> Path:
    """Return the library of an engine compiled by the real compiler."""
    return Path(engine_module.load().path)


def copying_compiler(path: Path, library: Path, command: str = "") -> str:
    """Write a fast compiler: a script that runs ``command``, then copies a library to the output path."""
    copy_command = f'while [ $# -gt 0 ]; do [ "$1" = -o ] && cp {library} "$2"; shift; done'
    return str(write_script(path, f'case "$*" in *--version*) exit;; esac\n{command}\n{copy_command}'))


def test_engine_is_compiled_once_and_cached(
    library: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CXX", copying_compiler(tmp_path / "noting", library, f'echo "$*" >> {tmp_path}/runs'))
    first = engine_module.load()
    engine_module._outcome.cache_clear()
    second = engine_module.load()
    (run,) = (tmp_path / "runs").read_text().splitlines()
    assert {word for word in run.split() if word.endswith(".cpp")} == set(map(str, _SOURCE_FOLDER.glob("*.cpp")))
    assert (first.path, first.name) == (second.path, second.name)
    assert sorted(path.suffix or path.name for path in cache.iterdir()) == [".lock", ".sha256", ".so"]


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ('echo "x.cpp:1: error: no such thing" >&2; exit 1', 0),
        ('echo "ld: final link failed: No space left" >&2; exit 1', 0),
        # The killed process is the driver of the compiler, or a program started by the driver.
        ("kill -KILL $$", 1),
        ('echo "g++: fatal error: Killed signal terminated program cc1plus" >&2; exit 1', 1),
    ],
)
def test_failing_compiler_is_not_run_again_and_leaves_no_files(
    text: str, runs: int, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    text = f'case "$*" in *--version*) ;; *) echo run >> {tmp_path}/runs; {text};; esac'
    monkeypatch.setenv("CXX", str(write_script(tmp_path / "failing", text)))
    for _ in range(2):
        with pytest.raises(EngineUnavailable):
            engine_module.load()
    # A failing compiler may be too old for an instruction set and runs once per set; a killed compiler runs once.
    sets = len(_LEVELS) - _LEVELS.index(engine_module.level())
    assert len((tmp_path / "runs").read_text().split()) == (runs or sets)
    assert {path.suffix for path in cache.iterdir()} == {".lock"}


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_load_raises_without_compiler_or_cache_folder(compiler: str, cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXX", compiler)
    with pytest.raises(EngineUnavailable):
        engine_module.load()
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("HARNESS_ENGINE_CACHE", "/proc/nowhere")
    engine_module._outcome.cache_clear()
    with pytest.raises(EngineUnavailable):
        engine_module.load()


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_damaged_library_is_compiled_again(
    share: float, library: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CXX", copying_compiler(tmp_path / "copying", library))
    # The loader accepts half of a library, and a call then crashes the process.
    path = Path(engine_module.load().path)
    engine_module._outcome.cache_clear()
    # A new file, because the file of a loaded library must not change.
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[: int(share * len(whole))])
    # A folder left by a killed build.
    (path.parent / f".build-{path.stem}-1" / "left").mkdir(parents=True)
    assert engine_module.load().library.engine_lanes() > 0
    assert path.read_bytes() == library.read_bytes()
    assert list(path.parent.glob(".build-*")) == []


@pytest.mark.parametrize(
    ("flags", "machine", "name"),
    [
        ("avx512f avx512bw avx512cd avx512dq avx512vl avx512_bf16 avx2 fma bmi2", "x86_64", "avx512bf16"),
        ("avx512f avx512bw avx512cd avx512dq avx512vl avx2 fma bmi2", "x86_64", "avx512"),
        ("avx512f avx2 fma bmi2", "x86_64", "avx2"),
        ("sse2", "x86_64", "plain"),
        ("asimd", "aarch64", "plain"),
    ],
)
def test_level_is_best_instruction_set_of_processor(
    flags: str, machine: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n", encoding="utf-8")
    monkeypatch.setattr("harness.system.machine._INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert engine_module.level().name == name


SANITIZED = """
import ctypes, sys
import numpy as np
from harness.training.native.driver import _training_type
from harness.training.native.engine import level, load
from dataclasses import astuple
from harness.training.native.instruction import program
from harness.spaces.notation import parse_network
from harness.spaces.network import Task

sanitizers = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
engine = load(level(), extra=sanitizers)
assert "torch" not in sys.modules
generator = np.random.default_rng(0)
labels = generator.integers(0, 10, 50)
pointer = lambda array: array.ctypes.data
# Images of other shapes, too: narrow ones, and some that are wider than one block of columns.
others = [((2, 9, 40), "conv3x3(4) relu gap linear(10)"), ((3, 70, 5), "conv3x3(4) bn relu gap linear(10)")]
for shape, text in [*(((1, 28, 28), text) for text in sys.argv[1:]), *others]:
    flat = program(parse_network(text, Task(shape, 10)), shape)
    pixels = generator.integers(0, 256, (50, *shape), dtype=np.uint8)
    mean, deviation = np.full(shape[0], 0.13, np.float32), np.full(shape[0], 0.31, np.float32)
    values, code = (np.array([*map(astuple, part)], dtype=np.int32) for part in (flat.values, flat.instructions))
    # Programs in bf16 have no tiles.
    for batch, adam, pairs in ((5, 0, 0), (16, 1, 0), (40, 0, 1)):
        handle = engine.library.engine_new(values.ctypes.data, len(flat.values), code.ctypes.data,
            len(flat.instructions), batch, flat.state_size, flat.parameter_count, pointer(mean), pointer(deviation),
            pairs)
        state = generator.normal(0, 0.2, flat.state_size).astype(np.float32)
        state[flat.parameter_count:] = 1
        memories = [np.zeros(flat.parameter_count, np.float32) for _ in range(3)]
        averaged, rates = np.zeros_like(state), np.full(3, 0.01, np.float32)
        order = generator.integers(0, 50, 3 * batch)
        moves = generator.normal(0, 3, (3 * batch, 6)).astype(np.float32)
        row = _training_type(is_double=False)(adam, 1 - adam, 0.9, 0.1)
        shares = np.array([1, 0.5, 0.1], np.float32)
        engine.library.engine_seed(handle, 3)
        engine.library.engine_train(handle, pointer(pixels), pointer(labels), pointer(order), pointer(moves),
            pointer(rates), pointer(shares), 3, 0, ctypes.byref(row), pointer(memories[0]), None, 0,
            flat.state_size, pointer(state), pointer(memories[1]), pointer(memories[2]), pointer(averaged))
        said = np.zeros(50, np.int64)
        engine.library.engine_predict(handle, pointer(pixels), 50, pointer(state), pointer(said))
        assert np.isfinite(state).all() and (0 <= said).all() and (said < 10).all()
        engine.library.engine_free(handle)
print("clean")
"""


@pytest.mark.slow  # four minutes; after a change of the engine's C++
def test_sanitizers_report_no_error_in_engine():
    compiler = engine_module.compiler()
    library = subprocess.run(
        [*compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not os.path.isabs(library):
        pytest.skip(f"{compiler[0]} comes without the address sanitizer")
    environment = {
        **os.environ,
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0",
        "PYTHONPATH": str(REPOSITORY),
    }
    # A 1x1 convolution whose sums need a larger buffer than the sums of larger kernels.
    wide = "conv1x1(4) relu maxpool conv1x1(300) relu gap linear(10)"
    dropouts = ("conv3x3(3) relu dropout(0.3) maxpool conv3x3(9) bn relu dropout2d(0.3) gap linear(10)",)

    answer = subprocess.run(
        [sys.executable, "-c", SANITIZED, *NETWORKS, *IN_PAIRS, *TILED, POSED, POSED_DEPTHWISE, wide, *dropouts],
        capture_output=True,
        text=True,
        env=environment,
    )

    assert (answer.returncode, answer.stdout) == (0, "clean\n"), answer.stderr[-3000:]


def test_old_compiler_compiles_best_accepted_level(
    library: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    unknown = 'case "$*" in *x86-64-v*) echo "error: bad value for -march" >&2; exit 1;; esac'
    monkeypatch.setattr(engine_module, "level", lambda: _LEVELS[-2])
    monkeypatch.setenv("CXX", copying_compiler(tmp_path / "old", library, unknown))
    engine = engine_module.load()
    assert engine.name.startswith("native plain ")
    assert ["avx2" in why for why in engine.skip_reasons] == [True]


@pytest.mark.parametrize("name", ["pointwise", "program"])
def test_switches_in_engine_have_all_cases(name: str):
    source = _SOURCE_FOLDER / f"{name}.cpp"
    # With a default case the compiler does not report a missing case.
    assert "default:" not in source.read_text(encoding="utf-8")
    options = [option for option in OPTIONS if option != "-shared"]
    process = subprocess.run(
        [*compiler(), *options, "-fsyntax-only", "-Werror=switch", source], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr


def test_choose_engine_declines_device_precision_and_missing_compiler(monkeypatch: pytest.MonkeyPatch):
    def raise_unavailable() -> None:
        raise EngineUnavailable("no compiler")

    assert choose_engine("auto", Recipe(), torch.device("meta")).why
    engine = engine_module.load()
    monkeypatch.setattr(engine_module, "load", lambda: replace(engine, pairs=False))
    assert choose_engine("auto", Recipe(), torch.device("cpu")).engine
    assert choose_engine("auto", Recipe(precision="bf16"), torch.device("cpu")).engine is None
    monkeypatch.setattr(engine_module, "load", raise_unavailable)
    assert choose_engine("auto", Recipe(), torch.device("cpu")) == EngineChoice(None, "no compiler")
    with pytest.raises(DeviceError):
        choose_engine("native", Recipe(), torch.device("cpu"))


def test_instruction_header_equals_generated_header():
    assert _HEADER.read_text(encoding="utf-8") == _header(), "python -m harness.training.native.instruction writes it"


@given(st.from_type(Architecture))
def test_program_has_counts_of_network_and_writes_each_value_once(network: Architecture):
    flat_program, analysis = flat(network, MNIST.input_shape), analyse(network, MNIST)
    assert flat_program.parameter_count == analysis.parameters
    assert flat_program.state_size == analyse(network, MNIST).stored_numbers
    targets = [0]
    for item in flat_program.instructions:
        assert {item.source, max(item.summand, 0)} <= set(targets)
        targets.append(item.target)
    assert sorted(targets) == list(range(len(flat_program.values)))
