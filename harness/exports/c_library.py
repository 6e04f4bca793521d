"""Write an integer network as a folder of C: a library for Arduino and PlatformIO, and a Zephyr module, with a test.

The layout follows emlearn (https://emlearn.org); ``make test`` compares the logits of ten images.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import re
from collections import namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import jinja2
import numpy as np
import numpy.typing as npt

from harness.data.datasets import Dataset
from harness.exports.chip_families import CHIP_FAMILIES, OTHER_SPEED_FLAG, PASSES, SIZE_FLAG
from harness.spaces import fast_kernels
from harness.spaces.fast_kernels import Optimisation, block_sizes
from harness.spaces.integer_plan import WIDE_BITS, IntegerMap, IntegerPlan, IntegerStep, StepKind
from harness.spaces.ops.integer_form import Reduction
from harness.spaces.streaming import is_series, streamed
from harness.system.errors import DISTRIBUTION
from harness.system.terminal import printable
from harness.training.integer import IntegerNetwork, Integers, StepNumbers, integer_logits, pose_orders
from harness.training.pixels import takes_bytes

EXAMPLES = 10  # images for the test in the folder
_NUMBERS_A_LINE = 20
# Without ``.h``: C (ISO/IEC 9899:2018), POSIX (IEEE 1003.1-2017), glibc, newlib, avr-libc, Arduino and this library.
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
_FILES = (
    "Makefile", "README.md", "library.properties", "library.json", "CMakeLists.txt", "zephyr/module.yml",
    "zephyr/Kconfig", "LICENSE", "examples/Classify/Classify.ino", "test/examples.h", "test/test.c",
    "test/profile.sh",
)  # fmt: skip
_PLATFORMIO_FLAGS = "platformio_flags.py"
_LARGEST_BYTE = 255  # largest number of an input, as a byte
_ALL_BITS = 15  # right shift that maps every channel index to 0
# Function in C by kind of step.
_FUNCTIONS = {
    StepKind.CONVOLUTION: "convolve",
    StepKind.SCALING: "scale",
    StepKind.POOLING: "pool",
    StepKind.UNSHUFFLE: "unshuffle",
    StepKind.LOGITS: "sum_up",
}
# Members of the C structure ``step`` of the type ``types.extent``, in order, without ``takes_mean``.
_Extents = namedtuple(
    "_Extents", "kernel_rows kernel_columns stride row_padding column_padding poses pool_rows pool_columns"
)
# Members of the type ``types.count``, in order, and the number of weights of a filter.
_Counts = namedtuple(
    "_Counts",
    "rows columns channels output_rows output_columns output_channels inner_columns filters group_channels weights",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """Content of a folder of C.

    Attributes:
        network: Integer network.
        examples: Images of the test, uint8 (n, channels, rows, columns).
        name: Name of the network in C: a letter, followed by letters, digits and underscores.
        about: Hash, recipe and seed, a single line of text.
        facts: Entries of ``manifest.json`` in addition to the sizes.
        chips: See ``chip_costs``.
        stream: Whether the network takes images row by row.
        plan: Plan of the C; for ``stream``, that of ``streamed``.
    """

    network: IntegerNetwork
    dataset: Dataset
    examples: npt.NDArray[np.uint8]
    name: str = "network"
    title: str = "A network"
    about: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    chips: Mapping[str, Mapping[str, str | int]] = field(default_factory=dict)
    optimise: Optimisation = Optimisation.SIZE
    stream: bool = False
    plan: IntegerPlan = field(init=False)

    def __post_init__(self) -> None:
        plan = self.network.plan
        object.__setattr__(self, "plan", streamed(plan) if self.stream else plan)

    @property
    def is_turned(self) -> bool:
        """Whether rows and columns of ``plan`` are exchanged."""
        return _is_turned(self.network, self.plan)

    @property
    def compiler_flag(self) -> str:
        """Optimisation flag for processors of no family."""
        return OTHER_SPEED_FLAG if self.optimise is Optimisation.SPEED else SIZE_FLAG


def _is_turned(network: IntegerNetwork, plan: IntegerPlan) -> bool:
    """Return whether ``plan`` is the plan of a stream with rows and columns of a series exchanged."""
    return plan is not network.plan and is_series(network.plan)


def c_name(text: str) -> str:
    """Return ``text`` as a name in C and of a header, with underscores in place of invalid characters.

    A name that does not start with a letter gets the prefix ``net_``, as does the name of a system header, in place of
    which this header would be included.
    """
    name = re.sub(r"\W", "_", text, flags=re.ASCII).lower()
    return name if name[:1].isalpha() and name not in _HEADERS else f"net_{name}"


def files_of(library: Library) -> dict[str, str]:
    """Return the text of each file, by path relative to the folder."""
    context = context_of(library)
    paths = {f"src/{library.name}.c": "network.c", f"src/{library.name}.h": "network.h"}
    paths |= {path: path.rpartition("/")[2] for path in _FILES}
    if library.optimise is Optimisation.SPEED:
        paths[_PLATFORMIO_FLAGS] = _PLATFORMIO_FLAGS
    texts = {path: rendered(template, context) for path, template in paths.items()}
    texts["test/profile.c"] = emulated_program(library, library.examples[:1])
    flags = {name: family.compiler_flag(library.optimise) for name, family in CHIP_FAMILIES.items()}
    manifest = {
        "program": context["program"],
        **library.facts,
        **library.plan.sizes,
        "optimise": library.optimise,
        "compiler_flags": {**flags, "other processors": library.compiler_flag},
        **({"stream": True} if library.stream else {}),
        "largest_value": max(numbers.largest for numbers in library.network.numbers),
        "chips": library.chips,
        "schema_version": 1,
    }
    texts["manifest.json"] = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    return texts


def layers_of(library: Library) -> list[dict[str, Any]]:
    """Return multiply-adds, bytes of constants and of the output map, and text of each step, with names."""
    return [
        {
            "multiply_adds": step.macs,
            "constant_bytes": step.constant_bytes,
            "map_bytes": step.map_bytes,
            "ops": step.text,
        }
        for step in context_of(library)["steps"]
    ]


def emulated_program(library: Library, pixels: npt.NDArray[np.uint8], passes: int = PASSES) -> str:
    """Return a C program for an emulated chip that times a loop of ``passes`` passes and runs the images."""
    images = [image.ravel().tolist() for image in pixels.transpose(0, 2, 3, 1)]
    return rendered("emulated.c", context_of(library) | {"images": images, "passes": passes})


def rendered(name: str, context: Mapping[str, Any]) -> str:
    """Return the text of a template in ``harness/exports/templates``."""
    return _environment().get_template(f"{name}.jinja").render(context)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.exports"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the output is C, Python and Markdown, not HTML
    )
    environment.filters["lines"] = _lines
    return environment


def _lines(numbers: Sequence[Any], indent: int = 4, count: int = _NUMBERS_A_LINE) -> str:
    parts = [numbers[first : first + count] for first in range(0, len(numbers), count)]
    return ",\n".join(" " * indent + ", ".join(map(str, part)) for part in parts)


def c_text(text: str) -> str:
    """Return ``text`` as a string literal in C; bytes other than printable ASCII become octal escapes."""
    escapes = {ord('"'): '\\"', ord("\\"): "\\\\", ord("?"): "\\?"}  # ``??`` begins a trigraph
    literals = {byte: chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}" for byte in range(256)} | escapes
    return f'"{"".join(literals[byte] for byte in text.encode("utf-8"))}"'


def context_of(library: Library) -> dict[str, Any]:
    """Return the variables of the templates."""
    network = library.network
    plan = library.plan
    is_fast = library.optimise is Optimisation.SPEED
    step_class = _FastStep if is_fast else _CStep
    steps = [step_class(network, plan, index) for index in range(len(plan.steps))]
    logits = integer_logits(network, library.examples).tolist()
    # Channels are innermost.
    pixels = library.examples.transpose(0, 2, 3, 1).reshape(len(library.examples), -1).tolist()
    context = {
        "name": library.name,
        "macro": library.name.upper(),
        "program": f"{DISTRIBUTION} {importlib.metadata.version(DISTRIBUTION)}",
        "license": importlib.metadata.metadata(DISTRIBUTION)["License-Expression"],
        "title": c_comment(library.title),
        "about": c_comment(library.about),
        **_data_context(library),
        **plan.sizes,
        "kernels": [_kernel_text(library, index) for index in range(len(network.kernels))],
        "arrays": [array for step in steps for array in step.arrays],
        "steps": steps,
        "types": _types(steps),
        "used": _used_functions(steps),
        "buffers": plan.buffers,
        "optimise": library.optimise,
        "stream": library.stream,
        "turned": library.is_turned,
        "image": plan.maps[0],
        "weight_bits": plan.weight_bits,
        # Packed weights are bytes without a sign.
        "weight_type": "int8_t" if plan.weight_bits == WIDE_BITS else "uint8_t",
        "compiler_flag": library.compiler_flag,
        "passes": PASSES,
        "families": CHIP_FAMILIES,
        "orders": [],
        "pairs": False,
        "examples": [{"pixels": image, "logits": outputs} for image, outputs in zip(pixels, logits, strict=True)],
        "chips": library.chips,
        # Families of chips with a measured stack: name, macro and costs.
        "stacks": [
            (chip, CHIP_FAMILIES[chip].macro, cost) for chip, cost in library.chips.items() if "stack_bytes" in cost
        ],
    }
    if is_fast:
        context |= _fast_context(steps)  # replaces ``used``, ``buffers``, ``orders`` and ``pairs``
    return context


def _data_context(library: Library) -> dict[str, Any]:
    channels, rows, columns = library.network.plan.maps[0].shape
    dataset = library.dataset
    low, high = dataset.number_range
    return {
        "rows": rows,
        "columns": columns,
        "channels": channels,
        "classes": dataset.classes,
        "class_names": list(map(c_text, dataset.class_labels)),
        # Bytes of the longest name with the terminating zero.
        "name_bytes": 1 + max(len(name.encode("utf-8")) for name in dataset.class_labels),
        "low": [f"{value:.9g}" for value in low],
        "scale": [f"{255 / (most - least):.9g}" for least, most in zip(low, high, strict=True)],
        "is_scaled": not takes_bytes(dataset),
    }


def _types(steps: Sequence[_CStep]) -> dict[str, str]:
    extent = max(number for step in steps for number in step.extents)
    count = max(number for step in steps for number in step.counts)
    # Padding and the kernel reach beyond the map.
    position = max(max(step.counts.rows, step.counts.columns) + 2 * max(step.extents) for step in steps)
    return {
        "extent": next(f"uint{bits}_t" for bits in (8, 16, 32) if extent < 2**bits),
        "count": next(f"uint{bits}_t" for bits in (16, 32) if count < 2**bits),
        "position": "int16_t" if position < 2**15 else "int32_t",
        # Sums of code for speed. A product of two bytes needs 16 bits, the base of the input a further bit, so fewer
        # than 2^14 products fit into 31 bits. Unsigned sums may wrap around, but GCC reorders them, which needs more
        # registers.
        "sum": "int32_t" if count < 2**14 else "uint32_t",
    }


def _used_functions(steps: Sequence[_CStep]) -> set[str]:
    names = {_FUNCTIONS[step.planned.kind] for step in steps}
    for step in steps:
        if step.planned.kind is not StepKind.CONVOLUTION:
            continue
        form = step.planned.form
        names.add("poses" if form.poses > 1 else "plain")
        filters, group_channels, _, _ = form.shape
        # In a depthwise convolution in poses, each pose of a filter reads a channel of its own.
        if form.poses > 1 and filters < step.source.shape[0] // group_channels:
            names.add("channel of each pose")
    head = steps[-1].planned
    if head.form.poses > 1:
        names.add("head by pose")
    elif head.kernel is not None and steps[-1].plan.weight_bits < WIDE_BITS:
        names.add("packed head")
    if any(step.skip is not None for step in steps):
        names.add("skip")
    return names


def c_comment(text: str) -> str:
    """Return ``text`` for a comment in C and a line of Markdown, without line ends and control characters.

    A file of weights may come from an untrusted source, with any text as the name of the recipe.
    """
    return printable(text).replace("*/", "* /")


def _kernel_text(library: Library, index: int) -> dict[str, Any]:
    kernel = library.network.kernels[index]
    plan = library.plan
    is_fast = library.optimise is Optimisation.SPEED
    if is_fast and library.is_turned:  # code for size turns the windows instead
        kernel = kernel.transpose(0, 2, 1, 3)
    text = {"name": f"kernel_{index}", "shape": kernel.shape, "layout": "", "numbers": kernel.ravel().tolist()}
    if plan.weight_bits < WIDE_BITS:
        bits = plan.kernel_bits[index]
        layout = f"; {bits} bits per weight, stored as weight + {2 ** (bits - 1)}, lowest bits first"
        return text | {"layout": layout if bits < WIDE_BITS else "", "numbers": _packed(kernel, bits)}
    step = next(step for step in plan.steps if step.kernel == index)
    period = fast_kernels.block_filters(plan, step) if is_fast else 0  # filters after which a new block must begin
    if not period or fast_kernels.is_expanded(plan):
        return text
    sizes = block_sizes(period, plan.weight_bits) * (len(kernel) // period)
    filters = kernel.swapaxes(1, 2).reshape(len(kernel), -1)  # columns are outermost, as in the lines
    numbers = [number for block in np.split(filters, np.cumsum(sizes)[:-1]) for number in _block(block)]
    return text | {"layout": "; four weights of each filter of a block in turn, as weight + 128", "numbers": numbers}


def _block(filters: Integers) -> list[int]:
    """Return the numbers of a block of filters, (filters, weights), in the order of ``dot`` in C.

    The first weights % 4 weights of all filters come first, then four weights of each filter in turn. A number is the
    byte of weight + 128, which C reads without a sign.
    """
    rest = filters.shape[1] % 4
    fours = filters[:, rest:].reshape(len(filters), -1, 4).swapaxes(0, 1)
    numbers: list[int] = (np.concatenate([filters[:, :rest].T.ravel(), fours.ravel()]) ^ -128).tolist()
    return numbers


def _packed(kernel: Integers, bits: int) -> list[int]:
    """Return the bytes of weights, one directly after the other, the lowest bit of each first.

    A weight of fewer than 8 bits is stored as weight + 2^(bits - 1), a weight of 8 bits in two's complement.
    """
    if bits == WIDE_BITS:
        return [int(number) for number in kernel.ravel() & 255]
    codes = kernel.ravel() + 2 ** (bits - 1)
    flags = codes[:, None] >> np.arange(bits) & 1
    return np.packbits(flags.astype(np.uint8), bitorder="little").tolist()


def _fast_context(steps: Sequence[Any]) -> dict[str, Any]:
    convolutions = [step for step in steps if step.planned.kind is StepKind.CONVOLUTION]
    scalings = [step for step in steps if step.planned.kind is StepKind.SCALING]
    plan = steps[0].plan
    planes = [step for step in convolutions if step.reads_planes]
    blocks = [step for step in convolutions if not step.reads_planes]
    with_groups = [step for step in blocks if step.counts.channels > step.counts.group_channels]
    is_expanded = fast_kernels.is_expanded(plan)
    with_poses = [step for step in blocks if step.extents.poses > 1 and not is_expanded]
    quarter_turns = [step for step in with_poses if step.extents.poses > 2 and step.extents.kernel_rows > 1]
    users = {
        "blocks": blocks,
        "planes": planes,
        "pooled": [step for step in convolutions if step.planned.pool is not None],
        # In a pose that turns rows to columns, the columns of a window of several channels are apart.
        "parts": [step for step in quarter_turns if step.counts.group_channels > 1],
        "single": [step for step in quarter_turns if step.counts.group_channels == 1],
        "rest": [step for step in blocks if step.counts.weights % 4],
        "groups": with_groups,
        "slope": [step for step in steps if step.constants.slope is not None],
    }
    orders = {step.order: step.order_numbers for step in steps if step.order}
    return {
        "orders": [{"name": name, "numbers": numbers} for name, numbers in sorted(orders.items())],
        "buffers": fast_kernels.fast_buffers(plan),
        "block_sizes": sorted(
            {size for step in blocks for size in block_sizes(step.block_filters, plan.weight_bits)}, reverse=True
        ),
        "is_expanded": is_expanded,
        "few_positions": fast_kernels.FEW_POSITIONS,
        "pairs": plan.weight_bits <= fast_kernels.PAIR_BITS,
        # Numbers of poses for which lines are ordered again; 1 for a single channel.
        "block_poses": sorted({1 if step.counts.group_channels == 1 else step.extents.poses for step in with_poses}),
        "plane_sizes": sorted({step.extents.kernel_rows * step.extents.kernel_columns for step in planes}),
        # Pooling, or an empty text, and whether a residual sum adds a map, for each kind of convolution.
        "endings": sorted({(step.pooling, step.planned.skip is not None) for step in (*convolutions, *scalings)}),
        "used": _used_functions(steps) | {name for name, of_name in users.items() if of_name},
    }


class _CStep:
    """A step, with the texts and numbers that the templates need.

    Attributes:
        target: Output map; None for the logits.
        skip: Map that a residual sum adds; None without a sum.
    """

    pointers: ClassVar[tuple[str, ...]] = ("kernel", "multipliers", "biases")  # members of the C structure ``step``

    def __init__(self, network: IntegerNetwork, plan: IntegerPlan, index: int) -> None:
        def map_of(number: int | None) -> IntegerMap | None:
            return None if number is None else plan.maps[number]

        self.network = network
        self.plan = plan
        self.index = index
        self.planned: IntegerStep = plan.steps[index]
        self.constants: StepNumbers = network.numbers[index]
        self.source = plan.maps[self.planned.source]
        self.target = map_of(self.planned.target)
        self.skip = map_of(self.planned.skip)

    @property
    def text(self) -> str:
        step = self.planned
        ops = [of_step.op for of_step in (step.sums, step.norm, step.rectifier, step.pool) if of_step is not None]
        if ops:
            return " ".join(map(str, ops))
        return "input" if step.skip is None else "sum"

    @property
    def macs(self) -> int:
        """Multiply-adds per image."""
        filters, depth, rows, columns = self.planned.form.shape
        if self.planned.sums is None:
            return 0
        if self.target is None:
            inputs: int = self.counts.channels
            return filters * inputs
        return self.target.size * math.prod(self.planned.pool_window) * depth * rows * columns

    @property
    def constant_bytes(self) -> int:
        """Bytes of the constants, of which a shared kernel belongs to the first step that uses this kernel."""
        plan = self.network.plan
        kernel = self.planned.kernel
        is_shared = kernel in [step.kernel for step in plan.steps[: self.index]]
        weights = 0 if kernel is None or is_shared else plan.kernel_bytes[kernel]
        return weights + self.planned.constant_bytes

    @property
    def map_bytes(self) -> int:
        """Bytes of the output map; 0 for the logits."""
        return 0 if self.target is None else self.target.size

    @property
    def arrays(self) -> list[dict[str, Any]]:
        arrays = {"multipliers": self.constants.multipliers, "biases": self.constants.biases}
        return [
            {"name": f"{name}_{self.index}", "numbers": array.tolist()} for name, array in arrays.items() if len(array)
        ]

    @property
    def function(self) -> str:
        return _FUNCTIONS[self.planned.kind]

    @property
    def call(self) -> str:
        kind = self.planned.kind
        # These steps read the row that they write.
        read_place = _row_address if kind in (StepKind.SCALING, StepKind.LOGITS) else _place
        arguments = [f"STEP({self.index})", read_place(self.source)]
        arguments.append("logits" if self.target is None else _row_address(self.target))
        if kind in (StepKind.CONVOLUTION, StepKind.SCALING):
            arguments.append("0" if self.skip is None else read_place(self.skip))
        if self.source.held is not None and kind is not StepKind.SCALING:
            arguments.append("row")
        return f"{self.function}({', '.join(arguments)})"

    @property
    def extents(self) -> _Extents:
        form = self.planned.form
        _, _, kernel_rows, kernel_columns = form.shape
        if self.planned.kind is StepKind.LOGITS and self.source.held is not None:
            return _Extents(1, 1, 1, 0, 0, form.poses, 1, 1)
        return _Extents(kernel_rows, kernel_columns, form.stride, *form.paddings, form.poses, *self.planned.pool_window)

    @property
    def counts(self) -> _Counts:
        form = self.planned.form
        shape = self.source.shape
        output_shape = (1, 1, 1)
        if self.target is not None:
            output_shape = self.target.shape
        elif not self.planned.is_global:
            # A linear layer of a whole map treats each number as a channel.
            held_rows = 1 if self.source.held is None else shape[1]
            shape = (self.source.size // held_rows, held_rows, 1)
        if self.target is None and self.source.held is not None:
            output_shape = (self.source.shape[0] if self.planned.is_global else self.source.size, shape[1], 1)
        channels, rows, columns = shape
        output_channels, output_rows, output_columns = output_shape
        filters, group_channels, kernel_rows, kernel_columns = form.shape
        inner_columns = columns  # of the map before pooling
        if not form.is_global:
            inner_columns = (columns + 2 * form.paddings[1] - kernel_columns) // form.stride + 1
        return _Counts(
            rows, columns, channels, output_rows, output_columns, output_channels, inner_columns, filters,
            # Not a member of the C structure, but a loop counter must hold the number.
            group_channels, weights=kernel_rows * kernel_columns * group_channels,
        )  # fmt: skip

    @property
    def members(self) -> list[str | int]:
        constants = self.constants
        *counts, _ = self.counts
        outputs = self.counts.output_channels
        takes_mean = self.planned.pool is not None and self.planned.pool.form.reduction is Reduction.MEAN
        low, high = -127, 127
        if self.target is not None and not self.target.is_signed:
            low, high = 0, 255
        # 0 means no slope in C; a slope rounded to 0 makes all negative numbers 0.
        if constants.slope == 0:
            low = 0
        places = self.places
        pointers = [f"IN_TABLE({places[member]})" if member in places else "0" for member in self.pointers]
        return [
            *pointers, *self.extents, int(takes_mean), *self._byte_codes(),
            _place_bits(outputs, len(constants.multipliers)), _place_bits(outputs, len(constants.biases)),
            constants.sum_bits, constants.bias_bits, constants.output_bits,
            *counts, *self.blocks, *self.held_rows,
            constants.skip_multiplier, constants.slope or 0, low, high,
        ]  # fmt: skip

    @property
    def places(self) -> dict[str, str]:
        places = {array["name"].partition("_")[0]: array["name"] for array in self.arrays}
        if self.planned.kernel is not None:
            places = {"kernel": f"kernel_{self.planned.kernel}"} | places
        return places

    @property
    def blocks(self) -> list[int]:
        return []

    @property
    def held_rows(self) -> list[int]:
        """Held rows of source and skip map; empty without a stream."""
        if self.source.held is None:
            return []
        return [self.source.held, 1 if self.skip is None else self.skip.held or 1]

    def _byte_codes(self) -> tuple[int, int, int]:
        """Return flip and base of the source, and flip of the skip map: number = (byte ^ flip) - base."""
        flip = base = skip_flip = 0
        if self.planned.source == 0 and self.planned.kernel is not None:
            base = self.network.offset
        if self.source.is_signed:
            flip = base = 128
        if self.skip is not None and self.skip.is_signed:
            skip_flip = 128
        return flip, base, skip_flip


class _FastStep(_CStep):
    pointers = (*_CStep.pointers, "order")

    @property
    def is_turned(self) -> bool:
        """Whether rows and columns of the plan are exchanged."""
        return _is_turned(self.network, self.plan)

    @property
    def pooling(self) -> str:
        pool = self.planned.pool
        return "" if pool is None or self.planned.pool_window == (1, 1) else pool.form.reduction.value

    @property
    def reads_planes(self) -> bool:
        return fast_kernels.reads_planes(self.plan, self.planned)

    @property
    def function(self) -> str:
        return "convolve_planes" if self.reads_planes else super().function

    @property
    def order(self) -> str:
        """Name of the table with the orders of the poses; empty without a table."""
        form = self.planned.form
        _, channels, rows, columns = form.shape
        if self.planned.kind is not StepKind.CONVOLUTION:
            return ""
        if self.reads_planes:
            return f"plane_{form.poses}_{rows}_{columns}"
        if fast_kernels.is_expanded(self.plan):
            return f"{'single' if channels == 1 else 'order'}_{form.poses}_{rows}_{columns}"
        return f"channels_{form.poses}" if form.poses > 1 and channels > 1 else ""

    @property
    def order_numbers(self) -> list[int]:
        """Places of planes, first channels of blocks, or both of expanded blocks, for each pose."""
        form = self.planned.form
        _, channels, rows, columns = form.shape
        places, first_channels = pose_orders((rows, columns, channels), form.poses)
        if self.is_turned and form.poses > 1:
            # The kernel is square. Both the window and the stored filter are turned.
            transposition = places.reshape(-1, rows, columns).transpose(0, 2, 1).reshape(places.shape)
            places = transposition % rows * rows + transposition // rows
        if self.reads_planes:
            return places.ravel().tolist()
        if not fast_kernels.is_expanded(self.plan):
            return first_channels.ravel().tolist()
        # C skips places + poses numbers per pose.
        padding = np.zeros((form.poses, form.poses - first_channels.shape[1]), np.int64)
        return np.hstack([places, first_channels, padding]).ravel().tolist()

    @property
    def places(self) -> dict[str, str]:
        order = {"order": self.order} if self.order else {}
        return super().places | order

    @property
    def block_filters(self) -> int:
        """Number of stored filters after which a new block of filters begins; 0 without blocks."""
        return fast_kernels.block_filters(self.plan, self.planned)

    @property
    def blocks(self) -> list[int]:
        plan = self.plan
        numbers = [self.block_filters, fast_kernels.tile_columns(plan, self.planned)]
        return [*numbers, self._chain] if plan.weight_bits <= fast_kernels.PAIR_BITS else numbers

    @property
    def _chain(self) -> int:
        """Number of products in a row whose sums fit into 16 bits, for every filter; 0 without blocks."""
        if self.planned.kernel is None or not self.block_filters:
            return 0
        _, channels, rows, columns = self.planned.form.shape
        kernel = self.network.kernels[self.planned.kernel]
        if not self.is_turned:
            kernel = kernel.swapaxes(1, 2)  # columns are outermost
        # ``dot`` takes a window or, in poses that turn rows to columns, a column.
        parts = {columns * rows * channels, rows * channels}
        for chain in range(4 * math.ceil(max(parts) / 4), 0, -4):
            sums = [
                np.add.reduceat(side.reshape(-1, part), range(0, part, chain), 1)
                for side in (kernel.clip(0), -kernel.clip(None, 0))
                for part in parts
            ]
            if fast_kernels.is_expanded(self.plan):
                # The order depends on the pose, so the largest weights may be neighbours.
                sides = np.stack([kernel.clip(0), -kernel.clip(None, 0)]).reshape(2 * len(kernel), -1)
                sums = [np.sort(sides, 1)[:, -chain:].sum(1)]
            if max(map(np.max, sums)) * _LARGEST_BYTE < 2**15:
                return chain
        raise AssertionError("four products fit into 16 bits")


def _place(of_map: IntegerMap) -> str:
    return "pixels" if of_map.offset is None else f"arena + {of_map.offset}"


def _row_address(of_map: IntegerMap) -> str:
    """Return the place of a row in a stream, else of the map."""
    start = _place(of_map)
    if of_map.held in (None, 1):
        return start
    return f"{start} + (uint32_t)(row % {of_map.held}) * {of_map.row_bytes}"


def _place_bits(channels: int, count: int) -> int:
    """Return the right shift from a channel index to the index of a number that several channels share.

    The number of these channels is a power of two: a number of poses, or all channels.
    """
    if count <= 1:
        return _ALL_BITS
    return max(0, (channels // count).bit_length() - 1)
