"""Compare the exported C with CMSIS-NN, layer by layer, on an emulated Cortex-M4 (DSP) and Cortex-M55 (MVE).

The layers are those of the record ``b0e868``, with random weights. On both sides a program runs all layers in turn and
reads SysTick between the layers. A layer is a step of the exported C for speed. In CMSIS-NN it is
``arm_convolve_wrapper_s8``, followed by ``arm_avgpool_s8`` if the step pools, or ``arm_fully_connected_s8``. Each layer
of CMSIS-NN must give the numbers of a NumPy reference, and the exported C the logits of the integer network.

CMSIS-NN is compiled as a static library, with the flags of the exported C and, for the Cortex-M4, with the macro that
its README calls faster on this core. The sums of weights that ``arm_fully_connected_s8`` needs on a Cortex-M55 are
computed before the measurement by ``arm_vector_sum_s8``. The logits of CMSIS-NN have 8 bits, those of the exported C 32
bits. The table is printed as Markdown; the ratio is the smaller number of the exported C, divided by the smaller number
of CMSIS-NN. QEMU counts each instruction as one, also a vector instruction and the end of a low-overhead loop, so the
numbers are no cycles.

Requires commit 99f736a63036613032f9b70de36b493bcd7802d4 of github.com/ARM-software/CMSIS-NN, and ``qemu-system-arm``
with the boards ``mps2-an386`` and ``mps3-an547``:

    apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm
    python -m measurements.cmsis_nn CMSIS_NN_FOLDER
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt

from harness.evidence.record import read
from harness.exports.c_library import Library, files_of
from harness.exports.chip_families import CHIP_FAMILIES, PASSES, ChipFamily
from harness.exports.compiled import write_files
from harness.exports.emulated import emulate
from harness.spaces.fast_kernels import Optimisation
from harness.spaces.integer_plan import IntegerPlan, IntegerStep, StepKind
from harness.system.errors import HarnessError
from harness.training.integer import integer_logits
from measurements.exported_c import random_library

RECORD = Path(__file__).parents[1] / "records" / "b0e8688f0529-e48975600a06-mnist-99_4.json"
_FLAGS = ("-O2", "-O3")
_RUNS = 40  # measured runs of each program, each 3 instructions later, as SysTick ticks every 40 or 31.25 instructions
_FOLDERS = ("Convolution", "FullyConnected", "Pooling", "NNSupport")  # of the functions, in the sources of CMSIS-NN
_OFFSET = 128  # a map of CMSIS-NN holds number - 128, as after a ReLU
_SPREAD = 50  # standard deviation of the outputs before they are clipped
_HASH_FACTOR = 31  # odd, so that a single wrong byte changes the hash
_Numbers = npt.NDArray[Any]


def _family(cpu: str, board: str, link_flags: str) -> ChipFamily:
    return replace(
        CHIP_FAMILIES["Cortex-M0"],
        flags=(*cpu.split(), "-mthumb", "-nostdlib"),
        link_flags=(f"-Wl,{link_flags},-Tdata=0x20000000,-e,main", "-lgcc"),
        emulator=("qemu-system-arm", "-M", board, "-semihosting", "-nographic", "-icount", "shift=0", "-kernel"),
    )


CORES = {
    "Cortex-M4": _family("-mcpu=cortex-m4", "mps2-an386", "--section-start=.vectors=0,-Ttext=8"),
    "Cortex-M55": _family(
        "-mcpu=cortex-m55 -mfloat-abi=hard",  # newlib has vector instructions for this ABI only
        "mps3-an547",
        "--section-start=.start=0,--section-start=.vectors=0x40,-Ttext=0x48",
    ),
}
_MACROS = {"Cortex-M4": ("-DCMSIS_NN_USE_REQUANTIZE_INLINE_ASSEMBLY",), "Cortex-M55": ()}
# A Cortex-M55 starts with a disabled vector unit. The code in ``.start`` enables coprocessors 10 and 11 (CPACR) and
# continues with the stack and the function in ``.vectors``.
_CLOCK = r"""
#ifdef __ARM_FEATURE_MVE
__asm__(".section .start, \"ax\"\n .thumb\n .word 0x20001000, 9\n ldr r0, =0xe000ed88\n ldr r1, [r0]\n"
        " orr r1, #0xf00000\n str r1, [r0]\n dsb\n isb\n mov r0, #0x40\n ldr r1, [r0]\n mov sp, r1\n"
        " ldr r1, [r0, #4]\n bx r1\n .ltorg\n .text");
