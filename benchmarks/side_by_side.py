"""Compare the exported C with other tools for the same trained networks, compilers and emulated chips.

The table is printed as Markdown. Requires MNIST, the development environment (onnx), and the cross compilers and
emulators that CONTRIBUTING lists. The other tools are optional; a missing tool gets a row with the reason:

    pip install bakenn==1.0.0 emx-onnx-cgen==1.4.0 litert-torch==0.10.0
    apt-get install libnewlib-arm-none-eabi picolibc-riscv64-unknown-elf
    python -m benchmarks.side_by_side
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from harness.data.datasets import dataset
from harness.data.training_images import load
from harness.deployment.c_library import Library, files_of, runner_of
from harness.deployment.compiled import compile_runner, run_logits
from harness.deployment.emulated import FAMILIES, emulate
from harness.deployment.onnx import integers_to_onnx, to_onnx
from harness.evidence.evaluation import network_of
from harness.evidence.record import read, read_recorded
from harness.system.errors import DeviceError, HarnessError
from harness.training.integer import MAP_SCALES, integer_logits, integer_network, integers_of, map_scales
from harness.training.torch_network import Images, normalised
from search_spaces.deployment import integer_plan
from search_spaces.fast_kernels import Optimisation

_RECORDS = Path(__file__).parents[1] / "records"
# Records with the index of a seed whose weights are kept: rotated kernels, plain kernels, rotated kernels as integers.
_NETWORKS = (
    ("eab8ffbcd93d-a58909f48ce2-mnist-99_4", 2),
    ("b6b7c929928c-e65cc440f4a1-mnist-99_4", 0),
    ("ecbe650b5cc8-63902e6a5fda-mnist-99_4", 0),
)
_CALIBRATION_IMAGES = 40  # bakenn takes more than a second per image
_RANGE_IMAGES = 2_000  # first training images, for the ranges of our integers; as many as in ``harness export``
_COMPARED_IMAGES = 1_000  # training images for the comparison of classes, with the C compiler of this machine
_SLOW_IMAGES = 10  # images for a Python side that takes a second per image
_CHIP_IMAGES = 2
_CHIPS = ("Cortex-M0", "RV32IMC")
_PICOLIBC = "/usr/lib/picolibc/riscv64-unknown-elf"
# Flags of compiler and linker for code that needs a C library.
_LIBC = {
    "Cortex-M0": ((), ("-lm", "-lc", "-lgcc")),
    "RV32IMC": (
        ("-misa-spec=2.2", "-march=rv32imac", "-isystem", f"{_PICOLIBC}/include"),  # libgcc exists for rv32imac
        (f"-L{_PICOLIBC}/lib/rv32imac/ilp32", "-lm", "-lc", "-lgcc"),
    ),
}
# Rows without a measurement here: network, accuracy, tool, and the remaining cells.
_OTHER_ROWS = (
    "BitNetMCU, own network, 64 wide | 99.54 %, published weights, one training run | BitNetMCU, `-Os`, `-O3`"
    " | 11,264 | - / 1,472 | 2,412 | - / 1.35, 1.06 | measured in an audit of 27 November 2026, not by this command",
    "[bakeNN's example](https://github.com/scienthoon/bakeNN/blob/main/benchmarks/esp32/results/mnist_trained_esp32.md)"
    " | 97.02 %, one training run | bakenn | 4,508 | 4,363 (ESP32) | 3,920 | 3.17 million cycles (ESP32) | published",
    "any of these | | onnx2c | | | | | no package in PyPI or Debian 12",
    "any of these | | emlearn 0.23.2 | | | | | refuses convolutions: of Keras only dense layers, of scikit-learn"
    " trees, MLP and others",
)
_TYPE_BYTES = {"float": 4, "int32_t": 4, "int8_t": 1, "uint8_t": 1}  # sizes of the C types of emx-onnx-cgen

_Logits = npt.NDArray[Any]  # int32, or the bits of float32, (n, 10)


@dataclass(frozen=True, slots=True)
class _Tool:
    # A network of a tool: C files by name (source and header), bytes of constants and of RAM without
    # the stack, the Python side, and the number of images that the Python side may take.
    name: str
    flag: str
    files: dict[str, str]
    constant_bytes: int
    ram_bytes: int
    python: Callable[[Tensor], _Logits]
    images: int = _COMPARED_IMAGES
    is_float: bool = False


class _Plain(nn.Module):
    # The layers of an ONNX model of ``to_onnx`` from the first convolution on, with rotated kernels written out.

    def __init__(self, content: bytes) -> None:
        from onnx import helper, load_from_string, numpy_helper

        super().__init__()
        graph = load_from_string(content).graph
        tensors = {each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in graph.initializer}
        first = next(index for index, node in enumerate(graph.node) if node.op_type == "Conv")
        self.nodes = [(node.op_type, list(node.input), node.output[0]) for node in graph.node[first:]]
        if self.nodes[-1][0] == "Reshape":
            del self.nodes[-1]  # bakenn refuses a view at the end
        self.layers = nn.ModuleList()
        for node in graph.node[first:]:
            settings = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            self.layers.append(_layer(node.op_type, settings, [tensors.get(name) for name in node.input]))

    def forward(self, images: Tensor) -> Tensor:
        values = {self.nodes[0][1][0]: images}
        for (operator, inputs, output), layer in zip(self.nodes, self.layers, strict=False):
            value = values[inputs[0]]
            values[output] = value + values[inputs[1]] if operator == "Add" else layer(value)
        return values[output]


def _layer(operator: str, settings: dict[str, Any], tensors: list[Any]) -> Any:
    """Return the module of an ONNX node; ``tensors`` has the constant of each input, None for other inputs."""
    match operator:
        case "Conv":
            filters, channels, *window = tensors[1].shape
            padding = tuple(settings["pads"][:2])
            stride = tuple(settings["strides"])
            layer: Any = nn.Conv2d(channels * settings["group"], filters, tuple(window), stride, padding)
            layer.groups = settings["group"]
            layer.weight.data, layer.bias.data = tensors[1:]
        case "BatchNormalization":
            layer = nn.BatchNorm2d(len(tensors[1]), eps=settings["epsilon"])
            layer.weight.data, layer.bias.data, layer.running_mean, layer.running_var = tensors[1:]
        case "Gemm":
            layer = nn.Linear(*reversed(tensors[1].shape))
            layer.weight.data, layer.bias.data = tensors[1:]
        case "AveragePool" | "MaxPool":
            pool = nn.AvgPool2d if operator == "AveragePool" else nn.MaxPool2d
            layer = pool(tuple(settings["kernel_shape"]))
        case "Relu":
            layer = nn.ReLU()
        case "ReduceMean":
            layer = nn.AdaptiveAvgPool2d(1)
        case "Reshape":
            layer = nn.Flatten()
        case _:
            layer = nn.Identity()  # "Add" is computed in ``forward``
    return layer


_HEADER = """\
#include <stdint.h>
#define NETWORK_CLASSES 10
#define NETWORK_ARENA_BYTES 0
void network_logits(uint8_t *arena, const uint8_t *pixels, int32_t *logits);
"""
_BAKENN = """\
#include "network.h"
#include "bknn_other.c"
#include "bknn_other_kernels.c"
#include "bknn_other_weights.c"
static const int8_t shades[256] = {{ {shades} }};
static int8_t input[784];
static uint8_t memory[BKNN_OTHER_ARENA_SIZE] __attribute__((aligned(16)));
void network_logits(uint8_t *arena, const uint8_t *pixels, int32_t *logits)
{{
    int8_t output[10];
    (void)arena;
    for (int i = 0; i < 784; i++)
        input[i] = shades[pixels[i]];
    bknn_other_infer(memory, input, output);
    for (int i = 0; i < 10; i++)
        logits[i] = output[i];
}}
"""
_EMX = """\
#include "network.h"
#include <stdlib.h>
static uint8_t heap[{heap}] __attribute__((aligned(8)));
static uint32_t used;
static void *take(uint32_t size) {{ uint8_t *start = heap + used; used += (size + 7) & ~7u; return start; }}
#define malloc take
#define free(pointer)
#include "other.c"
void network_logits(uint8_t *arena, const uint8_t *pixels, int32_t *logits)
{{
    (void)arena;
    used = 0;
    other((const void *)pixels, (void *)logits);
}}
"""


def _bakenn(plain: _Plain, pixels: Tensor) -> Iterator[_Tool]:
    import bakenn

    spec = dataset("mnist")

    def images(batch: Tensor) -> npt.NDArray[np.float32]:
        return normalised(batch.float() / 255, spec.mean, spec.std).numpy()

    with tempfile.TemporaryDirectory() as name:
        example = torch.from_numpy(images(pixels[:1]))
        model = bakenn.compile_torch_ptq(plain, example, images(pixels[:_CALIBRATION_IMAGES]), name, name="other")
        files = {path.name: path.read_text() for path in Path(name).glob("*.[ch]")}
    plan = model.plan
    levels = torch.arange(256, dtype=torch.uint8).reshape(256, 1, 1, 1).expand(256, *spec.image_shape)
    shades = [bakenn.quantize_input(plan, image[None].transpose(0, 2, 3, 1)).flat[0] for image in images(levels)]
    adapter = _BAKENN.format(shades=", ".join(map(str, shades)))

    def python(batch: Tensor) -> _Logits:
        answers = []
        for image in images(batch):
            shaded = bakenn.quantize_input(plan, image[None].transpose(0, 2, 3, 1))
            answers.append(bakenn.run_reference(plan, shaded).reshape(-1))
        return np.array(answers, np.int32)

    for flag in ("-Os", "-O2"):
        yield _Tool(
            "bakenn", flag, files | {"network.c": adapter, "network.h": _HEADER},
            model.memory_report.emitted_constant_payload_bytes, model.memory_report.arena_bytes, python, _SLOW_IMAGES,
        )  # fmt: skip


def _emx(content: bytes, kind: str) -> Iterator[_Tool]:
    from onnxruntime import InferenceSession

    importlib.metadata.version("emx-onnx-cgen")
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "other.onnx").write_bytes(content)
        words = [sys.executable, "-m", "emx_onnx_cgen", "compile", "--input-dim", "batch=1", "--model-name", "other"]
        words += ["--large-weight-threshold", "0", "other.onnx", "other.c"]
        subprocess.run(words, cwd=name, capture_output=True, check=True)
        text = (Path(name) / "other.c").read_text()
    heap = 0
    for type_name, sizes in re.findall(r"(\w+) \(\*\w+\)((?:\[\d+\])+ = malloc\(sizeof\(\*\w+\) \* \d+)\)", text):
        numbers = re.findall(r"\[(\d+)\]| (\d+)$", sizes)
        heap += math.prod(int(size or count) for size, count in numbers) * _TYPE_BYTES[type_name] + 7 & ~7
    constants = 0
    for type_name, sizes in re.findall(r"^const EMX_UNUSED (\w+) \w+((?:\[\d+\])+) = ", text, re.MULTILINE):
        constants += math.prod(map(int, re.findall(r"\d+", sizes))) * _TYPE_BYTES.get(type_name, 8)
    session = InferenceSession(content, providers=["CPUExecutionProvider"])
    files = {"other.c": text, "network.c": _EMX.format(heap=heap), "network.h": _HEADER}
    yield _Tool(
        f"emx-onnx-cgen, {kind}", "-O2", files, constants, heap,
        lambda batch: session.run(None, {"pixels": batch.numpy()})[0].view(np.int32), is_float=True,
    )  # fmt: skip


def _litert(plain: _Plain, pixels: Tensor) -> str:
    """Return the cells of the row of LiteRT: file size, and the comparison of its two kinds of kernels."""
    import litert_torch
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
    from ai_edge_quantizer import quantizer, recipe

    spec = dataset("mnist")
    images = normalised(pixels.float() / 255, spec.mean, spec.std).numpy()
    # The converter prints its progress to stdout.
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(sys.stderr):
        litert_torch.convert(plain, (torch.from_numpy(images[:1]),)).export(f"{name}/float.tflite")
        tool = quantizer.Quantizer(f"{name}/float.tflite", recipe.static_wi8_ai8())
        batch = [{"args_0": image[None]} for image in images[:_CALIBRATION_IMAGES]]
        content = bytes(tool.quantize(tool.calibrate({"serving_default": batch})).quantized_model)
    answers = []
    for resolver in (OpResolverType.AUTO, OpResolverType.BUILTIN_REF):
        interpreter = Interpreter(model_content=content, experimental_op_resolver_type=resolver, num_threads=1)
        runner = interpreter.get_signature_runner()
        scale, zero = interpreter.get_input_details()[0]["quantization"]
        numbers = np.clip(np.rint(images / np.float32(scale)) + zero, -128, 127).astype(np.int8)
        answers.append(np.array([next(iter(runner(args_0=image[None]).values())).ravel() for image in numbers]))
    logits = [int((answers[0] != answers[1]).sum()), int((answers[0].argmax(1) != answers[1].argmax(1)).sum())]
    return (
        f"{len(content):,} (file) | | | | default and reference kernels: {logits[0]:,} of {answers[0].size:,} logits "
        f"and {logits[1]} of {len(images):,} classes differ"
    )


def _ours(library: Library) -> Iterator[_Tool]:
    plan = library.network.plan
    for optimise in Optimisation:
        variant = replace(library, optimise=optimise)
        texts = files_of(variant)
        yield _Tool(
            f"harness, {optimise}", variant.compiler_flag,
            {name: texts[f"src/{name}"] for name in ("network.c", "network.h")},
            plan.constant_bytes, plan.arena_bytes, lambda batch: integer_logits(library.network, batch.numpy()),
        )  # fmt: skip


def _cells(tool: _Tool, library: Library, pixels: Tensor, classes: Tensor) -> str:
    """Measure a tool; return constants, code, RAM, instructions in millions, and the comparison with Python."""

    def write(_: Library, folder: Path) -> None:
        for path, text in {**{f"src/{name}": text for name, text in tool.files.items()}, "test/run.c": run_c}.items():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")

    run_c = runner_of(library)
    with tempfile.TemporaryDirectory() as name:
        write(library, Path(name))
        program = compile_runner(Path(name), library.name, "cc", ("-O2", "-w", "-Wl,--no-as-needed", "-lm"))
        logits = run_logits(program, pixels.numpy(), library.dataset.classes)
    codes: list[str] = []
    stacks: list[str] = []
    works: list[str] = []
    for chip in _CHIPS:
        flags, link = ((), ()) if tool.name.startswith("harness") else _LIBC[chip]
        family = FAMILIES[chip]
        family = replace(family, flags=(*family.flags, *flags), link_flags=(*family.link_flags, *link))
        try:
            emulation = emulate(library, pixels[:_CHIP_IMAGES].numpy(), family, tool.flag, write)
        except DeviceError as error:
            print(f"{tool.name}, {chip}: {error.message}", file=sys.stderr)
            for cells in (codes, stacks, works):
                cells.append("-")
            continue
        if not tool.is_float and not np.array_equal(emulation.logits, logits[:_CHIP_IMAGES]):
            raise HarnessError(f"the logits of {tool.name} on {chip} differ from those on this machine")
        codes.append(f"{emulation.code_bytes + library.network.plan.constant_bytes - tool.constant_bytes:,}")
        stacks.append(f"{emulation.stack_bytes:,}")
        works.append(f"{emulation.work / 1e6:.2f}")
    expected = tool.python(pixels[: tool.images])
    compared = logits[: tool.images]
    numbers = compared.view(np.float32) if tool.is_float else compared
    if tool.is_float:
        difference = np.abs(numbers - expected.view(np.float32)).max() / np.abs(numbers).max()
        equality = f"largest difference {difference:.1e} of the largest logit"
    else:
        equality = f"{int((compared == expected).sum()):,} of {compared.size:,} logits equal"
    answers = (logits.view(np.float32) if tool.is_float else logits).argmax(1)
    differing = int((answers != classes.numpy()).sum())
    ram = f"{tool.ram_bytes:,} + {' / '.join(stacks)}"
    return (
        f"{tool.constant_bytes:,} | {' / '.join(codes)} | {ram} | {' / '.join(works)} | {equality}; "
        f"{differing} of {len(classes):,} classes"
    )


def _rows(name: str, index: int, images: Any) -> Iterator[str]:
    """Yield the rows of a network, each without the first two cells."""
    spec = dataset("mnist")
    evidence = read(_RECORDS / f"{name}.json")
    network = network_of(read_recorded(_RECORDS, evidence, index), spec.task)
    pixels = images.train_images[:_COMPARED_IMAGES]
    ends_with_integers = MAP_SCALES in network.state_dict()
    if ends_with_integers:
        integers = integers_of(network, evidence.architecture, spec)
        classes = torch.from_numpy(integer_logits(integers, pixels.numpy()).argmax(1))
    else:
        plan = integer_plan(evidence.architecture.ops, spec.task.input_shape)
        labels = torch.as_tensor(images.train_labels[:_RANGE_IMAGES]).long()
        known = Images(images.train_images[:_RANGE_IMAGES], labels, spec.mean, spec.std)
        integers = integer_network(network, plan, spec.mean, spec.std, map_scales(network, plan, known))
        with torch.inference_mode():
            classes = network(normalised(pixels.float() / 255, spec.mean, spec.std)).argmax(1)
    library = Library(network=integers, dataset=spec, examples=pixels[:1].numpy())
    content = integers_to_onnx(integers, spec, pixels[:1], {})[0] if ends_with_integers else b""
    makers: dict[str, Callable[[], Iterator[_Tool]]] = {"harness": lambda: _ours(library)}
    if ends_with_integers:
        makers["emx-onnx-cgen"] = lambda: _emx(content, "integer ONNX")
    else:
        content = to_onnx(network, spec, pixels[:2], {})[0]
        plain = _Plain(content).eval()
        makers["emx-onnx-cgen"] = lambda: _emx(content, "float ONNX")
        makers["bakenn"] = lambda: _bakenn(plain, pixels)
    for tool_name, make in makers.items():
        try:
            for tool in make():
                yield f"{tool.name}, `{tool.flag}` | {_cells(tool, library, pixels, classes)}"
        except ImportError as error:
            yield f"{tool_name} | not installed: {error.name} | | | | "
    if not ends_with_integers:
        try:
            yield f"LiteRT, int8 | {_litert(plain, pixels)}"
        except ImportError as error:
            yield f"LiteRT | not installed: {error.name} | | | | "


def main() -> None:
    """Measure and print the table."""
    print("| network | accuracy | tool | constants, bytes | code, bytes, M0 / RV32 | RAM, bytes, buffers + stack |"
          " million instructions per image, M0 / RV32 | C and Python; classes other than the network's |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    images = load("mnist", Path(os.environ["HARNESS_DATA"]) if "HARNESS_DATA" in os.environ else None)
    for name, index in _NETWORKS:
        evidence = read(_RECORDS / f"{name}.json")
        accuracies = [seed.accuracy_pct for seed in evidence.seeds]
        accuracy = f"{np.mean(accuracies):.3f} %, {len(accuracies)} seeds"
        for row in _rows(name, index, images):
            print(f"| `{name[:6]}`, {evidence.parameters:,} parameters | {accuracy} | {row} |", flush=True)
    for row in _OTHER_ROWS:
        print(f"| {row} |")


if __name__ == "__main__":
    main()
