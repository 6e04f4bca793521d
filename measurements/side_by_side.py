"""Compare the exported C with other tools for the same trained networks, compilers and emulated chips.

The measured rows of the table in docs/use/deployment.md are printed as Markdown. Requires MNIST, the development
environment (onnx), and the cross compilers and emulators that CONTRIBUTING lists. The other tools are optional; a
missing tool, or a tool that refuses a network, gets a row with the reason. onnx2c is built from commit ea045cc1 of
github.com/kraiskil/onnx2c; the remaining tools are packages:

    pip install bakenn==1.0.0 emx-onnx-cgen==1.4.0 litert-torch==0.10.0
    apt-get install libnewlib-arm-none-eabi picolibc-riscv64-unknown-elf
    python -m measurements.side_by_side
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harness.data.training_images import load
from harness.exports.c_library import Library
from harness.exports.chip_families import CHIP_FAMILIES
from harness.exports.compiled import compile_runner, run_logits, write_files
from harness.exports.emulated import emulate
from harness.spaces.fast_kernels import Optimisation
from harness.system.errors import DeviceError
from harness.training.integer import integer_logits
from harness.training.torch_network import normalised
from measurements.exported_c import RecordedNetwork, recorded_network

# Records with the index of a seed whose weights are kept, and the family and tier of the network.
_NETWORKS = (
    ("eab8ffbcd93d-a58909f48ce2-mnist-99_4", 2, "rotated kernels, certified"),
    ("b6b7c929928c-e65cc440f4a1-mnist-99_4", 0, "plain kernels, verified"),
    ("ecbe650b5cc8-63902e6a5fda-mnist-99_4", 0, "rotated kernels, trained to end with integers, certified"),
    ("b0e8688f0529-e48975600a06-mnist-99_4", 0, "plain kernels, trained to end with integers, certified"),
)
_CALIBRATION_IMAGES = 20  # training images; bakenn takes up to five seconds per image
_COMPARED_IMAGES = 1_000  # training images for the comparisons of logits and classes on this machine
_SLOW_IMAGES = 10  # images for the Python side of bakenn, which takes a second per image
_CHIP_IMAGES = 2
_PICOLIBC = "/usr/lib/picolibc/riscv64-unknown-elf"
# Flags of compiler and linker for a C library, for each chip; libgcc exists for rv32imac.
_RV32IMAC = ("-misa-spec=2.2", "-march=rv32imac", "-isystem", f"{_PICOLIBC}/include")
_C_LIBRARIES = {"Cortex-M0": ((), ()), "RV32IMC": (_RV32IMAC, (f"-L{_PICOLIBC}/lib/rv32imac/ilp32",))}
# Names of C arrays with constants, and of static buffers.
_CONSTANTS = re.compile(r"(kernel|multipliers|biases|weight\d+|bknn_other_(constant|op\d+)|tensor_constant)_")
_BUFFERS = re.compile(r"memory|\w+_memory|tu\d+$")
# Commands that translate ``other.onnx`` into ``other.c`` with the function ``other``.
_TRANSLATORS = {
    "emx-onnx-cgen 1.4.0": f"{sys.executable} -m emx_onnx_cgen compile --input-dim batch=1 --model-name other"
    " --large-weight-threshold 0 other.onnx other.c",
    "onnx2c ea045cc1": "onnx2c --define batch:1 --func-name other other.onnx > other.c",
}
_HEADING = """\
| network, accuracy | tool | constants, bytes | code, bytes, M0 / RV32 | RAM, bytes, M0 / RV32 | million instructions \
per image, M0 / RV32 | logits of C and Python | emulated logits, M0 / RV32 | classes |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |"""
_ADAPTER = """\
#include "network.h"
%s
void network_logits(uint8_t *arena, const uint8_t *pixels, int32_t *logits)
{%s}
"""
_BAKENN = """
    static int8_t input[784], output[10];
    static uint8_t memory[BKNN_OTHER_ARENA_SIZE] __attribute__((aligned(16)));
    for (int i = 0; i < 784; i++) input[i] = shades[pixels[i]];
    bknn_other_infer(memory, input, output);
    for (int i = 0; i < 10; i++) logits[i] = output[i];