#endif
static uint32_t marks[16];
static int calls;
#define BARRIER __asm__ volatile("" : : : "memory");
#define BEGIN { int wait = 1 + calls; __asm__ volatile("1: nop\n subs %0, #1\n bne 1b" : "+r"(wait) : : "cc"); }
#define MARK(index) BARRIER marks[index] = -*(volatile uint32_t *)0xe000e018 & 0xffffff; BARRIER
#define END(count) MARK(count) if (calls++) for (int i = 0; i <= count; i++) logits[i] = (int32_t)marks[i];
"""
# The first call writes the hash of each output, each further call the readings of the clock.
_CMSIS_NN = r"""
#include "network.h"
#include "arm_nnfunctions.h"
{{ clock }}
static int32_t buffer[1024], sums[16];
static const cmsis_nn_context context = { buffer, sizeof buffer }, context_of_sums = { sums, sizeof sums };
static int8_t map_0[] = { {{ layers[0].source | numbers }} };
{% for layer in layers %}
{% set i, form, window = loop.index0, layer.step.form, layer.step.pool_window | join(", ") %}
static const int8_t weights_{{ i }}[] = { {{ layer.weights | numbers }} };
static const int32_t biases_{{ i }}[] = { {{ layer.biases | numbers }} };
static int32_t multipliers_{{ i }}[] = { {{ layer.multipliers | numbers }} };
static int32_t shifts_{{ i }}[] = { {{ layer.shifts | numbers }} };
static int8_t inner_map_{{ i }}[{{ layer.inner.size }}], map_{{ i + 1 }}[{{ layer.target.size }}];
{% for name, dimensions in layer.dimensions.items() %}
static const cmsis_nn_dims {{ name }}_{{ i }} = { {{ dimensions | join(", ") }} };
{% endfor %}
{% if layer.is_linear %}
static const cmsis_nn_fc_params layer_{{ i }} = { 128, 0, 0, { -128, 127 } };
static const cmsis_nn_per_tensor_quant_params scale_{{ i }} = { {{ layer.multipliers[0] }}, {{ layer.shifts[0] }} };
{% else %}
static const cmsis_nn_conv_params layer_{{ i }} = {
    128, -128, { {{ form.stride }}, {{ form.stride }} }, { {{ form.paddings | join(", ") }} }, { 1, 1 }, { -128, 127 }
};
static const cmsis_nn_per_channel_quant_params scale_{{ i }} = { multipliers_{{ i }}, shifts_{{ i }} };
static const cmsis_nn_pool_params pool_{{ i }} = { { {{ window }} }, { 0, 0 }, { -128, 127 } };
{% endif %}
{% endfor %}
static int32_t hash(const int8_t *bytes, int count)
{
    uint32_t hash = 0;
    while (count--)
        hash = hash * {{ factor }} + (uint8_t)*bytes++;
    return (int32_t)hash;
}

