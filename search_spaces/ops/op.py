"""What an op is: a frozen dataclass that says what it takes, makes and costs, and builds its torch module.

Each file of this folder holds ops, and is found because it is here: nothing else has to know of an op. What an op
leaves out of the methods of ``Op`` is that of an activation.

Padded maps and windows follow ``floor((size + 2 * padding - kernel) / stride) + 1`` (Dumoulin and Visin, arXiv
1603.07285, relationship 6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from search_spaces.errors import ShapeError

if TYPE_CHECKING:
    from torch import nn

# Of a map (channels, height, width), of a vector (features,).
Shape = tuple[int, ...]
_Kind = TypeVar("_Kind", bound="type[Op]")


def shape_text(shape: Shape) -> str:
    """Return a shape as people write it: 16x12x12, or 10."""
    return "x".join(map(str, shape))


class Kind(StrEnum):
    """What an argument may be."""

    COUNT = "a whole number"
    RATE = "a number from 0 to below 1"
    SLOPE = "a number above 0 and below 1"
    FLAG = "a word that stands alone"
    TIE = "a name"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of an op.

    Attributes:
        field: the field of the op that it sets.
        label: its keyword, or what names it in a decision.
        meaning: what it says, for messages.
        among: all numbers that it may be; any from ``minimum`` on where there are none.
    """

    field: str
    label: str
    kind: Kind
    meaning: str
    minimum: int = 1
    among: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Signature:
    """What an op takes: at most one number without a keyword, and options by name, in the order of canonical text.

    Attributes:
        fixed: fields that the op's name sets.
        make: returns the op; set where the op is registered.
    """

    number: Parameter | None = None
    required: bool = False
    options: Mapping[str, Parameter] = field(default_factory=dict)
    fixed: Mapping[str, int] = field(default_factory=dict)
    make: Callable[..., Op] = lambda: Op()


class Role(StrEnum):
    """What an op is for."""

    CONVOLUTION = "convolution"
    LINEAR = "linear"
    NORMALISATION = "normalisation"
    ACTIVATION = "activation"
    MAX_POOLING = "max pooling"
    MEAN_POOLING = "mean pooling"
    REARRANGEMENT = "rearrangement"
    DROPOUT = "dropout"
    SUM = "sum"


# These roles multiply what they read by learned weights, which an integer deployment keeps as int8.
_WEIGHTED = (Role.CONVOLUTION, Role.LINEAR)


