"""All logits of a network in C equal the reference, with several compilers, sanitizers and emulated chips."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from harness.data.datasets import dataset
from harness.data.training_images import ImageData, load
from harness.evidence.evaluation import network_of
from harness.evidence.record import read, read_recorded
from harness.exports import emulated
from harness.exports.c_library import Library, files_of
from harness.exports.chip_families import CHIP_FAMILIES, PASSES, ChipFamily
from harness.exports.compiled import compile_runner, run_logits, write_files
from harness.exports.emulated import chip_costs, emulate
from harness.exports.profile import profile_of, profile_text
from harness.spaces.catalog import SPACES, space
from harness.spaces.cores import CORES
from harness.spaces.fast_kernels import Optimisation
from harness.spaces.integer_plan import integer_plan
from harness.spaces.network import MNIST, Task
from harness.spaces.notation import parse_network
from harness.spaces.space import draw_uniform
from harness.system.errors import DeviceError, HarnessError
from harness.training.integer import integer_logits, integer_network, integers_of, map_scales
from harness.training.torch_network import Images
from tests.browser import skip_or_fail
from tests.conftest import REPOSITORY
from tests.harness.exports.test_c_library import library_of, trained

RECORD = "eab8ffbcd93d-a58909f48ce2-mnist-99_4.json"
SMALL = Task((1, 10, 10), 4)
COMPARED_IMAGES = 1_000
# The network needs less than the 2,048 bytes of the ATmega328P; 200 such images fit into the flash.
SMALL_NETWORK = "conv3x3(8, poses=4) bn(poses=4, shared) relu | avgpool | conv3x3(8, poses=4) bn relu | gap | linear(4)"
CHIP_IMAGES = 25
# Stack of a convolution: a window, the numbers of the window (16 bits), results (32 bits), and the orders of the poses.
BUFFERS = {"posed": 108 + 2 * 108 + 4 * 32 + 8 * 9 + 64, "small": 72 + 2 * 72 + 4 * 8 + 8 * 9 + 64}
BUFFERS["packed"] = BUFFERS["small"]


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            skip_or_fail(f"{program} is not installed")


@pytest.fixture(scope="module")
def mnist(request: pytest.FixtureRequest) -> ImageData:
    """MNIST if a copy is available, else the 5,000 images of a library."""
    try:
        return load("mnist", request.getfixturevalue("mnist_folder"))
    except pytest.skip.Exception:
        return load("mnist-5k")


@pytest.fixture(scope="module")
def posed(mnist: ImageData) -> Library:
    """The certified network of 1,462 parameters, converted to integers after training, with training images."""
    records = REPOSITORY / "records"
    evidence = read(records / RECORD)
    spec = dataset("mnist")
    network = network_of(read_recorded(records, evidence, 2), spec.task)
    plan = integer_plan(evidence.architecture.ops, spec.task.input_shape)
    pixels = mnist.train_images[:COMPARED_IMAGES]
    labels = torch.as_tensor(mnist.train_labels[:COMPARED_IMAGES]).long()
    scales = map_scales(network, plan, Images(pixels, labels, spec.mean, spec.std))
    integers = integer_network(network, plan, spec.mean, spec.std, scales)
    examples = mnist.train_images[:CHIP_IMAGES].numpy()
    return Library(network=integers, dataset=spec, examples=examples, name="posed")


@pytest.fixture(scope="module")
def answers(posed: Library, mnist: ImageData) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Training images with their logits."""
    pixels = mnist.train_images[:COMPARED_IMAGES].numpy()
    return pixels, integer_logits(posed.network, pixels)


@pytest.fixture(scope="module")
def depthwise(mnist: ImageData) -> Library:
    """A recorded network of depthwise convolutions that was trained to end with integers."""
    records = REPOSITORY / "records"
    evidence = read(records / "561d35eb961d-702cde2c2b8b-mnist-98.json")
    spec = dataset("mnist")
    integers = integers_of(network_of(read_recorded(records, evidence, 0), spec.task), evidence.architecture, spec)
    return Library(network=integers, dataset=spec, examples=mnist.train_images[:1].numpy())