void network_logits(uint8_t *arena, const uint8_t *pixels, int32_t *logits)
{
{% set last = layers | length - 1 %}
    BEGIN
    arm_vector_sum_s8(sums, filter_{{ last }}.n, filter_{{ last }}.c, weights_{{ last }}, 128, 0, biases_{{ last }});
{% for layer in layers %}
{% set i = loop.index0 %}
{% set call = "fully_connected_s8(&context_of_sums" if layer.is_linear else "convolve_wrapper_s8(&context" %}
    MARK({{ i }})
    arm_{{ call }}, &layer_{{ i }}, &scale_{{ i }}, &source_{{ i }}, map_{{ i }}, &filter_{{ i }}, weights_{{ i }},
        &bias_{{ i }}, biases_{{ i }}, &inner_{{ i }}, {{ "inner_map_" ~ i if layer.step.pool else "map_" ~ (i + 1) }});
{% if layer.step.pool %}
    arm_avgpool_s8(&context, &pool_{{ i }}, &inner_{{ i }}, inner_map_{{ i }}, &window_{{ i }}, &target_{{ i }},
        map_{{ i + 1 }});
{% endif %}
{% endfor %}
    END({{ layers | length }})
    else {
{% for layer in layers %}
        logits[{{ loop.index0 }}] = hash(map_{{ loop.index }}, {{ layer.target.size }});
{% endfor %}
    }
}
"""


@dataclass(frozen=True, slots=True)
class Layer:
    """Numbers of a layer of CMSIS-NN; maps are int8 numbers of the shape (rows, columns, channels).

    Attributes:
        inner: Output of the convolution or linear layer, before pooling.
        weights: Of the shape (filters, rows, columns, channels).
        multipliers: A number for each filter, as ``biases`` and ``shifts``.
    """

    step: IntegerStep
    source: _Numbers
    weights: _Numbers
    biases: _Numbers
    multipliers: _Numbers
    shifts: _Numbers
    inner: _Numbers
    target: _Numbers

    @classmethod
    def random(cls, step: IntegerStep, source: _Numbers, rng: np.random.Generator) -> Layer:
        """Return a layer with random weights, and its outputs by the arithmetic of CMSIS-NN."""
        form = step.form
        filters, channels, rows, columns = form.shape
        weights = rng.integers(-127, 128, (filters, rows, columns, channels))
        padded = np.pad(source + _OFFSET, [(size, size) for size in (*form.paddings, 0)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, (rows, columns), (0, 1))
        sums = np.einsum("yxcij,fijc->yxf", windows[:: form.stride, :: form.stride], weights)
        biases = rng.integers(-1, 2, filters) * int(sums.std() / 2)
        factors = rng.uniform(0.5, 1.5, filters)
        offset = _OFFSET
        if step.kind is StepKind.LOGITS:
            factors[:] = 1  # a single multiplier
            offset = 0
        mantissas, shifts = np.frexp(factors * _SPREAD / sums.std())
        multipliers = (mantissas * 2**31).astype(int)
        inner = np.clip(requantised(sums + biases, multipliers, shifts) - offset, -128, 127)
        height, width = step.pool_window
        blocks = inner.reshape(len(inner) // height, height, -1, width, filters)
        target = _quotients(blocks.sum((1, 3)), height * width)
        return cls(step, source, weights, biases, multipliers, shifts, inner, target)

    @property
    def is_linear(self) -> bool:
        """Whether the layer is the linear layer, whose outputs are not rectified."""
        return self.step.kind is StepKind.LOGITS

    @property
    def title(self) -> str:
        """Ops, and the shape of the input."""
        ops = [str(planned.op) for planned in (self.step.sums, self.step.pool) if planned is not None]
        return f"{' '.join(ops)} of {'x'.join(map(str, self.source.shape))}"

    @property
    def dimensions(self) -> dict[str, tuple[int, ...]]:
        """Values of each ``cmsis_nn_dims``: number, rows, columns, channels."""
        filters, *kernel = self.weights.shape
        return {
            "source": (1, *self.source.shape),
            "filter": (self.source.size, 1, 1, filters) if self.is_linear else (filters, *kernel),
            "bias": (1, 1, 1, filters),
            "inner": (1, *self.inner.shape),
            "window": (1, *self.step.pool_window, 1),
            "target": (1, *self.target.shape),
        }

    @property
    def macs(self) -> int:
        """Multiply-adds, with those of the padding."""
        filter_weights: int = self.weights[0].size
        return self.inner.size * filter_weights

    @property
    def hash(self) -> int:
        """Hash of the outputs, as the program computes it."""
        value = 0
        for number in self.target.ravel().tolist():
            value = (value * _HASH_FACTOR + number % 256) % 2**32
        return value


def requantised(sums: _Numbers, multipliers: _Numbers, shifts: _Numbers) -> _Numbers:
    """Return sums * multipliers * 2^(shifts - 31) as ``arm_nn_requantize`` rounds, for shifts of 0 or less.

    The product is rounded first, halves upwards; then the shift to the right rounds halves away from zero.
    """
    return _quotients(sums * multipliers + 2**30 >> 31, 1 << -shifts)


def _quotients(numbers: _Numbers, divisors: _Numbers | int) -> _Numbers:
    """Return numbers / divisors, rounded to the nearest integers, halves away from zero."""
    return np.sign(numbers) * ((abs(numbers) + divisors // 2) // divisors)


def timed(text: str, steps: int) -> str:
    """Return the exported C of a network with readings of the clock before, between and after the steps.

    The first call of ``network_logits`` writes the logits, each further call the readings in place of the logits.

    Raises:
        HarnessError: The function does not call each step once.
    """
    head, signature, rest = text.partition("\nvoid network_logits(")
    arguments, brace, rest = rest.partition("\n{\n")
    body, end, tail = rest.partition("\n}\n")
    body, count = re.subn(r"\w+\(STEP\((\d+)\),", r"MARK(\1) \g<0>", body)
    if count != steps:
        raise HarnessError(f"the exported C calls {count} of {steps} steps")
    include = '#include "network.h"\n'
    start = head.replace(include, include + _CLOCK, 1)
    return f"{start}{signature}{arguments}{brace}    BEGIN\n{body}\n    END({steps}){end}{tail}"


def step_work(library: Library, text: str, family: ChipFamily, flag: str, expected: Sequence[int]) -> _Numbers:
    """Return the mean number of instructions of each step of a program.

    Args:
        text: C with the function ``network_logits``, as from ``timed``.
        expected: Numbers that the first call must write.

    Raises:
        HarnessError: The first call writes other numbers.
    """

    def write(_: Library, folder: Path) -> None:
        write_files(library, folder)
        (folder / "src" / "network.c").write_text(text, encoding="utf-8")

    emulation = emulate(library, library.examples.repeat(1 + _RUNS, 0), family, flag, write)
    first, *readings = emulation.logits.astype(np.int64)
    if not np.array_equal(first[: len(expected)] % 2**32, np.array(expected) % 2**32):
        raise HarnessError(f"a program computes wrong numbers ({' '.join(family.flags)} {flag})")
    marks = np.array(readings)[:, : 1 + len(library.network.plan.steps)]
    works: _Numbers = np.diff(marks).mean(0) / emulation.loop_ticks * PASSES * family.pass_work
    return works


def cmsis_nn_program(layers: Sequence[Layer]) -> str:
    """Return C with the function ``network_logits`` that calls CMSIS-NN for the layers."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["numbers"] = lambda array: ", ".join(map(str, array.ravel().tolist()))
    return environment.from_string(_CMSIS_NN).render(layers=layers, clock=_CLOCK, factor=_HASH_FACTOR)


