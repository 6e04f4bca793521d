"""Write an integer network as a folder of C: a library for Arduino and PlatformIO, and a Zephyr module, with a test.

The layout follows emlearn (https://emlearn.org). ``src`` contains a source and a header, ``test`` contains ten images
with logits for ``make test``, and ``manifest.json`` describes the network.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt

from harness.data.datasets import Dataset
from harness.system.errors import DISTRIBUTION, UsageError
from harness.system.terminal import printable
from harness.training.integer import IntegerNetwork, StepNumbers, integer_logits, kernel_in_poses
from search_spaces.deployment import IntegerMap, IntegerStep, StepKind
from search_spaces.fast_kernels import (
    Optimisation,
    block_filters,
    block_sizes,
    fast_buffers,
    is_expanded,
    reads_planes,
    tile_columns,
)
from search_spaces.ops.integer_form import KernelForm, Reduction

EXAMPLES = 10  # images for the test in the folder
_NUMBERS_A_LINE = 20  # numbers per line of an array in C
# Headers of C (ISO/IEC 9899:2018), POSIX (IEEE 1003.1-2017), glibc, newlib, avr-libc, Arduino and this library.
_HEADER_NAMES = """
    assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic
    stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype
    aio cpio dirent dlfcn fcntl fmtmsg fnmatch ftw glob grp iconv langinfo libgen monetary mqueue ndbm netdb nl_types
    poll pthread pwd regex sched search semaphore spawn strings stropts syslog tar termios trace ulimit unistd utime
    utmpx wordexp
    alloca ar argp argz byteswap crypt elf endian envz err error execinfo features fstab getopt gshadow ieee754 ifaddrs
    libintl link malloc mcheck memory mntent obstack paths printf proc_service pty re_comp regexp resolv sgtty shadow
    stab stdc ttyent ucontext utmp values wait xlocale
    aliases fpu_control fts gconv lastlog nss stdio_ext syscall sysexits termio thread_db
    newlib reent envlock fastmath ieeefp machine process rpc
    arduino binary client hardwareserial interrupt io ipaddress pgmspace pins_arduino print printable server stream
    udp usbapi wire wstring
    examples
"""
_HEADERS = frozenset(_HEADER_NAMES.split())
_ALL_BITS = 15  # shift that maps every channel index to 0, so that all channels use the same number
# Macro that compilers define for each family of chips in ``harness.deployment.emulated``.
_PREDEFINED = {"Cortex-M0": "__ARM_ARCH_6M__", "RV32IMC": "__riscv", "ATmega328P": "__AVR__"}
_FUNCTIONS = {
    StepKind.CONVOLUTION: "convolve",
    StepKind.SCALING: "scale",
    StepKind.POOLING: "pool",
    StepKind.UNSHUFFLE: "unshuffle",
    StepKind.LOGITS: "sum_up",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """Content of a folder of C.

    Attributes:
        network: The integer network.
        dataset: Data set of the network.
        examples: Images for the test in the folder, uint8 (n, channels, rows, columns).
        name: Name of the network in C: a letter, followed by letters, digits and underscores.
        title: Title, a single line of text.
        origin: Hash, recipe and seed, a single line of text.
        facts: Entries of ``manifest.json`` in addition to the sizes.
        chips: Costs of the network on a chip of each family, from ``chip_costs``.
        optimise: Optimisation of the C code.
    """

    network: IntegerNetwork
    dataset: Dataset
    examples: npt.NDArray[np.uint8]
    name: str = "network"
    title: str = "A network"
    origin: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    chips: Mapping[str, Mapping[str, str | int]] = field(default_factory=dict)
    optimise: Optimisation = Optimisation.SIZE

    @property
    def compiler_flag(self) -> str:
        """Optimisation flag of the compilers."""
        return "-O2" if self.optimise is Optimisation.SPEED else "-Os"


def c_name(text: str) -> str:
    """Return ``text`` as a name in C and of a header, with underscores in place of invalid characters.

    A name that does not start with a letter, or that a system header has, gets the prefix ``net_``: a header with
    the same name would be included instead of the system header.
    """
    name = re.sub(r"\W", "_", text, flags=re.ASCII).lower()
    return name if name[:1].isalpha() and name not in _HEADERS else f"net_{name}"


def check_folder(folder: Path) -> None:
    """Raise UsageError unless ``folder`` is missing or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder; choose a new folder")