@pytest.fixture(scope="module")
def small() -> Library:
    return small_library(weight_bits=8)


@pytest.fixture(scope="module")
def packed() -> Library:
    return small_library(weight_bits=5)


def small_library(weight_bits: int) -> Library:
    _, images, integers = trained(parse_network(SMALL_NETWORK, SMALL), SMALL, weight_bits=weight_bits)
    pixels = images.pixels.numpy()[:15]
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (CHIP_IMAGES - len(pixels), *SMALL.input_shape), dtype=np.uint8)
    return replace(library_of(integers, SMALL, pixels), examples=np.concatenate([pixels, noise]))


@pytest.mark.nightly
@pytest.mark.parametrize("optimise", Optimisation)
@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        pytest.param("gcc", ("-O0",), marks=pytest.mark.slow),
        ("gcc", ("-O3",)),
        pytest.param("clang", ("-O0",), marks=pytest.mark.slow),
        ("clang", ("-O3",)),
        ("gcc", ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover")),
    ],
)
def test_compilers_give_all_logits_of_the_reference(
    posed: Library, answers: Any, compiler: str, flags: tuple[str, ...], optimise: Optimisation, tmp_path: Path
):
    needs(compiler)
    # Sanitizers multiply the time of an image.
    count = 100 if "-fno-sanitize-recover" in flags else COMPARED_IMAGES
    pixels, logits = (array[:count] for array in answers)
    write_files(replace(posed, optimise=optimise), tmp_path)

    program = compile_runner(tmp_path, posed.name, compiler, flags)

    assert np.array_equal(run_logits(program, pixels, 10), logits)


# Images for which each space is designed; MNIST by default.
TASKS = {
    "forms-series": Task((1, 1, 40), 10),
    "forms-small": Task((4, 3, 3), 6),
    "large": Task((3, 48, 52), 5),
    "pictures": Task((3, 20, 24), 7),
    "series": Task((2, 1, 60), 4),
    "small": Task((1, 8, 8), 10),
}
BATCHES = 4
RANDOM_NETWORKS = 200
# Bits of the weights, by number of the network.
WEIGHT_BITS = (8, 8, 8, 5, 8, 3, 8, 6, 8, 2, 8, 7, 4)
RUN = """\
static int run_{name}(void)
{{
    uint8_t *arena = malloc({macro}_ARENA_BYTES), *pixels = malloc({bytes});
    int32_t logits[{macro}_CLASSES];
    for (int image = 0; image < {count}; image++) {{
        if (fread(pixels, 1, {bytes}, stdin) != {bytes})
            return 1;
        {name}_logits(arena, pixels, logits);
        fwrite(logits, sizeof logits[0], {macro}_CLASSES, stdout);
    }}
    free(arena);
    free(pixels);
    return 0;
}}
"""


def random_library(
    number: int, optimise: Optimisation, *, stream: bool = False
) -> tuple[Library, npt.NDArray[np.uint8]]:
    """Draw a network with an integer form from a shipped space, and return the network in integers with images."""
    name = sorted(SPACES)[number % len(SPACES)]
    task = TASKS.get(name, MNIST)
    rng = random.Random(number)
    architecture = draw_uniform(space(name, task), rng).architecture
    while integer_plan(architecture.ops, task.input_shape).missing:
        architecture = draw_uniform(space(name, task), rng).architecture
    bits = WEIGHT_BITS[number % len(WEIGHT_BITS)]
    _, images, integers = trained(architecture, task, number, count=12, passes=5, weight_bits=bits)
    pixels = images.pixels.numpy()[:4]
    return replace(library_of(integers, task, pixels), name=f"net{number}", optimise=optimise, stream=stream), pixels


