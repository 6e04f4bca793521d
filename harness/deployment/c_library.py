"""Write an integer network as a folder of C: a library for Arduino and PlatformIO, and a Zephyr module, with a test.

The layout follows emlearn (https://emlearn.org). ``src`` contains a source and a header, ``test`` contains ten images
with logits for ``make test``, and ``manifest.json`` describes the network.
"""

from __future__ import annotations

import importlib.metadata
import json
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
from harness.training.integer import IntegerNetwork, StepNumbers, integer_logits
from search_spaces.deployment import IntegerMap, IntegerStep, StepKind
from search_spaces.ops import DepthwiseConv, Kernel, PoseLinear, Role

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


@dataclass(frozen=True, slots=True)
class Library:
    """Content of a folder of C.

    Attributes:
        name: Name of the network in C: a letter, followed by letters, digits and underscores.
        title: Title, a single line of text.
        origin: Hash, recipe and seed, a single line of text.
        network: The integer network.
        dataset: Data set of the network.
        examples: Images for the test in the folder, uint8 (n, channels, rows, columns).
        facts: Entries of ``manifest.json`` in addition to the sizes.
        chips: Costs of the network on a chip of each family, from ``chip_costs``.
    """

    name: str
    title: str
    origin: str
    network: IntegerNetwork
    dataset: Dataset
    examples: npt.NDArray[np.uint8]
    facts: Mapping[str, Any]
    chips: Mapping[str, Mapping[str, str | int]] = field(default_factory=dict)


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


def emulated_program(library: Library, pixels: npt.NDArray[np.uint8], turns: int) -> str:
    """Return a C program for an emulated chip that times a loop of ``turns`` iterations and runs the images."""
    images = [image.ravel().tolist() for image in pixels.transpose(0, 2, 3, 1)]
    return rendered("emulated.c.jinja", {**_context(library), "images": images, "turns": turns})


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
    environment.filters["batches"] = _batches
    return environment


def _batches(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[first : first + size] for first in range(0, len(items), size)]


def _lines(numbers: Sequence[int]) -> str:
    return ",\n".join("    " + ", ".join(map(str, part)) for part in _batches(numbers, _NUMBERS_A_LINE))


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
        "constant_bytes": plan.constant_bytes,
        "arena_bytes": plan.arena_bytes,
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
    steps = [_StepText(network, index, library.name) for index in range(len(plan.steps))]
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
        "arena_bytes": plan.arena_bytes,
        "constant_bytes": plan.constant_bytes,
        "uses_arena": plan.arena_bytes > 0,
        "kernels": [
            {"name": f"kernel_{index}", "text": _kernel_text(kernel.shape), "numbers": kernel.ravel().tolist()}
            for index, kernel in enumerate(network.kernels)
        ],
        "arrays": [array for step in steps for array in step.arrays],
        "steps": steps,
        "types": _types(steps),
        "used": _used_functions(steps),
        "buffers": plan.buffers,
        "is_scaled": any(least != 0 or most != 255 for least, most in zip(low, high, strict=True)),
        "examples": _examples(library),
        "facts": library.facts,
        "chips": library.chips,
        "stacks": _stacks(library.chips),
    }


def _types(steps: Sequence[_StepText]) -> dict[str, str]:
    """Return the smallest C types for the extents of windows, for counts and for signed positions in maps."""
    extent = max(number for step in steps for number in step.extents)
    count = max(number for step in steps for number in step.counts)
    position = max(max(step.counts[:2]) + 2 * max(step.extents) for step in steps)
    return {
        "extent": "uint8_t" if extent < 2**8 else "uint16_t" if extent < 2**16 else "uint32_t",
        "count": "uint16_t" if count < 2**16 else "uint32_t",
        "position": "int16_t" if position < 2**15 else "int32_t",
    }


def _used_functions(steps: Sequence[_StepText]) -> set[str]:
    """Return the template functions that a network needs, and the kinds of convolutions."""
    convolutions = [step for step in steps if step.step.kind is StepKind.CONVOLUTION]
    kinds = {"poses" if step.poses > 1 else "plain" for step in convolutions}
    if any(step.poses > 1 and isinstance(step.step.op, DepthwiseConv) for step in convolutions):
        kinds.add("channel of each pose")
    if steps[-1].poses > 1:
        kinds.add("head by pose")
    return kinds | {_FUNCTIONS[step.step.kind] for step in steps}


def _stacks(chips: Mapping[str, Mapping[str, str | int]]) -> list[tuple[str, str, Mapping[str, str | int]]]:
    """Return the families of chips with a measured stack: name, predefined macro of the compiler and costs."""
    return [(chip, _PREDEFINED[chip], cost) for chip, cost in chips.items() if "stack_bytes" in cost]


def c_comment(text: str) -> str:
    """Return ``text`` for a comment in C and a line of Markdown, without line ends and control characters.

    A file of weights may come from an untrusted source, with arbitrary text as the name of the recipe.
    """
    return printable(text).replace("*/", "* /")


def _kernel_text(shape: tuple[int, ...]) -> str:
    filters, rows, columns, channels = shape
    return f"{filters} filters of {rows} x {columns} places and {channels} channels."


def _examples(library: Library) -> list[dict[str, Any]]:
    answers = integer_logits(library.network, library.examples)
    pixels = library.examples.transpose(0, 2, 3, 1)
    return [
        {"pixels": image.ravel().tolist(), "logits": answer.tolist()}
        for image, answer in zip(pixels, answers, strict=True)
    ]