def files_of(library: Library) -> dict[str, str]:
    """Return the text of each file, by path relative to the folder."""
    context = _context(library)
    texts = {path: rendered(template, context) for path, template in _paths(library.name)}
    texts["manifest.json"] = json.dumps(_manifest(library), indent=2, ensure_ascii=False) + "\n"
    return texts


def runner_of(library: Library) -> str:
    """Return a C program that reads images from stdin and writes logits to stdout, both as bytes."""
    return rendered("run.c.jinja", _context(library))


def emulated_program(library: Library, pixels: npt.NDArray[np.uint8], passes: int) -> str:
    """Return a C program for an emulated chip that times a loop of ``passes`` passes and runs the images."""
    images = [image.ravel().tolist() for image in pixels.transpose(0, 2, 3, 1)]
    return rendered("emulated.c.jinja", {**_context(library), "images": images, "passes": passes})


def _paths(name: str) -> Iterator[tuple[str, str]]:
    yield f"src/{name}.c", "network.c.jinja"
    yield f"src/{name}.h", "network.h.jinja"
    for path in (
        "Makefile", "README.md", "library.properties", "library.json", "CMakeLists.txt", "zephyr/module.yml",
        "zephyr/Kconfig", "LICENSE", "examples/Classify/Classify.ino", "test/examples.h", "test/test.c",
    ):  # fmt: skip
        yield path, f"{path.rpartition('/')[2]}.jinja"


def rendered(template: str, context: Mapping[str, Any]) -> str:
    """Return the text of a template in ``harness/deployment/templates``."""
    return _environment().get_template(template).render(context)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.deployment"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the output is C, Python and Markdown, not HTML
    )
    environment.filters["lines"] = _lines
    return environment


def _lines(numbers: Sequence[Any], indent: int = 4, count: int = _NUMBERS_A_LINE) -> str:
    """Return numbers as lines of C, with ``count`` numbers per line."""
    parts = [numbers[first : first + count] for first in range(0, len(numbers), count)]
    return ",\n".join(" " * indent + ", ".join(map(str, part)) for part in parts)