@pytest.mark.slow
@pytest.mark.parametrize("optimise", Optimisation)
@pytest.mark.parametrize("stream", [False, True], ids=["image", "stream"])
@pytest.mark.parametrize("batch", range(BATCHES))
def test_networks_of_all_spaces_give_all_logits_of_the_reference_under_sanitizers(
    batch: int, stream: bool, optimise: Optimisation, tmp_path: Path
):
    networks = [random_library(number, optimise, stream=stream) for number in range(batch, RANDOM_NETWORKS, BATCHES)]
    # The arena of each network is on the heap, so that the sanitizer checks both ends.
    includes = ["#include <stdio.h>", "#include <stdlib.h>"]
    functions = []
    for library, pixels in networks:
        header = tmp_path / "src" / f"{library.name}.h"
        write_files(library, tmp_path)
        includes.append(f'#include "{header.name}"')
        sizes = {"bytes": pixels[0].size, "count": len(pixels)}
        functions.append(RUN.format(name=library.name, macro=library.name.upper(), **sizes))
    calls = " || ".join(f"run_{library.name}()" for library, _ in networks)
    main = "\n".join([*includes, *functions, f"int main(void)\n{{\n    return {calls};\n}}\n"])
    (tmp_path / "main.c").write_text(main)
    sources = [f"src/{library.name}.c" for library, _ in networks]
    flags = ["-std=c99", "-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover"]
    subprocess.run(["cc", *flags, "-Isrc", "-o", "run", "main.c", *sources], cwd=tmp_path, check=True)

    images = b"".join(pixels.transpose(0, 2, 3, 1).tobytes() for _, pixels in networks)
    run = subprocess.run([tmp_path / "run"], input=images, capture_output=True, check=False)

    assert (run.returncode, run.stderr) == (0, b"")
    logits = np.frombuffer(run.stdout, np.int32)
    for library, pixels in networks:
        expected = integer_logits(library.network, pixels).ravel()
        assert np.array_equal(logits[: expected.size], expected), library.name
        logits = logits[expected.size :]
    assert logits.size == 0


@pytest.mark.slow
@pytest.mark.parametrize("chip", ["Cortex-M0", "Cortex-M4", "Cortex-M55", "RV32IMC"])
@pytest.mark.parametrize("batch", range(BATCHES))
def test_networks_of_all_spaces_give_all_logits_of_the_reference_on_chips(batch: int, chip: str):
    family = CHIP_FAMILIES[chip]
    needs(f"{family.tool_prefix}-gcc", family.emulator[0])
    count = 0
    for number in range(batch, RANDOM_NETWORKS, BATCHES):
        library, pixels = random_library(number, Optimisation.SPEED)
        try:
            emulation = emulate(library, pixels[:1], family)
        except DeviceError as error:
            # Networks of large spaces exceed the memory, the clock or the time.
            if re.search("bytes of|clock|seconds", error.message):
                continue
            raise
        assert np.array_equal(emulation.logits, integer_logits(library.network, pixels[:1])), library.name
        count += 1
    assert count > 0.9 * RANDOM_NETWORKS / BATCHES


@pytest.mark.nightly
@pytest.mark.parametrize("optimise", Optimisation)
def test_plain_filters_beside_poses_have_no_undefined_behaviour(optimise: Optimisation, tmp_path: Path):
    needs("clang")
    library, pixels = random_library(12, optimise)
    write_files(library, tmp_path)
    # Unlike GCC, clang checks offsets of null pointers.
    program = compile_runner(tmp_path, library.name, "clang", ("-fsanitize=undefined", "-fsanitize-trap=undefined"))

    assert np.array_equal(run_logits(program, pixels, 10), integer_logits(library.network, pixels))


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("fixture", "chip"),
    [
        ("posed", "Cortex-M0"),
        ("posed", "RV32IMC"),
        *((name, chip) for name in ("small", "packed") for chip in CHIP_FAMILIES),
    ],
)
def test_emulated_chips_give_all_logits_of_the_reference(request: pytest.FixtureRequest, fixture: str, chip: str):
    library: Library = request.getfixturevalue(fixture)
    family = CHIP_FAMILIES[chip]
    needs(f"{family.tool_prefix}-gcc", family.emulator[0])

    emulation = emulate(library, library.examples, family)

    assert np.array_equal(emulation.logits, integer_logits(library.network, library.examples))
    assert emulation.logits.shape[0] == CHIP_IMAGES
    assert 0 < emulation.stack_bytes - BUFFERS[fixture] < 220
    assert 1_000 < emulation.code_bytes < 5_000


