"""Base class of ops and their registry: an op is a frozen dataclass with shape, costs, torch module and integer form.

The methods of ``Op`` have defaults that suit an activation function. Sizes of padded maps and windows follow
``floor((size + 2 * padding - kernel) / stride) + 1`` (Dumoulin and Visin, arXiv 1603.07285, relationship 6).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar, cast

from harness.spaces.ops.integer_form import IntegerForm
from harness.spaces.space_errors import SearchSpaceError, ShapeError

if TYPE_CHECKING:
    from torch import nn

Shape = tuple[int, ...]  # (channels, height, width) of a map, (features,) of a vector
_OpType = TypeVar("_OpType", bound="type[Op]")


def shape_text(shape: Shape) -> str:
    """Return a shape as text, such as ``16x12x12`` or ``10``."""
    return "x".join(map(str, shape))


class ArgumentKind(StrEnum):
    """Kind of an argument; the values are texts for messages."""

    COUNT = "a whole number"  # among ``Parameter.among``, or at most ``notation._MAX_NUMBER``
    RATE = "a number from 0 to below 1"
    SLOPE = "a number above 0 and below 1"
    FLAG = "a keyword without a value"
    TIE = "a name"
    TEXT = "a text in quotes"
    TOTAL = "a whole number of any size"  # at most ``notation._MAX_BOUND``; never a choice of values


@dataclass(frozen=True, slots=True)
class Parameter:
    """Declaration of an argument of an op.

    Attributes:
        label: Name of the argument in the decisions of a search space; for an option, its keyword.
        minimum: Least allowed count, if ``among`` is empty.
    """

    field: str
    label: str
    kind: ArgumentKind
    meaning: str
    minimum: int = 1
    among: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Signature:
    """Arguments that may follow a name of an op, and the op that both describe.

    A class may have several names: ``conv3x3`` and ``conv5x5`` are a ``Conv`` with different ``fixed`` fields.

    Attributes:
        number: The number without a keyword; None if the op takes none.
        options: Options by keyword, in the order of canonical text.
        fixed: Fields that the name of the op determines.
        variants: Class in place of ``op_type``, by the keyword of an option.
    """

    number: Parameter | None = None
    required: bool = False
    options: Mapping[str, Parameter] = field(default_factory=dict)
    fixed: Mapping[str, int] = field(default_factory=dict)
    variants: Mapping[str, type[Op]] = field(default_factory=dict)
    op_type: Callable[..., Op] | None = None

    def make(self, **values: Any) -> Op:
        """Return the op with these fields, and defaults for all others."""
        assert self.op_type is not None, "only registered signatures make ops"
        return self.op_type(**self.fixed, **values)

    def with_flags(self, keywords: Iterable[str]) -> Signature:
        """Return this signature for the variant that one of the keywords selects, if any.

        Raises:
            ValueError: Two keywords select variants.
        """
        selectors = [keyword for keyword in keywords if keyword in self.variants]
        if len({self.variants[keyword] for keyword in selectors}) > 1:
            raise ValueError(f"{' and '.join(selectors)} exclude each other")
        return replace(self, op_type=self.variants[selectors[0]]) if selectors else self

    def make_default(self) -> Op:
        """Return the op with defaults for all fields; a required number, which has no default, is 1."""
        if self.number is not None and self.required:
            return self.make(**{self.number.field: 1})
        return self.make()


class Role(StrEnum):
    """Function of an op in a network."""

    CONVOLUTION = "convolution"
    LINEAR = "linear"
    NORMALISATION = "normalisation"
    ACTIVATION = "activation"
    MAX_POOLING = "max pooling"
    MEAN_POOLING = "mean pooling"
    REARRANGEMENT = "rearrangement"
    DROPOUT = "dropout"
    SUM = "sum"
    MODULE = "module"


class LayerCall(NamedTuple):
    """Call that creates a layer of torch: name as in exported code, arguments, and options by name."""

    name: str
    arguments: tuple[Any, ...]
    options: Mapping[str, Any] = {}


class Op:
    """Base class of ops; a subclass is a frozen dataclass with the decorator ``register``.

    Attributes:
        is_global: Whether the op reads all positions of a map at once.
        tie: Name of the tie; ops with the same tie share the weights of shape ``tied_shape``.
        ops: Inner ops of a residual sum; ``bars`` are indices of ``ops`` with a preceding ``|``.
        layer: ``torch.nn`` class that ``layer_call`` constructs from the fields.
        is_joint: Whether a tie is a single layer, which also shares running statistics.
    """

    __slots__ = ()
    role: ClassVar[Role] = Role.ACTIVATION
    is_global: ClassVar[bool] = False
    tie: str | None = None
    ops: tuple[Op, ...] = ()
    bars: tuple[int, ...] = ()
    layer: ClassVar[str] = ""
    is_joint: ClassVar[bool] = False

    def __str__(self) -> str:
        return _text(self)

    @property
    def title(self) -> str:
        """Short text for messages; differs from the notation for ``module(...)`` only."""
        return str(self)

    @property
    def identity(self) -> str:
        """Canonical notation without bars; the hash of a network covers the ``identity`` of each op."""
        return str(self)

    def shape(self, before: Shape) -> Shape:
        """Return the output shape for the input shape ``before``.

        Raises:
            ShapeError: The op cannot take this input shape. ``path`` locates the cause inside ``res(...)``.
        """
        return before

    def window(self, before: Shape = ()) -> tuple[int, int, int] | None:
        """Return rows, columns and stride of the input window; None for elementwise and global ops.

        Whether an op has a window does not depend on the shape ``before``.
        """
        return None

    def tied_shape(self, before: Shape) -> Shape | None:
        """Return the shape of the weights that a tie shares, or None if the op has no such weights.

        For a convolution: (out, in, rows, columns).
        """
        return None

    def cost(self, before: Shape) -> tuple[int, int]:
        """Return the parameters, as if the op shared no weights, and the multiply-adds per image."""
        return 0, 0

    def statistics(self, before: Shape) -> int:
        """Return the number of stored values that are not learned (running statistics)."""
        return 0

    @property
    def is_grouped(self) -> bool:
        return False

    def with_tie(self, tie: str | None) -> Op:
        """Return the op with another tie, or without."""
        return replace(cast(Any, self), tie=tie)  # type: ignore[no-any-return]

    @property
    def works_in_place(self) -> bool:
        """Whether each output value may overwrite the input value at the same position."""
        return self.window() is None and not self.is_global and not self.ops

    @property
    def drop_rate(self) -> float:
        """Fraction of the values that the op sets to zero in training."""
        return 0.0

    def layer_call(self, before: Shape) -> LayerCall | None:
        """Return the call that creates the layer of torch, the default for ``module`` and ``source``, if known.

        The name is ``nn.`` and a class of torch, or a name in ``harness/spaces/posed.py``.
        """
        # Every subclass is a dataclass.
        return LayerCall(f"nn.{self.layer}", astuple(cast(Any, self))) if self.layer else None

    def module(self, before: Shape) -> nn.Module:
        """Return the torch module of the op; torch must be imported inside this method only.

        Raises:
            SearchSpaceError: The class has none of ``layer``, ``layer_call`` and a method ``module``.
        """
        from harness.spaces.modules import layer_class

        call = self.layer_call(before)
        if call is None:
            raise SearchSpaceError(f"{self.title} cannot be trained: its class lacks the method module")
        return layer_class(call.name)(*call.arguments, **call.options)

    def source(self, before: Shape) -> str:
        """Return the expression that creates the layer in the files of ``harness export --pytorch``.

        The expression may use ``torch``, ``nn`` and the names of ``harness/spaces/posed.py``. The layer has the same
        tensors as ``module``. The input of a linear layer is flattened before.

        Raises:
            SearchSpaceError: The op has no expression.
        """
        call = self.layer_call(before)
        if call is None:
            raise SearchSpaceError(f"{self.title} cannot be written as PyTorch: its class lacks the method source")
        return call_text(call.name, *call.arguments, **call.options)

    def integer(self, before: Shape) -> IntegerForm | None:
        """Return the integer form of the op; None if the op cannot be exported as C, or is a dropout or residual sum.

        ``before`` is (channels, rows, columns); here a vector is (features, 1, 1), in contrast to the other methods.
        """
        return None

    def map_of(self, before: Shape) -> tuple[int, int, int]:
        """Return channels, rows and columns of a map; raise ShapeError for a vector."""
        if len(before) != 3:
            raise ShapeError(f"{self.title} needs a map (channels x height x width), but gets {before[0]} values")
        return before[0], before[1], before[2]

    def check_poses(self, channels: int, poses: int) -> None:
        """Raise ShapeError if ``channels`` is not a multiple of ``poses``."""
        if channels % poses:
            raise ShapeError(f"{self.title} needs a multiple of {poses} channels, but gets {channels}")

    def output_size(self, before: Shape, paddings: tuple[int, int] = (0, 0)) -> tuple[int, int]:
        """Return rows and columns of the output map of an op with a window.

        ``paddings`` are zeros on each side, (above and below, left and right): (1, 2) adds two rows and four columns.

        Raises:
            ShapeError: The input is a vector, or the window is larger than the padded map.
        """
        _, rows, columns = self.map_of(before)
        window = self.window(before)
        assert window is not None, "an op with an output size has a window"
        window_rows, window_columns, stride = window
        output_rows = (rows + 2 * paddings[0] - window_rows) // stride + 1
        output_columns = (columns + 2 * paddings[1] - window_columns) // stride + 1
        if output_rows < 1 or output_columns < 1:
            raise ShapeError(f"{self.title} is larger than the map of {shape_text((rows, columns))}")
        return output_rows, output_columns


SIGNATURES: dict[str, Signature] = {}  # by name in the notation
_NAMES: dict[type[Op], list[str]] = {}  # in the notation, by class


def register(**signatures: Signature) -> Callable[[_OpType], _OpType]:
    """Return a class decorator that adds an op to the notation; each keyword is a name of the op."""

    def add(op_type: _OpType) -> _OpType:
        taken_names = signatures.keys() & SIGNATURES.keys()
        assert not taken_names, f"two ops have the name {min(taken_names)}"
        _NAMES[op_type] = list(signatures)
        for name, signature in signatures.items():
            SIGNATURES[name] = replace(signature, op_type=op_type)
        return op_type

    return add


def register_variant(
    name: str, keyword: str, meaning: str, kind: ArgumentKind = ArgumentKind.FLAG, minimum: int = 1
) -> Callable[[_OpType], _OpType]:
    """Return a class decorator: an option of the op ``name`` makes ops of this class.

    Engines and integer forms support classes of ops, so an option that only torch supports is a class. Unless a flag,
    the keyword is also the name of the field.
    """

    def add(op_type: _OpType) -> _OpType:
        base = SIGNATURES[name]
        options = {**base.options, keyword: Parameter(keyword, keyword, kind, meaning, minimum)}
        SIGNATURES[name] = replace(base, options=options, variants={**base.variants, keyword: op_type})
        _NAMES[op_type] = [name]
        return op_type

    return add


def op_names() -> tuple[str, ...]:
    """Return the names of all ops in the notation."""
    return (*SIGNATURES, "res")


def name_of_type(op_type: type[Op]) -> str:
    """Return the names of a class of ops in messages, such as ``bn(bare)``."""
    names = _NAMES.get(op_type, [op_type.__name__])
    variants = SIGNATURES[names[0]].variants if op_type in _NAMES else {}
    keywords = [keyword for keyword, variant in variants.items() if variant is op_type]
    return f"{names[0]}({', '.join(keywords)})" if keywords else "/".join(names)


@dataclass(frozen=True, slots=True)
class Residual(Op):
    """Sum of the input and of the output of ``ops``; bars only affect the text."""

    role: ClassVar[Role] = Role.SUM
    ops: tuple[Op, ...] = ()
    bars: tuple[int, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"res({ops_text(self.ops, self.bars)})"

    @property
    def identity(self) -> str:
        return f"res({' '.join(op.identity for op in self.ops)})"

    def shape(self, before: Shape) -> Shape:
        """Return the input shape, which must equal the output shape of ``ops``."""
        if not self.ops:
            raise ShapeError("res() is empty; expected at least one op")
        after = before
        for index, op in enumerate(self.ops):
            try:
                after = op.shape(after)
            except ShapeError as error:
                raise ShapeError(error.message, path=(index, *error.path)) from None
        if after != before:
            raise ShapeError(
                f"res(...) has the input shape {shape_text(before)} and the output shape {shape_text(after)}; "
                "the shapes must be equal"
            )
        return before


def flat(ops: Iterable[Op]) -> Iterator[Op]:
    """Yield all ops in order of execution, inner ops before their residual sum."""
    for op in ops:
        if op.ops:
            yield from flat(op.ops)
        yield op


@lru_cache(maxsize=10_000)
def _text(op: Op) -> str:
    def has_fixed_values_of(name: str) -> bool:
        return all(getattr(op, field_name) == value for field_name, value in SIGNATURES[name].fixed.items())

    # ``conv3x3`` and ``conv5x5`` are names of the same class.
    name = next(filter(has_fixed_values_of, _NAMES[type(op)]))
    signature = SIGNATURES[name]
    # Variants have further fields with defaults.
    variant_options = [keyword for keyword, variant in signature.variants.items() if type(op) is variant]
    default = signature.with_flags(variant_options).make_default()

    def differs(parameter: Parameter) -> bool:
        return bool(getattr(op, parameter.field) != getattr(default, parameter.field))

    arguments = []
    number = signature.number
    if number is not None and (signature.required or differs(number)):
        arguments.append(plain(getattr(op, number.field)))
    for keyword, option in signature.options.items():
        is_of_variant = keyword in variant_options
        is_flag = option.kind is ArgumentKind.FLAG
        if is_of_variant and is_flag:
            arguments.append(keyword)
        elif (is_of_variant or keyword not in signature.variants) and differs(option):
            value = getattr(op, option.field)
            text = plain(value) if isinstance(value, float) else value
            arguments.append(keyword if is_flag else f"{keyword}={text}")
    return f"{name}({', '.join(arguments)})" if arguments else name


def ops_text(ops: Iterable[Op], bars: Container[int]) -> str:
    """Return ops in canonical notation, with ``|`` before the indices in ``bars``."""
    texts = []
    for index, op in enumerate(ops):
        if index in bars:
            texts.append("|")
        texts.append(str(op))
    return " ".join(texts)


def call_text(name: str, *arguments: object, **options: object) -> str:
    """Return a Python call: ``call_text("nn.Linear", 8, 10)`` is ``nn.Linear(8, 10)``."""
    texts = [repr(argument) for argument in arguments]
    texts += [f"{option}={value!r}" for option, value in options.items()]
    return f"{name}({', '.join(texts)})"


def plain(number: float) -> str:
    """Return the shortest decimal text without an exponent that converts back: 0.00001, not 1e-05."""
    if isinstance(number, int):
        return str(number)
    text = format(Decimal(repr(float(number))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