def c_text(text: str) -> str:
    """Return ``text`` as a string literal in C; bytes other than printable ASCII become octal escapes."""
    printable = {ord('"'): '\\"', ord("\\"): "\\\\", ord("?"): "\\?"}
    parts = (printable.get(byte, chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in text.encode("utf-8"))
    return f'"{"".join(parts)}"'


def _manifest(library: Library) -> dict[str, Any]:
    plan = library.network.plan
    return {
        "program": _program(),
        **library.facts,
        **plan.sizes,
        "optimise": library.optimise,
        "largest_value": max(numbers.largest for numbers in library.network.numbers),
        "chips": library.chips,
        "schema_version": 1,
    }


def _program() -> str:
    return f"{DISTRIBUTION} {importlib.metadata.version(DISTRIBUTION)}"


def _context(library: Library) -> dict[str, Any]:
    network = library.network
    plan = network.plan
    channels, rows, columns = plan.maps[0].shape
    dataset = library.dataset
    low = dataset.low or (0.0,) * channels
    high = dataset.high or (255.0,) * channels
    is_fast = library.optimise is Optimisation.SPEED
    steps = [_StepText(network, index, is_fast) for index in range(len(plan.steps))]
    class_names = dataset.class_names or tuple(map(str, range(dataset.classes)))
    return {
        "name": library.name,
        "macro": library.name.upper(),
        "program": _program(),
        "license": importlib.metadata.metadata(DISTRIBUTION)["License-Expression"],
        "title": c_comment(library.title),
        "origin": c_comment(library.origin),
        "rows": rows,
        "columns": columns,
        "channels": channels,
        "classes": dataset.classes,
        "class_names": list(map(c_text, class_names)),
        "name_bytes": 1 + max(len(name.encode("utf-8")) for name in class_names),
        "low": [f"{value:.9g}" for value in low],
        "scale": [f"{255 / (most - least):.9g}" for least, most in zip(low, high, strict=True)],
        **plan.sizes,
        "uses_arena": plan.arena_bytes > 0,
        "kernels": [_kernel_text(network, index, is_fast) for index in range(len(network.kernels))],
        "arrays": [array for step in steps for array in step.arrays],
        "steps": steps,
        "types": _types(steps),
        "used": _used_functions(steps),
        "buffers": plan.buffers,
        "optimise": library.optimise,
        "compiler_flag": library.compiler_flag,
        "orders": [],
        **(_fast_kernels(steps) if is_fast else {}),
        "is_scaled": any(least != 0 or most != 255 for least, most in zip(low, high, strict=True)),
        "examples": _examples(library),
        "facts": library.facts,
        "chips": library.chips,
        # Families of chips with a measured stack: name, macro of the compiler and costs.
        "stacks": [(chip, _PREDEFINED[chip], cost) for chip, cost in library.chips.items() if "stack_bytes" in cost],
    }


def _types(steps: Sequence[_StepText]) -> dict[str, str]:
    """Return the smallest C types for the extents of windows, for counts and for signed positions in maps."""
    extent = max(number for step in steps for number in step.extents)
    count = max(number for step in steps for number in step.counts)
    position = max(max(step.counts[:2]) + 2 * max(step.extents) for step in steps)
    return {
        "extent": next(f"uint{bits}_t" for bits in (8, 16, 32) if extent < 2**bits),
        "count": next(f"uint{bits}_t" for bits in (16, 32) if count < 2**bits),
        "position": "int16_t" if position < 2**15 else "int32_t",
        # A product of two bytes needs 16 bits, the base of the input a further one. Unsigned sums may wrap around, but
        # GCC reorders them, which needs more registers.
        "sum": "int32_t" if count < 2**14 else "uint32_t",
    }


def _used_functions(steps: Sequence[_StepText]) -> set[str]:
    """Return the template functions that a network needs, and the kinds of convolutions."""
    kinds = {_FUNCTIONS[step.step.kind] for step in steps}
    for step in steps:
        if step.step.kind is not StepKind.CONVOLUTION:
            continue
        form = step.step.form
        kinds.add("poses" if form.poses > 1 else "plain")
        filters, group_channels, _, _ = form.shape
        # In a depthwise convolution in poses, each pose of a filter reads a channel of its own.
        if form.poses > 1 and filters < step.source.shape[0] // group_channels:
            kinds.add("channel of each pose")
    if steps[-1].step.form.poses > 1:
        kinds.add("head by pose")
    return kinds


def c_comment(text: str) -> str:
    """Return ``text`` for a comment in C and a line of Markdown, without line ends and control characters.

    A file of weights may come from an untrusted source, with arbitrary text as the name of the recipe.
    """
    return printable(text).replace("*/", "* /")


def _kernel_text(network: IntegerNetwork, index: int, is_fast: bool) -> dict[str, Any]:
    """Return the weights of a kernel in the order of the C code."""
    kernel = network.kernels[index]
    plan = network.plan
    period = 0
    if is_fast and not is_expanded(plan):
        period = next(block_filters(plan, step) for step in plan.steps if step.kernel == index)
    text = {"name": f"kernel_{index}", "shape": kernel.shape, "layout": "", "numbers": kernel.ravel().tolist()}
    if not period:
        return text
    numbers: list[int] = []
    for first in range(0, len(kernel), period):
        for size in block_sizes(period):
            block = kernel[first : first + size]
            # The byte of weight + 128, which C reads without a sign.
            numbers += (block.reshape(size, -1).T ^ -128).ravel().tolist()
            first += size
    return text | {"layout": "; the weights of a block of filters alternate, as weight + 128", "numbers": numbers}


def _fast_kernels(steps: Sequence[_StepText]) -> dict[str, Any]:
    """Return the kernels that a network needs, and the sizes of their buffers."""
    convolutions = [step for step in steps if step.step.kind is StepKind.CONVOLUTION]
    plan = steps[0].network.plan
    planes = [step for step in convolutions if reads_planes(plan, step.step)]
    blocks = [step for step in convolutions if not reads_planes(plan, step.step)]
    sizes: set[int] = set()
    poses: set[int] = set()
    for step in blocks:
        sizes |= set(block_sizes(step.block_filters))
        if step.step.form.poses > 1 or step.source.shape[0] > step.step.form.shape[1]:
            poses.add(step.step.form.poses)
    if is_expanded(plan):
        poses = {1} if any(step.source.shape[0] > step.step.form.shape[1] for step in blocks) else set()
    kinds = {
        "blocks": blocks,
        "planes": planes,
        "pooled": [step for step in convolutions if step.step.pool is not None],
        "single": [] if is_expanded(plan) else [step for step in blocks if step.step.form.poses > step.source.shape[0]],
        "rest": [step for step in blocks if step.counts[-1] % 4],
        "groups": [step for step in blocks if step.source.shape[0] > step.step.form.shape[1]],
        "skip": [step for step in steps if step.step.skip is not None],
        "slope": [step for step in steps if step.values.slope is not None],
    }
    orders = {step.order: _order(step.step.form) for step in steps if step.order != "0"}
    return {
        "orders": [{"name": name, "numbers": numbers} for name, numbers in sorted(orders.items())],
        "buffers": fast_buffers(plan),
        "is_expanded": is_expanded(plan),
        "block_sizes": sorted(sizes, reverse=True),
        "block_poses": sorted(poses),
        "plane_sizes": sorted({math.prod(step.step.form.shape[2:]) for step in planes}),
        "used": _used_functions(steps) | {name for name, users in kinds.items() if users},
    }


def _order(form: KernelForm) -> list[int]:
    """Return, for each pose of a filter, the places and then the channels of the stored filter."""
    _, channels, rows, columns = form.shape
    places = kernel_in_poses(np.arange(rows * columns).reshape(1, rows, columns, 1), form.poses)
    parts = form.poses if channels > 1 else 1
    channel_parts = kernel_in_poses(np.arange(parts).reshape(1, 1, 1, parts), form.poses)
    padding = np.zeros((form.poses, form.poses - parts), np.int64)
    table = np.hstack([places.reshape(form.poses, -1), channel_parts.reshape(form.poses, -1), padding])
    return [int(number) for number in table.ravel()]


def _examples(library: Library) -> list[dict[str, Any]]:
    answers = integer_logits(library.network, library.examples)
    pixels = library.examples.transpose(0, 2, 3, 1)
    return [
        {"pixels": image.ravel().tolist(), "logits": answer.tolist()}
        for image, answer in zip(pixels, answers, strict=True)
    ]


class _StepText:
    # A step, with the texts and numbers that the template needs.

    def __init__(self, network: IntegerNetwork, index: int, is_fast: bool) -> None:
        self.network = network
        self.step: IntegerStep = network.plan.steps[index]
        self.values: StepNumbers = network.numbers[index]
        self.index = index
        self.is_fast = is_fast

    @property
    def source(self) -> IntegerMap:
        return self.network.plan.maps[self.step.source]

    @property
    def target(self) -> IntegerMap | None:
        return None if self.step.target is None else self.network.plan.maps[self.step.target]

    @property
    def text(self) -> str:
        step = self.step
        ops = [planned.op for planned in (step.sums, step.norm, step.rectifier, step.pool) if planned is not None]
        if ops:
            return " ".join(map(str, ops))
        return "input" if step.skip is None else "sum"

    @property
    def arrays(self) -> list[dict[str, Any]]:
        numbers = {"multipliers": self.values.multipliers, "biases": self.values.biases}
        return [
            {"name": f"{name}_{self.index}", "numbers": array.tolist()} for name, array in numbers.items() if len(array)
        ]

    @property
    def call(self) -> str:
        function = (
            "convolve_planes"
            if self.is_fast and reads_planes(self.network.plan, self.step)
            else _FUNCTIONS[self.step.kind]
        )
        arguments = [f"READ_STEP({self.index})", self._place(self.step.source)]
        if self.step.target is None:
            return f"{function}({', '.join([*arguments, 'logits'])})"
        arguments.append(self._place(self.step.target))
        if self.step.kind in (StepKind.CONVOLUTION, StepKind.SCALING):
            arguments.append("0" if self.step.skip is None else self._place(self.step.skip))
        return f"{function}({', '.join(arguments)})"

    def _place(self, index: int) -> str:
        offset = self.network.plan.maps[index].offset
        return "pixels" if offset is None else f"arena + {offset}"

    @property
    def extents(self) -> tuple[int, ...]:
        """Kernel rows and columns, stride, row and column padding, poses, pooling rows and columns."""
        form = self.step.form
        _, _, kernel_rows, kernel_columns = form.shape
        pool_rows, pool_columns = (1, 1) if self.step.pool is None else self.step.pool.form.window
        return (kernel_rows, kernel_columns, form.stride, *form.paddings, form.poses, pool_rows, pool_columns)

    @property
    def counts(self) -> tuple[int, ...]:
        """Rows, columns and channels of input and output, inner columns, filters, group channels, window size."""
        form = self.step.form
        shape = self.source.shape
        if self.step.kind is StepKind.LOGITS and not self.step.is_global:
            shape = (self.source.size, 1, 1)  # a linear layer of a whole map treats each number as a channel
        channels, rows, columns = shape
        output_channels, output_rows, output_columns = self.target.shape if self.target is not None else (1, 1, 1)
        filters, group_channels, kernel_rows, kernel_columns = form.shape
        # The window size is not a member of the C structure, but a loop counter must hold the number.
        window = kernel_rows * kernel_columns * group_channels
        shapes = (rows, columns, channels, output_rows, output_columns, output_channels)
        inner_columns = columns  # of the map before pooling
        if not form.is_global:
            inner_columns = (columns + 2 * form.paddings[1] - kernel_columns) // form.stride + 1
        return (*shapes, inner_columns, filters, group_channels, window)

    @property
    def order(self) -> str:
        """Name of the table with the orders of the poses; 0 without a table."""
        form = self.step.form
        is_ordered = form.poses > 1 or is_expanded(self.network.plan) or reads_planes(self.network.plan, self.step)
        if self.step.kind is not StepKind.CONVOLUTION or not is_ordered:
            return "0"
        _, channels, rows, columns = form.shape
        kind = "single" if channels == 1 else "order"
        return f"{kind}_{form.poses}_{rows}_{columns}"

    @property
    def block_filters(self) -> int:
        """Number of stored filters after which a new block of filters begins; 0 without blocks."""
        return block_filters(self.network.plan, self.step)

    @property
    def numbers(self) -> list[str | int]:
        """Members of the C structure ``step``, in order."""
        values = self.values
        *extents, pool_rows, pool_columns = self.extents
        *counts, _ = self.counts
        output_channels = counts[5]
        takes_mean = self.step.pool is not None and self.step.pool.form.reduction is Reduction.MEAN
        is_signed = self.target is None or self.target.signed
        low, high = (-127, 127) if is_signed else (0, 255)
        slope = 0 if values.slope is None else values.slope
        # 0 means no slope in C. A slope that is rounded to 0 makes all negative numbers 0.
        if values.slope == 0:
            low = 0
        kernel = "0" if self.step.kernel is None else f"kernel_{self.step.kernel}"
        multipliers = f"multipliers_{self.index}" if len(values.multipliers) else "0"
        biases = f"biases_{self.index}" if len(values.biases) else "0"
        return [
            kernel,
            multipliers,
            biases,
            *([self.order] if self.is_fast else []),
            *extents,
            pool_rows,
            pool_columns,
            int(takes_mean),
            *self._byte_codes(),
            _bits_to_lose(output_channels, len(values.multipliers)),
            _bits_to_lose(output_channels, len(values.biases)),
            values.sum_bits,
            values.bias_bits,
            values.output_bits,
            *counts,
            *((self.block_filters, tile_columns(self.network.plan, self.step)) if self.is_fast else ()),
            values.skip_multiplier,
            slope,
            low,
            high,
        ]

    def _byte_codes(self) -> tuple[int, int, int]:
        """Return flip and base of the source, and flip of the skip map: number = (byte ^ flip) - base."""
        is_learned_of_image = self.step.source == 0 and self.step.kernel is not None
        base = self.network.offset if is_learned_of_image else 0
        flip = 0
        if self.source.signed:
            flip = base = 128
        skip = None if self.step.skip is None else self.network.plan.maps[self.step.skip]
        skip_flip = 128 if skip is not None and skip.signed else 0
        return flip, base, skip_flip


def _bits_to_lose(channels: int, count: int) -> int:
    """Return the right shift from a channel index to the index of a number, if ``channels`` share ``count`` numbers."""
    if count <= 1:
        return _ALL_BITS
    return max(0, (channels // count).bit_length() - 1)