# At most this many instructions for a multiply-add, bytes of code and of stack, and the number of multiply-adds.
LIMITS = {
    ("posed", "Cortex-M0"): (5.7, 5_500, 2_100, 1_580_864),
    ("posed", "RV32IMC"): (5.1, 5_200, 2_100, 1_580_864),
    ("posed", "Cortex-M4"): (3.3, 9_500, 2_200, 1_580_864),
    ("posed", "Cortex-M55"): (1.6, 10_200, 2_200, 1_580_864),
    ("depthwise", "Cortex-M0"): (10.8, 5_500, 3_100, 521_208),
    ("depthwise", "RV32IMC"): (7.8, 5_500, 3_100, 521_208),
    ("depthwise", "Cortex-M4"): (6.5, 9_900, 3_200, 521_208),
    ("depthwise", "Cortex-M55"): (4.8, 10_900, 3_200, 521_208),
}


@pytest.mark.nightly
@pytest.mark.parametrize(("fixture", "chip"), [*LIMITS, *(("small", chip) for chip in CHIP_FAMILIES)])
def test_code_for_speed_gives_all_logits_within_limits(request: pytest.FixtureRequest, fixture: str, chip: str):
    library = replace(request.getfixturevalue(fixture), optimise=Optimisation.SPEED)
    library = replace(library, examples=library.examples[:5])
    family = CHIP_FAMILIES[chip]
    needs(f"{family.tool_prefix}-gcc", family.emulator[0])

    emulation = emulate(library, library.examples, family)

    assert np.array_equal(emulation.logits, integer_logits(library.network, library.examples))
    if fixture != "small":
        *limits, macs = LIMITS[fixture, chip]
        figures = (emulation.work / macs, emulation.code_bytes, emulation.stack_bytes)
        assert all(figure <= limit for figure, limit in zip(figures, limits, strict=True)), figures
    if fixture == "posed":
        core = CORES[chip.lower()]
        estimate = core.cycles_per_image(library.network.plan, macs, Optimisation.SPEED)
        assert emulation.work == pytest.approx(estimate, rel=0.15)


# A pass has two instructions or six cycles. SysTick ticks at 16, 25 and 32 MHz: a tick of the first clock takes 62.5
# instructions of a nanosecond.
TICKS = {
    "Cortex-M0": 2 * PASSES / 62.5,
    "Cortex-M4": 2 * PASSES / 40,
    "Cortex-M55": 2 * PASSES / 31.25,
    "RV32IMC": 2 * PASSES,
    "ATmega328P": 6 * PASSES / 1024,
}


@pytest.mark.nightly
@pytest.mark.parametrize("chip", CHIP_FAMILIES)
def test_clock_of_chip_agrees_with_loop_of_known_length(small: Library, chip: str):
    family = CHIP_FAMILIES[chip]
    needs(f"{family.tool_prefix}-gcc", family.emulator[0])

    single = emulate(small, small.examples[:1], family)
    several = emulate(small, small.examples[:8], family)

    assert single.loop_ticks == pytest.approx(TICKS[chip], abs=4)
    # The work per image differs a little, because different numbers are clipped.
    assert several.work == pytest.approx(single.work, rel=0.05)
    # A multiply-add takes several instructions.
    macs = 10 * 10 * 8 * 9 + 5 * 5 * 8 * 72
    assert 5 * macs < several.work < 250 * macs


@pytest.mark.nightly
def test_emulated_cortex_m55_executes_vector_instructions(small: Library):
    needs("arm-none-eabi-gcc", "qemu-system-arm")

    def write(library: Library, folder: Path) -> None:
        write_files(library, folder)
        source = folder / "src" / f"{library.name}.c"
        instruction = '__asm__ volatile("vmov.i32 q0, #1" : : : "q0");'
        source.write_text(source.read_text().replace("    STEP_BUFFER\n", f"    {instruction}\n"))
        assert instruction in source.read_text()

    emulation = emulate(small, small.examples[:1], CHIP_FAMILIES["Cortex-M55"], write=write)

    assert np.array_equal(emulation.logits, integer_logits(small.network, small.examples[:1]))


