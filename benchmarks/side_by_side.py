"""Compare the exported C with other tools for the same trained networks, compilers and emulated chips.

The measured rows of the table in docs/deployment.md are printed as Markdown. Requires MNIST, the development
environment (onnx), and the cross compilers and emulators that CONTRIBUTING lists. The other tools are optional; a tool
that is missing, or that refuses a network, gets a row with the reason:

    pip install bakenn==1.0.0 emx-onnx-cgen==1.4.0 litert-torch==0.10.0
    apt-get install libnewlib-arm-none-eabi picolibc-riscv64-unknown-elf
    python -m benchmarks.side_by_side
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from benchmarks.kernels import integer_library
from harness.data.datasets import dataset
from harness.data.training_images import load
from harness.deployment.c_library import Library, files_of, runner_of
from harness.deployment.compiled import compile_runner, run_logits
from harness.deployment.emulated import FAMILIES, emulate
from harness.deployment.onnx import integers_to_onnx, to_onnx
from harness.evidence.evaluation import network_of
from harness.evidence.record import read, read_recorded
from harness.system.errors import DeviceError
from harness.training.integer import integer_logits
from harness.training.torch_network import Images, normalised
from search_spaces.fast_kernels import Optimisation
from search_spaces.modules import PosedBatchNorm, PosedConv2d, in_poses

_ROOT = Path(__file__).parents[1]
# Records with the index of a seed whose weights are kept, and the form and tier of the network.
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
_CONSTANTS = re.compile(r"(kernel|multipliers|biases|weight\d+|bknn_other_(constant|op\d+))_")  # names of C arrays
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


@dataclass(frozen=True, slots=True)
class _Network:
    # A network: C of the harness, float module with rotated kernels written out, ONNX files by kind, training images as
    # bytes and as the module takes them, and the classes of the module.
    title: str
    library: Library
    plain: nn.Module
    onnx: dict[str, bytes]
    pixels: Tensor
    images: Tensor
    classes: _Logits


def _network(name: str, index: int, form: str, data: Any) -> _Network:
    spec = dataset("mnist")
    evidence = read(_ROOT / "records" / f"{name}.json")
    network = network_of(read_recorded(_ROOT / "records", evidence, index), spec.task)
    pixels = data.train_images[:_COMPARED_IMAGES]
    content = to_onnx(network, spec, pixels[:2], {})[0]
    known = Images(data.train_images, torch.as_tensor(data.train_labels).long(), spec.mean, spec.std)
    library = integer_library(network, evidence.architecture, spec, known)
    accuracy = np.mean([run.accuracy_pct for run in evidence.seeds])
    title = f"`{name[:6]}`, {evidence.parameters:,} parameters, {form}; {accuracy:.3f} %, {len(evidence.seeds)} seeds"
    onnx = {"float": content, "integer": integers_to_onnx(library.network, spec, pixels[:1], {})[0]}
    plain = _plain(network)
    images = normalised(pixels.float() / 255, spec.mean, spec.std)
    with torch.inference_mode():
        classes = plain(images).flatten(1).argmax(1).numpy()
    return _Network(title, library, plain, onnx, pixels, images, classes)


def _plain(network: Any) -> nn.Module:
    """Return a copy of the layers in which kernels and scales of all poses are written out."""
    plain: nn.Module = deepcopy(network.ops)  # without the view at the end, which bakenn refuses
    for module in plain.modules():
        if isinstance(module, PosedConv2d):
            module.weight = nn.Parameter(in_poses(module.weight, module.poses))
            module.groups = module.in_channels // module.weight.shape[1]
            module.__class__ = nn.Conv2d  # type: ignore[assignment]  # the kernel is an ordinary kernel now
        elif isinstance(module, PosedBatchNorm):
            statistics = ("running_mean", "running_var") if module.shared else ()
            for name in ("weight", "bias", *statistics):
                repeated = getattr(module, name).repeat_interleave(module.poses)
                setattr(module, name, nn.Parameter(repeated, requires_grad=False))
            module.__class__ = nn.BatchNorm2d  # type: ignore[assignment]
    return plain.eval()


def _harness(network: _Network) -> Iterator[str]:
    expected = integer_logits(network.library.network, network.pixels.numpy())
    for optimise in Optimisation:
        library = replace(network.library, optimise=optimise)
        source = files_of(library)["src/network.c"]
        yield _measured(network, f"harness, {optimise}", library.compiler_flag, {"network.c": source}, expected)


def _bakenn(network: _Network) -> Iterator[str]:
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


def _emx(network: _Network) -> Iterator[str]:
    runtime = importlib.import_module("onnxruntime")
    importlib.import_module("emx_onnx_cgen")
    for kind, content in network.onnx.items():
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "other.onnx").write_bytes(content)
            words = [sys.executable, "-m", "emx_onnx_cgen", "compile", "--input-dim", "batch=1"]
            words += ["--model-name", "other", "--large-weight-threshold", "0", "other.onnx", "other.c"]
            subprocess.run(words, cwd=name, capture_output=True, check=True)
            text = (Path(name) / "other.c").read_text()
        # The chips have no heap: each map gets a static array.
        heap = re.compile(r"(\w+) \(\*(\w+)\)(\S+) = malloc\(.* \* (\d+)\);")
        text = heap.sub(r"static \1 \2_memory[\4]\3 __attribute__((aligned(8))); \1 (*\2)\3 = \2_memory;", text)
        adapter = _ADAPTER % ('#define free(map)\n#include "other.c"', "other((const void *)pixels, (void *)logits);")
        session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
        expected = session.run(None, {"pixels": network.pixels.numpy()})[0]
        tool = f"emx-onnx-cgen 1.4.0, {kind} ONNX"
        yield _measured(network, tool, "-O2", {"other.c": text, "network.c": adapter}, expected)


def _litert(network: _Network) -> Iterator[str]:
    litert_torch = importlib.import_module("litert_torch")
    interpreters = importlib.import_module("ai_edge_litert.interpreter")
    edge = importlib.import_module("ai_edge_quantizer")
    images = network.images.numpy()
    # The converter prints its progress to stdout.
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


def _measured(network: _Network, name: str, flag: str, files: dict[str, str], expected: _Logits) -> str:
    """Return the cells of a tool: constants, code, RAM, instructions in millions, and the comparisons.

    ``files`` are the C files by name, ``expected`` the logits of the Python side for the first images.
    """
    library = network.library
    plan = library.network.plan

    def write(_: Library, folder: Path) -> None:
        texts = {"src/network.h": files_of(library)["src/network.h"], "test/run.c": runner_of(library)}
        for path, text in (texts | {f"src/{path}": text for path, text in files.items()}).items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")

    with tempfile.TemporaryDirectory() as folder:
        write(library, Path(folder))
        program = compile_runner(Path(folder), library.name, "cc", ("-O2", "-w", "-Wl,--no-as-needed", "-lm"))
        logits = run_logits(program, network.pixels.numpy(), library.dataset.classes)
        listing = subprocess.run(["nm", "-S", program], capture_output=True, text=True, check=True).stdout
    sizes = [(row[3], int(row[1], 16)) for row in map(str.split, listing.splitlines()) if len(row) == 4]
    constant_bytes = sum(size for symbol, size in sizes if _CONSTANTS.match(symbol))
    buffer_bytes = sum(size for symbol, size in sizes if "memory" in symbol) or plan.arena_bytes
    costs = []
    for chip, (flags, link_flags) in _C_LIBRARIES.items():
        known = FAMILIES[chip]
        all_link_flags = (*known.link_flags, *link_flags, "-lm", "-lc", "-lgcc")
        family = replace(known, flags=(*known.flags, *flags), link_flags=all_link_flags)
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
    difference = np.abs(compared - expected).max() / np.abs(expected).max()
    equality = f"{int((compared == expected).sum()):,} of {compared.size:,} logits equal, difference {difference:.0e}"
    return (
        f"{name}, `{flag}` | {constant_bytes:,} | {code} | {buffer_bytes:,} + {stack} | {work} | {equality} |"
        f" {emulated} | {int((logits.argmax(1) != network.classes).sum())}"
    )


_TOOLS = {"harness": _harness, "bakenn": _bakenn, "emx-onnx-cgen": _emx, "LiteRT": _litert}


def main() -> None:
    """Measure and print the table."""
    print(_HEADING)
    data = load("mnist", Path(os.environ["HARNESS_DATA"]) if "HARNESS_DATA" in os.environ else None)
    for name, index, form in _NETWORKS:
        network = _network(name, index, form, data)
        print(f"| {network.title} | | | | | | | | |")
        for tool, measure in _TOOLS.items():
            try:
                for cells in measure(network):
                    print(f"| | {cells} |", flush=True)
            except ModuleNotFoundError as error:
                print(f"| | {tool} | | | | | {error} | | |", flush=True)


if __name__ == "__main__":
    main()
