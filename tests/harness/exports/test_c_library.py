"""Integer networks and their C code: C gives the logits of the reference, and the reference approximates torch."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.data.datasets import DATASETS, Dataset
from harness.exports.c_library import Library, c_comment, c_name, c_text, files_of, layers_of
from harness.exports.chip_families import CHIP_FAMILIES
from harness.exports.compiled import compile_runner, run_logits, write_files
from harness.spaces.fast_kernels import Optimisation
from harness.spaces.integer_plan import integer_plan
from harness.spaces.network import MNIST, Architecture, Task, analyse
from harness.spaces.notation import parse_network
from harness.spaces.space_errors import NoIntegerFormError
from harness.system.errors import ContentError
from harness.training.integer import IntegerNetwork, integer_logits, integer_network, map_scales, maps_of
from harness.training.torch_network import Images, build, normalised
from tests.browser import skip_or_fail
from tests.conftest import REPOSITORY

NETWORKS = [
    "conv3x3(8, poses=4) bn(poses=4, shared) relu | avgpool | conv1x1(4, poses=4) conv3x3(8, poses=4, tie=a) bn relu"
    " | maxpool | res(conv1x1(4, poses=4) conv3x3(8, poses=4, tie=a) bn(poses=4)) relu | gap | linear(10)",
    "conv3x3(8, poses=8) bn(poses=8) relu conv3x3(16, poses=8, stride=2) relu conv3x3(2, poses=2) | gap linear(10)",
    "conv5x5(4, pad=0, stride=2, bias) leaky(0.1) dwconv3x3 bn prelu conv3x3(8, groups=2) relu | avgpool(3) linear(10)",
    "conv1x7(4, stride=2) bn relu conv1x5(4, groups=4) conv1x1(6) relu conv1x9(5, stride=2) bn relu gap linear(10)",
    "unshuffle(2) bn relu conv1x3(6) conv3x1(6) relu res(relu conv3x3(6)) avgpool relu linear(12) bn relu linear(10)",
    "conv3x3(8, poses=8) bn(poses=8, tie=n) relu | avgpool | res(dwconv3x3(poses=8, tie=a) conv1x1(8, poses=8) "
    "bn(poses=8, tie=n)) relu conv1x1(16, poses=4) dwconv3x3(poses=4, stride=2, bias) bn(poses=4, shared) relu maxpool "
    "dwconv3x3(poses=8, pad=0) relu res(dwconv3x3(poses=2) bn) gap poselinear(10, poses=8)",
    "conv5x5(8, stride=4, poses=4) relu dwconv3x3(poses=8, stride=4) bn leaky maxpool poselinear(10, poses=4)",
    "res(conv3x3(1)) relu res(conv3x3(1) relu) maxpool(3) conv3x3(10, pad=0) relu gap",
    "conv1x1(4) relu conv1x1(2) leaky(0.3) conv3x3(10, pad=3) bn maxpool gap",
    "maxpool bn avgpool linear(10)",
    "linear(10)",
    # A plain kernel that is larger than the kernels in poses.
    "conv5x5(8) bn relu | conv3x3(8, poses=2) bn relu | gap | linear(10)",
    "conv1x9(8) bn relu | conv1x1(8, poses=8) bn relu | gap | linear(10)",
    "conv5x5(8) bn relu | dwconv3x3(poses=4) bn relu | gap | linear(10)",
]  # fmt: skip


def dataset_of(task: Task) -> Dataset:
    channels = task.input_shape[0]
    return replace(
        DATASETS["mnist"],
        image_shape=task.input_shape,
        classes=task.classes,
        class_names=(),
        mean=(0.13, 0.4, 0.6, 0.5)[:channels],
        std=(0.31, 0.25, 0.2, 0.3)[:channels],
    )


def trained(
    architecture: Architecture, task: Task, seed: int = 0, *, count: int = 60, passes: int = 20, weight_bits: int = 8
) -> tuple[nn.Module, Images, IntegerNetwork]:
    """Return a network with statistics of ``count`` images in ``passes`` passes, the images, and the integers."""
    generator = torch.Generator().manual_seed(seed)
    spec = dataset_of(task)
    pixels = torch.randint(0, 256, (count, *task.input_shape), dtype=torch.uint8, generator=generator)
    # Large areas without ink, as in pictures.
    pixels[:, :, : task.input_shape[1] // 3] = 0
    images = Images(pixels, torch.zeros(count, dtype=torch.int64), spec.mean, spec.std, task.classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(architecture, task)
        for module in network.modules():
            if isinstance(module, _BatchNorm) and module.weight is not None:
                nn.init.uniform_(module.weight, -1.5, 1.5)
                nn.init.normal_(module.bias)
    network.train()
    with torch.no_grad():
        for _ in range(passes):
            network(normalised(pixels.float() / 255, spec.mean, spec.std))
    network.eval()
    plan = integer_plan(architecture.ops, task.input_shape, weight_bits)
    scales = map_scales(network, plan, images)
    return network, images, integer_network(network, plan, spec.mean, spec.std, scales)


def library_of(integers: IntegerNetwork, task: Task, pixels: npt.NDArray[np.uint8]) -> Library:
    return Library(network=integers, dataset=dataset_of(task), examples=pixels[:10], name="net", facts={"seed": 0})


def c_logits(
    folder: Path, integers: IntegerNetwork, task: Task, pixels: npt.NDArray[np.uint8], *flags: str
) -> npt.NDArray[np.int32]:
    write_files(library_of(integers, task, pixels), folder)
    program = compile_runner(folder, "net", "cc", flags or ("-O2",))
    return run_logits(program, pixels, task.classes)


def constants_in_object(folder: Path, compiler: str, command: str, *flags: str) -> int:
    """Return the bytes of the constants in the object file that a compiler makes."""
    words = [compiler, *flags, "-O0", "-Isrc", "-c", "src/net.c", "-o", "net.o"]
    subprocess.run(words, cwd=folder, check=True)
    words = [command, "-S", "--defined-only", "net.o"]
    symbols = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    rows = [line.split() for line in symbols.stdout.splitlines()]
    names = ("kernel_", "multipliers_", "biases_")
    return sum(int(row[1], 16) for row in rows if len(row) == 4 and row[-1].startswith(names))


SANITIZED = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover")
VECTORS = "conv3x3(4) relu maxpool(4) linear(12) relu bn linear(10)"  # BN of a vector is a separate step
SERIES_POOLS = "maxpool conv1x3(6) bn relu maxpool(3) conv1x3(4) bn relu avgpool linear(3)"
CASES = [
    *((text, MNIST) for text in (*NETWORKS, VECTORS)),
    # Colours, and series of two channels.
    ("conv3x3(6) bn relu conv3x3(4) | gap | linear(4)", Task((3, 8, 8), 4)),
    ("conv3x3(6) bn relu conv3x3(4) | gap | linear(4)", Task((1, 5, 9), 4)),
    ("conv1x3(6) bn relu conv1x3(4) | gap | linear(4)", Task((2, 1, 40), 4)),
    (SERIES_POOLS, Task((2, 1, 41), 3)),
    # Sizes above the ranges of a byte, of 16 bits with a sign, and of 16 bits.
    ("conv1x3(4) relu | gap | linear(6) relu linear(3)", Task((1, 1, 600), 3)),
    ("conv1x3(4, stride=300) relu | gap | linear(3)", Task((1, 1, 900), 3)),
    ("conv1x3(4, pad=300) relu | gap | linear(3)", Task((1, 1, 50), 3)),
    ("conv1x3(2) bn relu | conv1x1(2) | gap | linear(3)", Task((1, 1, 33_000), 3)),
    ("linear(3)", Task((1, 1, 66_000), 3)),
]


@pytest.mark.parametrize(("text", "task"), CASES)
def test_logits_of_c_equal_reference_under_sanitizers(text: str, task: Task, tmp_path: Path):
    _, images, integers = trained(parse_network(text, task), task, count=60 if task == MNIST else 10)
    pixels = images.pixels.numpy()

    assert np.array_equal(c_logits(tmp_path, integers, task, pixels, *SANITIZED), integer_logits(integers, pixels))


@pytest.mark.parametrize("bits", [2, 5, 7])
# With filters in poses, grouped filters, depthwise filters in poses, a linear head and a head by pose.
@pytest.mark.parametrize("text", [NETWORKS[0], NETWORKS[2], NETWORKS[5]])
def test_packed_weights_give_logits_of_reference(text: str, bits: int, tmp_path: Path):
    _, images, integers = trained(parse_network(text), MNIST, count=12, passes=5, weight_bits=bits)
    pixels = images.pixels.numpy()

    assert np.array_equal(c_logits(tmp_path, integers, MNIST, pixels, *SANITIZED), integer_logits(integers, pixels))
    assert all(
        np.abs(kernel).max() == 2 ** (width - 1) - 1
        for kernel, width in zip(integers.kernels, integers.plan.kernel_bits, strict=True)
        if width < 8
    )
    assert constants_in_object(tmp_path, "cc", "nm") == integers.plan.constant_bytes


# Blocks of poses that are ordered and expanded, groups whose kernel is tied with other groups, depthwise planes in
# tiles, a kernel without a multiple of four weights, and sums that need more than a number with a sign.
FAST = [
    *((text, MNIST) for text in (NETWORKS[0], NETWORKS[2], NETWORKS[5], VECTORS)),
    ("conv3x3(24, poses=8) bn relu maxpool conv3x3(24, poses=8) bn relu | gap linear(10)", MNIST),
    ("conv1x1(8) relu conv3x3(12, groups=2, tie=a) conv1x1(4) conv3x3(12, tie=a) leaky | gap | linear(10)", MNIST),
    ("conv1x1(12) dwconv3x3(poses=4) relu conv3x3(24, groups=12) prelu maxpool | gap | linear(4)", Task((2, 9, 90), 4)),
    ("maxpool(1) linear(2) relu linear(3)", Task((1, 1, 17_000), 3)),
    ("conv3x3(4, stride=2) bn relu conv3x3(4, groups=2) relu maxpool conv5x5(6) relu gap linear(10)", MNIST),
    ("conv3x3(2) relu dwconv3x3(pad=50) relu maxpool(9) linear(4)", Task((1, 3, 60), 4)),
    ("conv3x3(2, poses=2) relu linear(1) relu linear(4)", Task((1, 17, 17), 4)),
    ("conv3x3(24, poses=8) relu maxpool conv3x3(24, poses=8) relu conv1x1(1) conv3x3(4) gap linear(10)", MNIST),
]


FAST += [
    # The output overwrites the source of several groups of channels; a pooling of single numbers.
    ("conv3x3(32, stride=2) relu conv1x1(16, groups=2) relu conv3x3(8) relu gap linear(10)", MNIST),
    ("conv3x3(8) relu maxpool(1) conv3x3(4) relu avgpool(1) gap linear(10)", MNIST),
]


def test_pairs_of_filters_do_not_overflow_in_any_pose(tmp_path: Path):
    """Large weights that are apart in the stored filter are neighbours in another pose."""
    architecture = parse_network("conv5x5(4, poses=4) relu maxpool gap linear(10)")
    _, images, integers = trained(architecture, MNIST, count=12, passes=2, weight_bits=6)
    edge = np.zeros_like(integers.kernels[0])
    edge[:, 0] = 31
    integers = replace(integers, kernels=(edge, *integers.kernels[1:]))
    pixels = np.full_like(images.pixels.numpy()[:1], 255)
    write_files(replace(library_of(integers, MNIST, pixels), optimise=Optimisation.SPEED), tmp_path)

    program = compile_runner(tmp_path, "net", "cc", SANITIZED)

    assert np.array_equal(run_logits(program, pixels, 10), integer_logits(integers, pixels))


PACKED_BITS = itertools.cycle((2, 4, 5, 6, 7))
FAST_WITH_BITS = [(*case, 8) for case in FAST] + [(*case, next(PACKED_BITS)) for case in FAST]


@pytest.mark.parametrize(("text", "task", "bits"), FAST_WITH_BITS)
def test_logits_of_c_for_speed_equal_reference(text: str, task: Task, bits: int, tmp_path: Path):
    architecture = parse_network(text, task)
    _, images, integers = trained(architecture, task, count=12, passes=5, weight_bits=bits)
    pixels = images.pixels.numpy()
    write_files(replace(library_of(integers, task, pixels), optimise=Optimisation.SPEED), tmp_path)

    program = compile_runner(tmp_path, "net", "cc", SANITIZED)

    assert np.array_equal(run_logits(program, pixels, task.classes), integer_logits(integers, pixels))
    constant_bytes = analyse(architecture, task, weight_bits=bits).weight_bytes
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["constant_bytes"] == constants_in_object(tmp_path, "cc", "nm") == constant_bytes


# The arena and each row have exactly the stated sizes, and rows are freed after the call.
STREAM = """\
#include <stdio.h>
#include <stdlib.h>
#include "net.h"
int main(void)
{
    int32_t logits[NET_CLASSES];
    uint8_t *arena = malloc(NET_ARENA_BYTES);
    for (;;)
        for (unsigned row = 0; row < NET_STREAM_ROWS; row++) {
            uint8_t *pixels = malloc(NET_ROW_BYTES);
            int label = -1;
            if (fread(pixels, 1, NET_ROW_BYTES, stdin) == NET_ROW_BYTES)
                label = net_row(arena, row, pixels, logits);
            free(pixels);
            if (feof(stdin)) {
                free(arena);
                return row != 0;
            }
            if ((label >= 0) != (row + 1 == NET_STREAM_ROWS))
                return 2;
            if (label >= 0)
                fwrite(logits, sizeof logits[0], NET_CLASSES, stdout);
        }
}
"""


def stream_logits(folder: Path, library: Library, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    write_files(library, folder)
    (folder / "main.c").write_text(STREAM, encoding="utf-8")
    warnings = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror", "-Isrc")
    subprocess.run(["cc", *warnings, "-c", "src/net.c", "-o", "net.o"], cwd=folder, check=True)
    subprocess.run(["cc", *SANITIZED, "-Isrc", "-o", "run", "main.c", "src/net.c"], cwd=folder, check=True)
    content = pixels.transpose(0, 2, 3, 1).tobytes()
    run = subprocess.run([folder / "run"], cwd=folder, input=content, capture_output=True, check=True)
    return np.frombuffer(run.stdout, np.int32).reshape(-1, library.dataset.classes)


STREAMS = [
    *((text, MNIST) for text in (*NETWORKS[:1], NETWORKS[2], *NETWORKS[4:9], NETWORKS[10], VECTORS)),
    ("conv3x3(6) bn relu conv3x3(4) | gap | linear(4)", Task((3, 8, 8), 4)),
    # The first convolution still reads the row of the sum.
    ("conv3x3(4) res(conv5x5(4) relu conv3x3(4)) relu gap linear(10)", MNIST),
    # Sums that may overwrite the added map, or whose last step overwrites its source.
    ("conv3x3(8) res(conv3x3(8) relu conv1x1(8) bn) relu res(conv1x1(8) conv3x3(8)) maxpool res(dwconv3x3 relu) "
     "res(relu) res(res(conv3x3(8)) relu res(conv3x3(8, pad=2) conv3x3(8, pad=0))) relu linear(10)", MNIST),
    # Rows that no step reads, and outputs after the first row.
    ("conv3x3(4, stride=2) relu conv3x3(6) maxpool(4) gap linear(6) relu linear(10)", MNIST),
    ("conv3x3(2) relu dwconv3x3(pad=50) relu maxpool(9) linear(4)", Task((1, 3, 60), 4)),
    # Series: strides, and filters of several rows that are turned.
    (SERIES_POOLS, Task((2, 1, 41), 3)),
    ("conv1x3(4, pad=300) relu | gap | linear(3)", Task((1, 1, 50), 3)),
    ("conv1x3(2, stride=300) bn relu | conv1x1(2) | gap | linear(3)", Task((1, 1, 900), 3)),
    ("conv3x3(8, poses=4) bn relu conv3x3(16, poses=8) relu conv3x3(8, tie=a) conv3x3(8, tie=b) conv3x3(8, tie=b, "
     "groups=1) maxpool(1) dwconv3x3(poses=8) relu linear(4)", Task((1, 1, 40), 4)),
    ("conv3x3(24, poses=8) relu conv3x3(24, poses=8) leaky gap linear(4)", Task((1, 1, 40), 4)),
]  # fmt: skip


@pytest.mark.parametrize("optimise", Optimisation)
@pytest.mark.parametrize(("text", "task"), STREAMS)
def test_stream_gives_logits_of_reference(text: str, task: Task, optimise: Optimisation, tmp_path: Path):
    _, images, integers = trained(parse_network(text, task), task, count=12, passes=5)
    pixels = images.pixels.numpy()
    library = replace(library_of(integers, task, pixels), optimise=optimise, stream=True)

    assert np.array_equal(stream_logits(tmp_path, library, pixels), integer_logits(integers, pixels))
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["stream"], manifest["arena_bytes"]) == (True, library.plan.arena_bytes)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.from_type(Architecture), st.sampled_from(Optimisation))
def test_stream_of_any_network_gives_logits_of_reference(
    tmp_path: Path, architecture: Architecture, optimise: Optimisation
):
    if integer_plan(architecture.ops, MNIST.input_shape).missing:
        return
    _, images, integers = trained(architecture, MNIST)
    pixels = images.pixels.numpy()[:8]
    library = replace(library_of(integers, MNIST, pixels), optimise=optimise, stream=True)

    assert np.array_equal(stream_logits(tmp_path, library, pixels), integer_logits(integers, pixels))


@pytest.mark.parametrize("window", [2, 3])
def test_means_equal_torch_with_halves_rounded_up(window: int, tmp_path: Path):
    # The first pool is fused with the convolution, whose map has a sign; the second pool is a separate step.
    _, images, integers = trained(parse_network(f"conv3x3(3) maxpool avgpool({window}) linear(10)"), MNIST)
    pixels = images.pixels.numpy()
    maps, logits = maps_of(integers, pixels)
    inputs, means = (torch.from_numpy(values.transpose(0, 3, 1, 2)).double() for values in maps[1:])

    assert torch.equal(means, torch.floor(nn.functional.avg_pool2d(inputs, window) + 0.5))
    assert inputs.min() < 0
    assert np.array_equal(c_logits(tmp_path, integers, MNIST, pixels), logits)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.from_type(Architecture), st.integers(0, 2**32 - 1))
def test_any_network_gives_logits_of_reference(tmp_path: Path, architecture: Architecture, seed: int):
    if integer_plan(architecture.ops, MNIST.input_shape).missing:
        with pytest.raises(NoIntegerFormError):
            trained(architecture, MNIST, seed)
        return
    _, images, integers = trained(architecture, MNIST, seed)
    pixels = images.pixels.numpy()[:8]

    assert np.array_equal(c_logits(tmp_path, integers, MNIST, pixels, *SANITIZED), integer_logits(integers, pixels))
    # Without optimisation, which makes a single multiplier a part of the code.
    assert constants_in_object(tmp_path, "cc", "nm") == analyse(architecture, MNIST).weight_bytes


@pytest.mark.parametrize("text", [*NETWORKS[:4], NETWORKS[7], VECTORS])
def test_integer_logits_approximate_torch(text: str):
    network, images, integers = trained(parse_network(text), MNIST)
    with torch.inference_mode():
        torch_logits = network(normalised(images.pixels.float() / 255, images.mean, images.deviation)).numpy()

    logits = integers.logit_scale * integer_logits(integers, images.pixels.numpy())

    # Eight bits per map: one or two hundredths of the spread of the logits.
    assert np.abs(logits - torch_logits).max() < 0.1 * torch_logits.std() + 0.02 * np.abs(torch_logits).max()


def test_folder_passes_make_test_and_has_manifest(tmp_path: Path):
    _, images, integers = trained(parse_network(NETWORKS[0]), MNIST)
    library = library_of(integers, MNIST, images.pixels.numpy())
    write_files(library, tmp_path)

    run = subprocess.run(["make", "test"], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert "0 of 100 logits differ" in run.stdout
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["constant_bytes"] == integers.plan.constant_bytes
    assert manifest["largest_value"] < 2**31
    assert {"library.json", "library.properties", "zephyr/module.yml", "src/net.c", "src/net.h"} <= set(
        files_of(library)
    )


@pytest.fixture(scope="module")
def pooled() -> Library:
    _, images, integers = trained(parse_network("maxpool(4) linear(10)"), MNIST)
    return library_of(integers, MNIST, images.pixels.numpy())


@pytest.fixture
def flags_of_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code for speed is fastest with ``-O3`` on the Cortex-M4 and with ``-O1`` on the Cortex-M55."""
    for name, flag in {"Cortex-M4": "-O3", "Cortex-M55": "-O1"}.items():
        monkeypatch.setitem(CHIP_FAMILIES, name, replace(CHIP_FAMILIES[name], speed_flag=flag))