def write_behind_padding(library: Library, folder: Path) -> None:
    """Write a C library whose constants on AVR are beyond the first 64 kB."""
    write_files(library, folder)
    source = folder / "src" / f"{library.name}.c"
    # Compilers may emit variables in reverse order, so the padding is at both ends.
    before, after = (
        "".join(
            f"__attribute__((used)) static const char {end}_{index}[30000] PROGMEM = {{ 1 }};\n" for index in range(3)
        )
        for end in ("before", "after")
    )
    source.write_text(f"#include <avr/pgmspace.h>\n{before}{source.read_text()}{after}")


NAMES_ON_AVR = """
#include <avr/interrupt.h>
#include <avr/pgmspace.h>
#include <avr/sleep.h>
#include "{library}.h"
int main(void)
{{
    char name[{macro}_NAME_BYTES], *letter;
    int label;
    UCSR0B = 8;
    for (label = 0; label < {macro}_CLASSES; label++) {{
        {macro}_COPY_NAME(name, label);
        for (letter = name; *letter; letter++) {{ while (!(UCSR0A & 32)) {{ }} UDR0 = *letter; }}
        while (!(UCSR0A & 32)) {{ }}
        UDR0 = label + 1 < {macro}_CLASSES ? ';' : 10;
    }}
    cli();
    sleep_mode();
}}
"""


@pytest.mark.parametrize("chip", ["atmega328p", "atmega2560"])
def test_avr_copies_class_names(small: Library, chip: str, tmp_path: Path):
    needs("avr-gcc", "simavr")
    names = tuple(f"name {index}" for index in range(small.dataset.classes))
    library = replace(small, dataset=replace(small.dataset, class_names=names))
    (write_files if chip == "atmega328p" else write_behind_padding)(library, tmp_path)
    (tmp_path / "main.c").write_text(NAMES_ON_AVR.format(library=library.name, macro=library.name.upper()))
    sources = ["main.c", f"src/{library.name}.c"]
    subprocess.run(["avr-gcc", f"-mmcu={chip}", "-Os", "-Isrc", "-o", "names", *sources], cwd=tmp_path, check=True)

    command = ["simavr", "-m", chip, "-f", "16000000", "names"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)

    assert ";".join(names) in run.stdout + run.stderr


@pytest.mark.parametrize("stream", [False, True], ids=["image", "stream"])
@pytest.mark.parametrize("optimise", Optimisation)
def test_avr_reads_constants_beyond_64_kb(small: Library, optimise: Optimisation, stream: bool):
    needs("avr-gcc", "simavr")
    library = replace(small, examples=small.examples[:2], optimise=optimise, stream=stream)
    family = replace(
        CHIP_FAMILIES["ATmega328P"],
        flags=("-mmcu=atmega2560",),
        emulator=("simavr", "-m", "atmega2560", "-f", "16000000"),
        ram_bytes=8_192,
        flash_bytes=262_144,
    )

    emulation = emulate(library, library.examples, family, "-Os", write_behind_padding)

    assert np.array_equal(emulation.logits, integer_logits(library.network, library.examples))


@pytest.mark.nightly
def test_folder_states_costs_on_each_chip(small: Library):
    for family in CHIP_FAMILIES.values():
        needs(f"{family.tool_prefix}-gcc", family.emulator[0])
    library = replace(small, examples=small.examples[:2])

    costs = chip_costs(library)

    assert costs.keys() == CHIP_FAMILIES.keys()
    assert {"code_bytes", "stack_bytes", "cycles"} < costs["ATmega328P"].keys()
    text = files_of(replace(library, chips=costs))["README.md"]
    assert f"{costs['RV32IMC']['instructions']:,} instructions per image" in text


