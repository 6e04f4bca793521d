"""What a network costs, op by op, as people and programs read it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from search_spaces.catalog import network_name
from search_spaces.cost import Analysis, stored_numbers
from search_spaces.network import Architecture
from search_spaces.ops import Conv, DepthwiseConv, Op, Residual, op_text
from search_spaces.task import Shape, shape_text

if TYPE_CHECKING:
    from harness.cross_check import Counts


@dataclass(frozen=True, slots=True)
class Explanation:
    """A network with its analysis; ``checks`` are the counts of other libraries where they were asked for."""

    architecture: Architecture
    analysis: Analysis
    checks: Counts | None = None

    def document(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "architecture": str(self.architecture),
            "hash": self.architecture.hash,
            "parameters": self.analysis.parameters,
            "stored_numbers": stored_numbers(self.architecture, self.analysis.task),
            "macs": self.analysis.macs,
            "receptive_field": self.analysis.receptive_field,
            "layers": [asdict(layer) | {"op": op_text(layer.op)} for layer in self.analysis.layers],
            **({} if self.checks is None else {"checks": asdict(self.checks)}),
        }

    def rows(self) -> Iterator[tuple[str, str, str, str, str]]:
        """Yield op, output, parameters, multiply-adds, receptive field; the ops of a residual sum stand below it."""
        used: set[str] = set()
        shape: Shape = self.analysis.task.input_shape
        for layer in self.analysis.layers:
            (op, output, shared), *inner = _lines((layer.op,), shape, used)
            yield op, output, shared or f"{layer.parameters:,}", f"{layer.macs:,}", str(layer.receptive_field)
            yield from ((op, output, shared, "", "") for op, output, shared in inner)
            shape = layer.output_shape
        # The receptive field of the last layer before global pooling or the classifier.
        total = self.analysis
        yield "total", "", f"{total.parameters:,}", f"{total.macs:,}", str(total.receptive_field)

    def __str__(self) -> str:
        table = [("op", "output", "parameters", "MACs", "receptive field"), *self.rows()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            f"{row[0]:<{widths[0]}}"
            + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
            for row in table
        ]
        stored = stored_numbers(self.architecture, self.analysis.task)
        name = network_name(self.architecture, self.analysis.parameters)
        lines.append(f"{name}, hash {self.architecture.hash}; {stored:,} numbers with the statistics of BN")
        if self.checks is not None:
            lines.append("the same: " + ", ".join(f"{who} {number:,}" for who, number in asdict(self.checks).items()))
        return "\n".join(lines)


def _lines(ops: Sequence[Op], shape: Shape, used: set[str], indent: str = "") -> list[tuple[str, str, str]]:
    """Return op, output shape and whether its kernel was used before; ``used`` takes note of the names of kernels."""
    rows = []
    for op in ops:
        output = op.shape(shape)
        if isinstance(op, Residual):
            inner = _lines(op.ops, shape, used, indent + "  ")
            rows += [(f"{indent}res(", shape_text(output), ""), *inner, (f"{indent})", "", "")]
        else:
            tie = op.tie if isinstance(op, Conv | DepthwiseConv) else None
            rows.append((indent + op_text(op), shape_text(output), "shared" if tie in used else ""))
            used |= set() if tie is None else {tie}
        shape = output
    return rows