@pytest.mark.usefixtures("flags_of_cores")
def test_manifest_names_flag_of_each_core(pooled: Library):
    small, fast = (
        json.loads(files_of(replace(pooled, optimise=optimise))["manifest.json"])["compiler_flags"]
        for optimise in Optimisation
    )

    assert set(small.values()) == {"-Os"}
    assert fast == {
        "Cortex-M0": "-O2",
        "Cortex-M4": "-O3",
        "Cortex-M55": "-O1",
        "RV32IMC": "-O2",
        "ATmega328P": "-Os",
        "other processors": "-O2",
    }


@pytest.mark.parametrize("text", NETWORKS)
def test_layers_of_profile_add_up_to_network(text: str):
    network = parse_network(text)
    _, images, integers = trained(network, MNIST)
    library = library_of(integers, MNIST, images.pixels.numpy())

    layers = layers_of(library)

    assert sum(layer["constant_bytes"] for layer in layers) == integers.plan.constant_bytes
    # The C leaves out positions that no window of a pooling reads.
    macs = analyse(network, MNIST).macs
    assert 0.98 * macs <= sum(layer["multiply_adds"] for layer in layers) <= macs
    assert 0 <= max(layer["map_bytes"] for layer in layers) <= integers.plan.arena_bytes


class PlatformIO:
    """The environment that PlatformIO passes to the script of a library."""

    def __init__(self, compiler: str, flags: str) -> None:
        self.variables = {"$CC": compiler, "$CFLAGS": "-std=gnu11", "$CCFLAGS": f"-Os {flags}"}
        self.added: list[str] = []

    def __getitem__(self, name: str) -> dict[str, str]:
        assert name == "ENV"
        return dict(os.environ)

    def subst(self, text: str) -> str:
        return " ".join(map(self.variables.__getitem__, text.split()))

    def Append(self, CCFLAGS: list[str]) -> None:
        self.added += CCFLAGS