def random_layers(plan: IntegerPlan) -> list[Layer]:
    """Return layers with random weights for the steps of a plan; each reads the outputs of the layer before."""
    rng = np.random.default_rng(0)
    channels, rows, columns = plan.maps[0].shape
    numbers = rng.integers(-128, 128, (rows, columns, channels))
    layers: list[Layer] = []
    for step in plan.steps:
        layers.append(Layer.random(step, layers[-1].target if layers else numbers, rng))
    return layers


def _linked(family: ChipFamily, flag: str, macros: Sequence[str], sources: Path, folder: Path) -> ChipFamily:
    """Return a family whose programs contain CMSIS-NN, compiled to a folder."""
    paths = [path for name in _FOLDERS for path in sorted((sources / "Source" / f"{name}Functions").glob("*s8*.c"))]
    flags = (*family.flags, *macros, f"-I{sources / 'Include'}")
    subprocess.run([f"{family.tool_prefix}-gcc", *flags, flag, "-c", *paths], cwd=folder, check=True)
    archive = folder / "library.a"
    subprocess.run([f"{family.tool_prefix}-ar", "rcs", archive, *folder.glob("*.o")], check=True)
    return replace(family, flags=flags, link_flags=(str(archive), *family.link_flags, "-lc"))


def measure(core: str, library: Library, layers: Sequence[Layer], sources: Path) -> _Numbers:
    """Return the instructions of each layer: CMSIS-NN, then the exported C, each for all flags, (4, layers)."""
    family = CORES[core]
    hashes = [layer.hash for layer in layers]
    works = []
    for flag in _FLAGS:
        with tempfile.TemporaryDirectory() as name:
            linked = _linked(family, flag, _MACROS[core], sources, Path(name))
            works.append(step_work(library, cmsis_nn_program(layers), linked, flag, hashes))
    text = timed(files_of(library)["src/network.c"], len(layers))
    logits = integer_logits(library.network, library.examples)[0].tolist()
    works += [step_work(library, text, family, flag, logits) for flag in _FLAGS]
    return np.array(works)


def main() -> None:
    """Measure and print the table."""
    sources = Path(sys.argv[1]).absolute()
    library = replace(random_library(read(RECORD).architecture), optimise=Optimisation.SPEED)
    layers = random_layers(library.network.plan)
    titles = [*(layer.title for layer in layers), "all"]
    macs = [layer.macs for layer in layers]
    programs = [f"{side} `{flag}`" for side in ("CMSIS-NN", "harness") for flag in _FLAGS]
    print(f"| layer | multiply-adds | core | {' | '.join(programs)} | ratio |")
    print("| --- " * (4 + len(programs)) + "|")
    for core in CORES:
        works = measure(core, library, layers, sources)
        rows = zip(titles, [*macs, sum(macs)], [*works.T, works.sum(1)], strict=True)
        for title, count, numbers in rows:
            cells = " | ".join(f"{number:,.0f}" for number in numbers)
            theirs, ours = numbers.reshape(2, -1).min(1)
            print(f"| {title} | {count:,} | {core} | {cells} | {ours / theirs:.2f} |", flush=True)


if __name__ == "__main__":
    main()