"""

_Logits = npt.NDArray[Any]  # int32 or float32, (n, 10)


def _harness(network: RecordedNetwork) -> Iterator[str]:
    expected = integer_logits(network.library.network, network.pixels.numpy())
    for optimise in Optimisation:
        library = replace(network.library, optimise=optimise)
        yield _measured(replace(network, library=library), f"harness, {optimise}", library.compiler_flag, {}, expected)


def _bakenn(network: RecordedNetwork) -> Iterator[str]:
    bakenn = importlib.import_module("bakenn")
    images = network.images.numpy()
    with tempfile.TemporaryDirectory() as name:
        samples = images[:_CALIBRATION_IMAGES]
        try:
            model = bakenn.compile_torch_ptq(network.plain, network.images[:1], samples, name, name="other")
        except bakenn.CompileError as error:
            yield f"bakenn | | | | | refuses: {error} | | "
            return
        files = {path.name: path.read_text() for path in Path(name).glob("*.[ch]")}
    spec = network.library.dataset
    levels = normalised(torch.arange(256).reshape(256, 1, 1, 1) / 255, spec.mean, spec.std).expand(256, 1, 28, 28)
    shades = [int(bakenn.quantize_input(model.plan, level[None, ..., None]).flat[0]) for level in levels[:, 0].numpy()]
    lines = [f'#include "bknn_other{part}.c"' for part in ("", "_kernels", "_weights")]
    lines.append(f"static const int8_t shades[256] = {{{', '.join(map(str, shades))}}};")
    files["network.c"] = _ADAPTER % ("\n".join(lines), _BAKENN)
    inputs = [bakenn.quantize_input(model.plan, image[None, ..., None]) for image in images[:_SLOW_IMAGES, 0]]
    expected = np.array([bakenn.run_reference(model.plan, numbers).ravel() for numbers in inputs], np.int32)
    for flag in ("-Os", "-O2"):
        yield _measured(network, "bakenn 1.0.0", flag, files, expected)


def _onnx(network: RecordedNetwork) -> Iterator[str]:
    runtime = importlib.import_module("onnxruntime")
    for (tool, command), (kind, content) in itertools.product(_TRANSLATORS.items(), network.onnx.items()):
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "other.onnx").write_bytes(content)
            run = subprocess.run(command, shell=True, cwd=name, capture_output=True, text=True, check=False)
            if run.returncode:
                # onnx2c begins lines with the time and a level in brackets.
                reason = next(iter(run.stderr.splitlines()), "no message").rpartition("] ")[2]
                is_missing = run.returncode == 127 or "No module named" in reason
                verdict = "not installed" if is_missing else f"refuses: {reason}"
                yield f"{tool}, {kind} ONNX | | | | | {verdict} | | "
                continue
            text = (Path(name) / "other.c").read_text()
        # The chips have no heap: each map gets a static array.
        heap = re.compile(r"(\w+) \(\*(\w+)\)(\S+) = malloc\(.* \* (\d+)\);")
        text = heap.sub(r"static \1 \2_memory[\4]\3 __attribute__((aligned(8))); \1 (*\2)\3 = \2_memory;", text)
        adapter = _ADAPTER % ('#define free(map)\n#include "other.c"', "other((const void *)pixels, (void *)logits);")
        session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
        expected = session.run(None, {"pixels": network.pixels.numpy()})[0]
        files = {"other.c": text, "network.c": adapter}
        yield _measured(network, f"{tool}, {kind} ONNX", "-O2", files, expected)


def _litert(network: RecordedNetwork) -> Iterator[str]:
    litert_torch = importlib.import_module("litert_torch")
    interpreters = importlib.import_module("ai_edge_litert.interpreter")
    edge = importlib.import_module("ai_edge_quantizer")
    images = network.images.numpy()
    # The converter prints progress to stdout.
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(sys.stderr):
        litert_torch.convert(network.plain, (network.images[:1],)).export(f"{name}/float.tflite")
        quantizer = edge.quantizer.Quantizer(f"{name}/float.tflite", edge.recipe.static_wi8_ai8())
        batch = [{"args_0": image[None]} for image in images[:_CALIBRATION_IMAGES]]
        content = bytes(quantizer.quantize(quantizer.calibrate({"serving_default": batch})).quantized_model)
    interpreter = interpreters.Interpreter(model_content=content, num_threads=1)
    runner = interpreter.get_signature_runner()
    scale, zero = interpreter.get_input_details()[0]["quantization"]
    numbers = np.clip(np.rint(images / np.float32(scale)) + zero, -128, 127).astype(np.int8)
    logits = np.array([next(iter(runner(args_0=image[None]).values())).ravel() for image in numbers])
    differing = int((logits.argmax(1) != network.classes).sum())
    yield f"LiteRT (litert-torch 0.10.0), int8 | {len(content):,}, the file | no C | | | | | {differing}"


def _measured(network: RecordedNetwork, name: str, flag: str, files: dict[str, str], expected: _Logits) -> str:
    """Return the cells of a tool: constants, code, RAM, instructions in millions, and the comparisons.

    ``files`` are C files by name, written to ``src`` after the C of the harness; a file ``network.c`` replaces the code
    of the harness. ``expected`` are the logits of the Python side for the first images.
    """
    library = network.library
    plan = library.network.plan

    def write(_: Library, folder: Path) -> None:
        write_files(library, folder)
        for path, text in files.items():
            (folder / "src" / path).write_text(text, encoding="utf-8")

    with tempfile.TemporaryDirectory() as folder:
        write(library, Path(folder))
        program = compile_runner(Path(folder), library.name, "cc", ("-O2", "-w", "-Wl,--no-as-needed", "-lm"))
        logits = run_logits(program, network.pixels.numpy(), library.dataset.classes)
        listing = subprocess.run(["nm", "-S", program], capture_output=True, text=True, check=True).stdout
    sizes = [(row[3], int(row[1], 16)) for row in map(str.split, listing.splitlines()) if len(row) == 4]
    constant_bytes = sum(size for symbol, size in sizes if _CONSTANTS.match(symbol))
    buffer_bytes = sum(size for symbol, size in sizes if _BUFFERS.match(symbol)) or plan.arena_bytes
    costs = []
    for chip, (flags, link_flags) in _C_LIBRARIES.items():
        plain_family = CHIP_FAMILIES[chip]
        all_link_flags = (*plain_family.link_flags, *link_flags, "-lm", "-lc", "-lgcc")
        family = replace(plain_family, flags=(*plain_family.flags, *flags), link_flags=all_link_flags)
        try:
            emulation = emulate(library, network.pixels[:_CHIP_IMAGES].numpy(), family, flag, write)
        except DeviceError as error:
            print(f"{name}, {chip}: {error.message} {error.hint or ''}", file=sys.stderr)
            costs.append(("-",) * 4)
            continue
        code_bytes = emulation.code_bytes + plan.constant_bytes - constant_bytes
        equal = f"{int((emulation.logits == logits[:_CHIP_IMAGES]).sum())} of {emulation.logits.size}"
        costs.append((f"{code_bytes:,}", f"{emulation.stack_bytes:,}", f"{emulation.work / 1e6:.2f}", equal))
    code, stack, work, emulated = (" / ".join(cells) for cells in zip(*costs, strict=True))
    logits = logits.view(expected.dtype)
    compared = logits[: len(expected)]
    equality = f"{int((compared == expected).sum()):,} of {compared.size:,} logits equal"
    if not np.array_equal(compared, expected):
        equality += f", difference {np.abs(compared - expected).max() / np.abs(expected).max():.0e}"
    return (
        f"{name}, `{flag}` | {constant_bytes:,} | {code} | {buffer_bytes:,} + {stack} | {work} | {equality} |"
        f" {emulated} | {int((logits.argmax(1) != network.classes).sum())}"
    )


_TOOLS = {"harness": _harness, "bakenn": _bakenn, "ONNX": _onnx, "LiteRT": _litert}


def main() -> None:
    """Measure and print the table."""
    print(_HEADING)
    data = load("mnist", Path(os.environ["HARNESS_DATA"]) if "HARNESS_DATA" in os.environ else None)
    for name, seed, family in _NETWORKS:
        network = recorded_network(name, seed, data, _COMPARED_IMAGES)
        seeds = network.record.seeds
        accuracy = f"{np.mean([run.accuracy_pct for run in seeds]):.3f} %, {len(seeds)} seeds"
        print(f"| `{name[:6]}`, {network.record.parameters:,} parameters, {family}; {accuracy} | | | | | | | | |")
        for tool, measure in _TOOLS.items():
            try:
                for cells in measure(network):
                    print(f"| | {cells} |", flush=True)
            except ModuleNotFoundError as error:
                print(f"| | {tool} | | | | | {error} | | |", flush=True)


if __name__ == "__main__":
    main()