class Op:
    """An op; a subclass is a frozen dataclass that ``written`` registers."""

    __slots__ = ()
    role: ClassVar[Role] = Role.ACTIVATION
    # It takes in a whole map at once.
    is_global: ClassVar[bool] = False
    # Ops of one tie share what ``kernel`` has the shape of.
    tie: str | None = None
    # The class of ``torch.nn`` that is given the op's fields, where that is all there is to its module.
    layer: ClassVar[str] = ""

    def __str__(self) -> str:
        """Return the op in canonical notation, defaults left out."""
        return _text(self)

    def shape(self, before: Shape) -> Shape:
        """Return the shape after the op.

        Raises:
            ShapeError: the op cannot take the shape before it; ``path`` points below ``res`` where that is the cause.
        """
        return before

    def window(self) -> tuple[int, int, int] | None:
        """Return rows, columns and stride of what a position of the output reads; None for its own place only."""
        return None

    def kernel(self, before: Shape) -> Shape | None:
        """Return the shape of the numbers that a tie shares; None where there are none.

        Of a convolution it is its kernel, out x in x rows x columns.
        """
        return None

    def cost(self, before: Shape) -> tuple[int, int]:
        """Return parameters, and multiply-adds for one image."""
        return 0, 0

    def statistics(self, before: Shape) -> int:
        """Return how many numbers are stored that training keeps but does not learn."""
        return 0

    @property
    def has_weights(self) -> bool:
        """Whether it multiplies what it reads by learned weights."""
        return self.role in _WEIGHTED

    @property
    def works_in_place(self) -> bool:
        """Whether each value of the output may be written over the value of the input in its place."""
        return self.window() is None and not self.is_global

    @property
    def drop_rate(self) -> float:
        """The share of the values that it sets to zero in training."""
        return 0.0

    def constants(self, before: Shape) -> int:
        """Return the bytes of constants that stand for an op without an integer form: 32 bits a parameter."""
        return 4 * self.cost(before)[0]

    def module(self, before: Shape) -> nn.Module:
        """Return the op's torch module; torch is imported within this method only."""
        from torch import nn

        module: nn.Module = getattr(nn, self.layer)(*(getattr(self, each.name) for each in fields(cast(Any, self))))
        return module

    def map_of(self, before: Shape) -> tuple[int, int, int]:
        """Return channels, rows and columns; raise ShapeError where a vector comes."""
        if len(before) != 3:
            raise ShapeError(f"{self} needs a map (channels x height x width), but gets {before[0]} values")
        return before[0], before[1], before[2]

    def check_poses(self, channels: int, poses: int) -> None:
        """Raise ShapeError where channels are no multiple of the number of poses."""
        if channels % poses:
            raise ShapeError(f"{self} needs a multiple of {poses} channels, but gets {channels}")

    def windows(self, before: Shape, padding: tuple[int, int] = (0, 0)) -> tuple[int, int]:
        """Return rows and columns of a map of which ``window`` has been taken; raise ShapeError where none is left."""
        _, *size = self.map_of(before)
        *window, stride = self.window() or (1, 1, 1)
        height, width = ((size[axis] + 2 * padding[axis] - window[axis]) // stride + 1 for axis in (0, 1))
        if height < 1 or width < 1:
            raise ShapeError(f"{self} leaves nothing of a map of {shape_text(tuple(size))}")
        return height, width


SIGNATURES: dict[str, Signature] = {}
_NAMES: dict[type[Op], list[str]] = {}


def written(**signatures: Signature) -> Callable[[_Kind], _Kind]:
    """Register an op under its names in the notation, with what it takes under each."""

    def register(op: _Kind) -> _Kind:
        _NAMES[op] = list(signatures)
        for name, signature in signatures.items():
            SIGNATURES[name] = replace(signature, make=partial(op, **signature.fixed))
        return op

    return register


def op_names() -> tuple[str, ...]:
    """Return all names of ops in the notation."""
    return (*SIGNATURES, "res")


@dataclass(frozen=True, slots=True)
class Residual(Op):
    """Adds its input to the output of its ops; ``bars`` are for the eye only, as in ``Architecture``."""

    role: ClassVar[Role] = Role.SUM
    ops: tuple[Op, ...]
    bars: tuple[int, ...] = field(default=(), compare=False)

    @property
    def works_in_place(self) -> bool:
        return False

    def __str__(self) -> str:
        return f"res({ops_text(self.ops, self.bars)})"

    def shape(self, before: Shape) -> Shape:
        """Return the shape before, which all its ops together must leave as it is."""
        if not self.ops:
            raise ShapeError("res() is empty: it needs at least one op to add its input to")
        after = before
        for index, op in enumerate(self.ops):
            try:
                after = op.shape(after)
            except ShapeError as error:
                raise ShapeError(error.message, path=(index, *error.path)) from None
        if after != before:
            raise ShapeError(
                f"res(...) turns {shape_text(before)} into {shape_text(after)}; "
                "it can add its input only to an output of equal shape"
            )
        return before


def flat(ops: Iterable[Op]) -> Iterator[Op]:
    """Yield all ops in order of execution, those within residual sums too and the sums behind theirs."""
    for op in ops:
        if isinstance(op, Residual):
            yield from flat(op.ops)
        yield op


@lru_cache(maxsize=10_000)
def _text(op: Op) -> str:
    def is_name(name: str) -> bool:
        return all(getattr(op, field) == value for field, value in SIGNATURES[name].fixed.items())

    name = next(filter(is_name, _NAMES[type(op)]))
    signature = SIGNATURES[name]
    number = signature.number
    default = signature.make(**({number.field: 1} if number and signature.required else {}))
    arguments = []
    if number is not None and (signature.required or getattr(op, number.field) != getattr(default, number.field)):
        arguments.append(plain(getattr(op, number.field)))
    for keyword, option in signature.options.items():
        value: Any = getattr(op, option.field)
        if value != getattr(default, option.field):
            arguments.append(keyword if option.kind is Kind.FLAG else f"{keyword}={value}")
    return f"{name}({', '.join(arguments)})" if arguments else name


def ops_text(ops: Iterable[Op], bars: tuple[int, ...] | None = None) -> str:
    """Return ops in canonical notation, with a ``|`` before those whose indices ``bars`` holds; None shows none."""
    words = []
    for index, op in enumerate(ops):
        if bars is not None and index in bars:
            words.append("|")
        words.append(f"res({ops_text(op.ops)})" if bars is None and isinstance(op, Residual) else str(op))
    return " ".join(words)


def plain(number: float) -> str:
    """Return the shortest plain decimal that reads back as ``number``: 0.00001, never 1e-05."""
    if isinstance(number, int):
        return str(number)
    text = format(Decimal(repr(float(number))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