@pytest.mark.usefixtures("flags_of_cores")
@pytest.mark.parametrize(
    ("compiler", "flags", "expected"),
    [
        ("arm-none-eabi-gcc", "-mthumb -mcpu=cortex-m0plus", "-O2"),
        ("arm-none-eabi-gcc", "-mthumb -mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16", "-O3"),
        ("arm-none-eabi-gcc", "-mthumb -mcpu=cortex-m55 -mfloat-abi=hard", "-O1"),
        ("avr-gcc", "-mmcu=atmega2560", "-Os"),
        ("cc", "", "-O2"),
    ],
)
def test_platformio_compiles_code_for_speed_with_flag_of_core(
    pooled: Library, compiler: str, flags: str, expected: str
):
    if shutil.which(compiler) is None:
        skip_or_fail(f"{compiler} is not installed")
    files = files_of(replace(pooled, optimise=Optimisation.SPEED))
    script = json.loads(files["library.json"])["build"]["extraScript"]
    environment = PlatformIO(compiler, flags)

    exec(files[script], {"Import": lambda name: None, "env": environment})

    assert environment.added == [expected]


def test_platformio_keeps_flag_of_user_for_code_for_size(pooled: Library):
    files = files_of(pooled)

    assert "build" not in json.loads(files["library.json"])
    assert "platformio_flags.py" not in files


