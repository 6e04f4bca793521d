"""What a network costs, op by op, as a JSON document and as a table for people; nothing is built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search_spaces.catalog import network_name
from search_spaces.cost import Analysis, output_shape, stored_numbers
from search_spaces.network import Architecture
from search_spaces.op_specs import op_text
from search_spaces.ops import Conv, DepthwiseConv, Op, Residual, kernels
from search_spaces.task import Shape, shape_text

_Row = tuple[str, str, str, str, str]

_HEAD = ("op", "output", "parameters", "MACs", "receptive field")


def document(architecture: Architecture, analysis: Analysis) -> dict[str, Any]:
    """Return the network, its totals and its layers as plain JSON values."""
    return {
        "architecture": str(architecture),
        "hash": architecture.hash,
        "parameters": analysis.parameters,
        "stored_numbers": stored_numbers(architecture, analysis.task),
        "macs": analysis.macs,
        "receptive_field": analysis.receptive_field,
        "layers": [
            {
                "op": op_text(layer.op),
                "output_shape": list(layer.output_shape),
                "parameters": layer.parameters,
                "macs": layer.macs,
                "receptive_field": layer.receptive_field,
            }
            for layer in analysis.layers
        ],
    }


def table(architecture: Architecture, analysis: Analysis) -> str:
    """Return a line an op in fixed columns, the totals below it, and what the totals leave out.

    The ops of a residual sum stand below it, indented; its line has their costs. The first use of a tied kernel has its
    parameters, and later ones are marked as shared.
    """
    rows = _rows(analysis)
    total = ("total", "", f"{analysis.parameters:,}", f"{analysis.macs:,}", str(analysis.receptive_field))
    widths = [max(len(row[column]) for row in (_HEAD, *rows, total)) for column in range(len(_HEAD))]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [_line(_HEAD, widths), rule, *(_line(row, widths) for row in rows), rule, _line(total, widths)]
    stored = stored_numbers(architecture, analysis.task)
    if stored > analysis.parameters:
        lines.append(f"{analysis.parameters:,} learned; {stored:,} stored, with the means and variances of BN")
    name = network_name(architecture, analysis.parameters)
    lines.append(f"{name}, hash {architecture.hash}; total receptive field: before global pooling or the classifier")
    if any(isinstance(op, Conv) and op.poses > 1 for op in kernels(architecture.ops)):
        lines.append(
            "poses: neighbouring outputs share one learned kernel; each uses a rotated copy (8: also mirrored)"
        )
    return "\n".join(lines)


def _rows(analysis: Analysis) -> list[_Row]:
    rows: list[_Row] = []
    used: set[str] = set()
    shape: Shape = analysis.task.input_shape
    for layer in analysis.layers:
        written = shape_text(layer.output_shape)
        costs = (f"{layer.parameters:,}", f"{layer.macs:,}", str(layer.receptive_field))
        if isinstance(layer.op, Residual):
            rows.append(("res(", written, *costs))
            rows += _inner_rows(layer.op, shape, used, "  ")
        else:
            shared = _is_shared(layer.op, used)
            rows.append((op_text(layer.op), written, *(("shared", *costs[1:]) if shared else costs)))
        shape = layer.output_shape
    return rows


def _inner_rows(op: Residual, shape: Shape, used: set[str], indent: str) -> list[_Row]:
    """Return a line for each op of a residual sum, and its closing bracket."""
    rows: list[_Row] = []
    for inner in op.ops:
        if isinstance(inner, Residual):
            rows += [(f"{indent}res(", shape_text(shape), "", "", ""), *_inner_rows(inner, shape, used, indent + "  ")]
            continue
        shape = output_shape(inner, shape)
        shared = "shared" if _is_shared(inner, used) else ""
        rows.append((f"{indent}{op_text(inner)}", shape_text(shape), shared, "", ""))
    return [*rows, (f"{indent[2:]})", "", "", "", "")]


def _is_shared(op: Op, used: set[str]) -> bool:
    """Return whether a kernel was used before; takes note of its name."""
    tie = op.tie if isinstance(op, Conv | DepthwiseConv) else None
    if tie is None:
        return False
    before = tie in used
    used.add(tie)
    return before


def _line(row: Sequence[str], widths: list[int]) -> str:
    """Align the op to the left and everything else to the right."""
    op, *numbers = row
    right = [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
    return "  ".join([op.ljust(widths[0]), *right]).rstrip()