def test_chip_without_tools_is_reported_as_unmeasured(small: Library, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")

    costs = chip_costs(small)

    assert costs["Cortex-M0"] == {"unknown": "arm-none-eabi-gcc is not installed"}
    files = files_of(replace(small, chips=costs))
    assert "- ATmega328P: not measured (avr-gcc is not installed)." in files["README.md"]


def test_chip_is_named_on_stderr_before_measurement(
    small: Library, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    texts = []

    def refuse(library: Library, pixels: Any, family: ChipFamily) -> None:
        texts.append(capsys.readouterr().err)
        raise DeviceError("it is not measured here")

    monkeypatch.setattr(emulated, "emulate", refuse)
    missing = CHIP_FAMILIES["RV32IMC"].emulator[0]
    monkeypatch.setattr(shutil, "which", lambda program: None if program == missing else program)

    chip_costs(small)

    measured = [name for name in CHIP_FAMILIES if name != "RV32IMC"]
    assert [name in text for name, text in zip(measured, texts, strict=True)] == [True] * len(measured)
    assert {text.count("\n") for text in texts} == {1}


def test_network_calls_function_after_each_step_only_if_a_program_defines_it(small: Library, tmp_path: Path):
    write_files(small, tmp_path)
    undefined = []
    for macros in ([], ["-DNET_STEP_END=step_end"]):
        subprocess.run(["cc", "-O0", *macros, "-Isrc", "-c", "src/net.c"], cwd=tmp_path, check=True)
        symbols = subprocess.run(["nm", "-u", "net.o"], cwd=tmp_path, capture_output=True, text=True, check=True)
        undefined.append("step_end" in symbols.stdout.lower())

    assert undefined == [False, True]


@pytest.mark.nightly
@pytest.mark.parametrize("optimise", Optimisation)
def test_profile_adds_up_and_make_profile_prints_the_same(small: Library, optimise: Optimisation, tmp_path: Path):
    for family in CHIP_FAMILIES.values():
        needs(f"{family.tool_prefix}-gcc", family.emulator[0])
    library = replace(small, optimise=optimise)
    write_files(library, tmp_path)

    profile = profile_of(library)
    run = subprocess.run(["make", "-s", "profile"], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert run.stdout.rstrip() == profile_text(profile)
    assert profile["cores"].keys() == CHIP_FAMILIES.keys()
    for name, core in profile["cores"].items():
        emulation = emulate(library, library.examples[:1], CHIP_FAMILIES[name])
        assert sum(core["work"]) == pytest.approx(emulation.work, rel=0.01)
        # Two convolutions and the last layer.
        first, second, last = core["work"]
        assert 0 < 10 * last < min(first, second)
        assert core["change_first"] == (1 if first > second else 2)


def test_make_profile_names_missing_tools(small: Library, tmp_path: Path):
    write_files(small, tmp_path)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "dirname", "mktemp", "rm"):
        (tools / name).symlink_to(shutil.which(name) or name)

    command = ["sh", "test/profile.sh"]
    run = subprocess.run(command, cwd=tmp_path, env={"PATH": str(tools)}, capture_output=True, text=True, check=True)

    expected = [f"{name}: {family.compiler} is not installed" for name, family in CHIP_FAMILIES.items()]
    assert run.stdout.splitlines() == expected


@pytest.mark.nightly
def test_network_too_large_for_chip_is_refused_with_bytes(posed: Library):
    needs("avr-gcc", "simavr")

    with pytest.raises(DeviceError, match=r"[45],\d{3} bytes of RAM or more, the chip has 2,048"):
        emulate(posed, posed.examples[:1], CHIP_FAMILIES["ATmega328P"])


@pytest.mark.nightly
def test_different_logits_on_a_chip_raise_error(small: Library, monkeypatch: pytest.MonkeyPatch):
    needs("arm-none-eabi-gcc", "qemu-system-arm")
    library = replace(small, examples=small.examples[:1])
    monkeypatch.setattr(emulated, "integer_logits", lambda network, pixels: integer_logits(network, pixels) + 1)

    with pytest.raises(HarnessError, match="an emulated Cortex-M0 differ"):
        chip_costs(library)