@pytest.mark.usefixtures("flags_of_cores")
@pytest.mark.parametrize(
    ("option", "expected"),
    [("CPU_CORTEX_M0PLUS", "-O2"), ("CPU_CORTEX_M7", "-O3"), ("CPU_CORTEX_M55", "-O1"), ("XTENSA", "-O2")],
)
def test_zephyr_compiles_code_for_speed_with_flag_of_core(pooled: Library, option: str, expected: str, tmp_path: Path):
    if shutil.which("cmake") is None:
        skip_or_fail("cmake is not installed")
    files = files_of(replace(pooled, optimise=Optimisation.SPEED))
    functions = ("zephyr_include_directories", "zephyr_library", "zephyr_library_sources")
    lines = [f"function({name})\nendfunction()" for name in functions]
    lines.append("function(zephyr_library_compile_options flag)\nmessage(flag=${flag})\nendfunction()")
    lines.append(f"set(CONFIG_HARNESS_NET y)\nset(CONFIG_{option} y)")
    (tmp_path / "build.cmake").write_text("\n".join([*lines, files["CMakeLists.txt"]]))

    run = subprocess.run(["cmake", "-P", "build.cmake"], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert run.stderr.split() == [f"flag={expected}"]


@pytest.mark.parametrize("name", ["arm-none-eabi-gcc", "avr-gcc", "riscv64-unknown-elf-gcc"])
def test_constants_in_object_file_have_planned_size(name: str, tmp_path: Path):
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    _, images, integers = trained(parse_network(NETWORKS[0]), MNIST)
    write_files(library_of(integers, MNIST, images.pixels.numpy()), tmp_path)
    chips = {
        "arm-none-eabi-gcc": ["-mcpu=cortex-m0", "-mthumb"],
        "avr-gcc": ["-mmcu=atmega328p"],
        "riscv64-unknown-elf-gcc": ["-march=rv32imc", "-mabi=ilp32"],
    }
    flags = (*chips[name], "-ffreestanding", "-std=c99")

    constant_bytes = constants_in_object(tmp_path, name, name.replace("gcc", "nm"), *flags)
    assert constant_bytes == integers.plan.constant_bytes


@pytest.mark.parametrize("level", ["-O0", "-Os", "-O3"])
def test_network_occupies_no_static_ram_on_avr(level: str, tmp_path: Path):
    if shutil.which("avr-gcc") is None:
        pytest.skip("avr-gcc is not installed")
    _, images, integers = trained(parse_network(NETWORKS[0]), MNIST)
    write_files(library_of(integers, MNIST, images.pixels.numpy()), tmp_path)
    words = ["avr-gcc", "-mmcu=atmega328p", level, "-std=c99", "-Wall", "-Wextra", "-Werror", "-Isrc"]
    subprocess.run([*words, "-c", "src/net.c", "-o", "net.o"], cwd=tmp_path, check=True)

    table = subprocess.run(["avr-size", "-A", "net.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    rows = [line.split() for line in table.splitlines() if line.startswith(".")]
    # The linker puts constants that are not in .progmem behind .data, which is copied into RAM.
    sizes = {row[0]: int(row[1]) for row in rows if row[0].startswith((".data", ".bss", ".rodata"))}
    assert sizes.keys() >= {".data", ".bss"}
    assert sum(sizes.values()) == 0


def test_folder_contains_licence_and_name_of_program(tmp_path: Path):
    _, images, integers = trained(parse_network(NETWORKS[7]), MNIST)
    write_files(library_of(integers, MNIST, images.pixels.numpy()), tmp_path)

    assert (tmp_path / "LICENSE").read_text() == (REPOSITORY / "LICENSE").read_text()
    sources = [*tmp_path.rglob("*.[ch]"), *tmp_path.rglob("*.ino"), tmp_path / "Makefile"]
    missing = {path.name for path in sources if "SPDX-License-Identifier: MIT" not in path.read_text().split("\n")[0]}
    assert missing == {"run.c"}  # The file is no part of the folder.
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    program = f"{project['name']} {project['version']}"
    assert json.loads((tmp_path / "manifest.json").read_text())["program"] == program
    assert program in (tmp_path / "src/net.c").read_text()


@pytest.mark.parametrize(("macro", "stack_bytes"), [("__riscv", "736"), ("__AVR__", "310"), ("__xtensa__", None)])
def test_header_states_stack_of_measured_chips(macro: str, stack_bytes: str | None, tmp_path: Path):
    _, images, integers = trained(parse_network(NETWORKS[7]), MNIST)
    chips: dict[str, dict[str, str | int]] = {
        "Cortex-M0": {"unknown": "a tool is not installed"},
        "RV32IMC": {"compiler": "gcc -Os", "code_bytes": 2_000, "stack_bytes": 736, "instructions": 10},
        "ATmega328P": {"compiler": "gcc -Os", "code_bytes": 2_000, "stack_bytes": 310, "cycles": 10},
    }
    write_files(replace(library_of(integers, MNIST, images.pixels.numpy()), chips=chips), tmp_path)

    words = ["cc", f"-D{macro}", "-dM", "-E", "src/net.h"]
    listing = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    macros = dict(re.findall(r"#define NET_(\w+) (\d+)", listing))
    assert macros.get("STACK_BYTES") == stack_bytes
    assert int(macros["CONSTANT_BYTES"]) == integers.plan.constant_bytes
    assert int(macros["ARENA_BYTES"]) == integers.plan.arena_bytes


def test_zero_slope_sets_negative_values_to_zero(tmp_path: Path):
    architecture = parse_network("conv3x3(4, bias) prelu | gap | linear(10)")
    network, images, _ = trained(architecture, MNIST)
    with torch.no_grad():
        network.get_parameter("ops.0.bias").fill_(-3)
        network.get_parameter("ops.1.weight").zero_()
        convolution, rectifier, *_ = list(network.get_submodule("ops").children())
        values = rectifier(convolution(images[:][0])).permute(0, 2, 3, 1).numpy()
    plan = integer_plan(architecture.ops, MNIST.input_shape)
    scales = map_scales(network, plan, images)
    integers = integer_network(network, plan, images.mean, images.deviation, scales)

    maps, logits = maps_of(integers, images.pixels.numpy())

    assert maps[1].min() == values.min() == 0
    assert np.abs(maps[1] * float(scales[1]) - values).max() < 3 * float(scales[1])
    assert np.array_equal(c_logits(tmp_path, integers, MNIST, images.pixels.numpy()), logits)


def test_non_finite_weights_are_refused():
    network, images, _ = trained(parse_network(NETWORKS[0]), MNIST)
    with torch.no_grad():
        next(network.parameters()).fill_(torch.nan)
    plan = integer_plan(parse_network(NETWORKS[0]).ops, MNIST.input_shape)

    with pytest.raises(ContentError, match="non-finite"):
        integer_network(network, plan, images.mean, images.deviation, torch.ones(len(plan.maps), dtype=torch.float64))


def test_names_and_texts_are_valid_in_c():
    assert (c_name("posed-1462"), c_name("7é")) == ("posed_1462", "net_7_")
    # Headers with these names would be included instead of system headers.
    assert [c_name(name) for name in ("time", "String", "stdint", "fts", "examples")] == [
        "net_time", "net_string", "net_stdint", "net_fts", "net_examples"
    ]  # fmt: skip
    assert c_comment("a\r\n*/\x1b[2Jb") == "a??* /?[2Jb"
    assert c_text('a"b\\?é') == '"a\\"b\\\\\\?\\303\\251"'


@pytest.mark.parametrize(("bits", "stream"), [(8, False), (8, True), (5, False)])
@pytest.mark.parametrize("optimise", Optimisation)
@pytest.mark.parametrize("flags", [("-std=c99",), ("-x", "c++", "-std=c++11")], ids=["C", "C++"])
def test_code_has_no_warnings_and_calls_no_library_with_user_flags(
    optimise: Optimisation, flags: tuple[str, ...], bits: int, stream: bool, tmp_path: Path
):
    _, images, integers = trained(parse_network(NETWORKS[0]), MNIST, count=12, passes=2, weight_bits=bits)
    library = library_of(integers, MNIST, images.pixels.numpy())
    write_files(replace(library, optimise=optimise, stream=stream), tmp_path)
    arm = "arm-none-eabi-gcc -mthumb -mcpu=cortex"
    # Users build the code for speed with -O3 on some cores.
    levels = ("-Os", "-O2", "-O3") if optimise is Optimisation.SPEED else ("-Os", "-O2")
    compilers: dict[str, tuple[str, ...]] = {
        "gcc": ("-Os", "-O2"),
        "clang": ("-Os", "-O2"),
        f"{arm}-m0": levels,
        f"{arm}-m4": levels,
        f"{arm}-m33": levels,
        f"{arm}-m55 -mfloat-abi=hard": levels,
        "avr-gcc -mmcu=atmega2560": ("-Os",),
    }
    warnings = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
    for command, core_levels in compilers.items():
        compiler, *core_flags = command.split()
        for level in core_levels if shutil.which(compiler) else ():
            words = [compiler, *core_flags, *flags, level, *warnings, "-Isrc"]
            subprocess.run([*words, "-c", "src/net.c", "-o", "net.o"], cwd=tmp_path, check=True)
            nm = {"clang": "nm", "gcc": "nm"}.get(compiler, compiler.replace("gcc", "nm"))
            words = [nm, "-u", "net.o"]
            symbols = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
            assert not re.findall(r"\bmem(?:set|cpy|move)\b", symbols), (command, level)