class _StepText:
    # A step, with the texts and numbers that the template needs.

    def __init__(self, network: IntegerNetwork, index: int, name: str) -> None:
        self.network = network
        self.step: IntegerStep = network.plan.steps[index]
        self.values: StepNumbers = network.numbers[index]
        self.index = index
        self.name = name

    @property
    def source(self) -> IntegerMap:
        return self.network.plan.maps[self.step.source]

    @property
    def target(self) -> IntegerMap | None:
        return None if self.step.target is None else self.network.plan.maps[self.step.target]

    @property
    def poses(self) -> int:
        return self.step.op.poses if isinstance(self.step.op, Kernel | PoseLinear) else 1

    @property
    def text(self) -> str:
        ops = (self.step.op, self.step.norm, self.step.rectifier, self.step.pool)
        words = " ".join(str(op) for op in ops if op is not None)
        return words or ("sum" if self.step.skip is not None else "input")

    @property
    def arrays(self) -> list[dict[str, Any]]:
        numbers = {"multipliers": self.values.multipliers, "biases": self.values.biases}
        return [
            {"name": f"{name}_{self.index}", "numbers": array.tolist()} for name, array in numbers.items() if len(array)
        ]

    @property
    def call(self) -> str:
        function = _FUNCTIONS[self.step.kind]
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
        _, kernel_rows, kernel_columns, _ = self._kernel_shape()
        pool_rows, pool_columns, _ = self._pooling()
        return (kernel_rows, kernel_columns, *self._stride_and_paddings(), self.poses, pool_rows, pool_columns)

    @property
    def counts(self) -> tuple[int, ...]:
        """Rows, columns and channels of input and output, inner columns, filters, group channels, window size."""
        channels, rows, columns = self._input_shape()
        output_channels, output_rows, output_columns = self.target.shape if self.target is not None else (1, 1, 1)
        filters, kernel_rows, kernel_columns, group_channels = self._kernel_shape()
        # The window size is not a member of the C structure, but a loop counter must hold the number.
        window = kernel_rows * kernel_columns * group_channels
        shapes = (rows, columns, channels, output_rows, output_columns, output_channels)
        return (*shapes, self._inner_columns(columns), filters, group_channels, window)

    @property
    def numbers(self) -> list[str | int]:
        """Members of the C structure ``step``, in order."""
        values = self.values
        *extents, pool_rows, pool_columns = self.extents
        *counts, _ = self.counts
        output_channels = counts[5]
        _, _, role = self._pooling()
        is_signed = self.target is None or self.target.signed
        low, high = (-127, 127) if is_signed else (0, 255)
        return [
            *self._array_names(),
            *extents,
            *(pool_rows, pool_columns, int(role is Role.MEAN_POOLING)),
            *self._byte_codes(),
            _bits_to_lose(output_channels, len(values.multipliers)),
            _bits_to_lose(output_channels, len(values.biases)),
            *(values.sum_bits, values.bias_bits, values.output_bits),
            *counts,
            *(values.skip_multiplier, values.slope, low, high),
        ]

    def _array_names(self) -> tuple[str, str, str]:
        """Return the names of the arrays of kernel, multipliers and biases; ``0`` if an array is missing."""
        return (
            "0" if self.step.kernel is None else f"kernel_{self.step.kernel}",
            f"multipliers_{self.index}" if len(self.values.multipliers) else "0",
            f"biases_{self.index}" if len(self.values.biases) else "0",
        )

    def _input_shape(self) -> tuple[int, int, int]:
        if self.step.kind is StepKind.LOGITS and not self.step.is_global:
            # A linear layer of a whole map treats each number as a channel.
            return self.source.size, 1, 1
        channels, rows, columns = self.source.shape
        return channels, rows, columns

    def _kernel_shape(self) -> tuple[int, int, int, int]:
        if self.step.kernel is None:
            return 1, 1, 1, 1
        filters, rows, columns, channels = self.network.kernels[self.step.kernel].shape
        return filters, rows, columns, channels

    def _stride_and_paddings(self) -> tuple[int, int, int]:
        op = self.step.op
        return (op.stride, *op.paddings) if isinstance(op, Kernel) else (1, 0, 0)

    def _byte_codes(self) -> tuple[int, int, int]:
        """Return flip and base of the source, and flip of the skip map: number = (byte ^ flip) - base."""
        is_learned_of_image = self.step.source == 0 and self.step.kernel is not None
        base = self.network.offset if is_learned_of_image else 0
        flip = 0
        if self.source.signed:
            flip = base = 128
        skip = None if self.step.skip is None else self.network.plan.maps[self.step.skip]
        return flip, base, 128 if skip is not None and skip.signed else 0

    def _pooling(self) -> tuple[int, int, Role | None]:
        """Return rows and columns of the window of a pooling or an unshuffle, and the role of the op."""
        op = self.step.pool
        if self.step.kind in (StepKind.POOLING, StepKind.UNSHUFFLE):
            op = self.step.op
        if op is None:
            return 1, 1, None
        window = op.window()
        _, rows, columns = self.source.shape
        return (window[0], window[1], op.role) if window is not None else (rows, columns, op.role)

    def _inner_columns(self, columns: int) -> int:
        """Return the columns of the output map before pooling."""
        op = self.step.op
        if not isinstance(op, Kernel):
            return columns
        return (columns + 2 * op.paddings[1] - op.edges[1]) // op.stride + 1


def _bits_to_lose(channels: int, count: int) -> int:
    """Return the right shift from a channel index to the index of a number, if ``channels`` share ``count`` numbers."""
    if count <= 1:
        return _ALL_BITS
    return max(0, (channels // count).bit_length() - 1)
