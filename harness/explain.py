"""What a network costs, op by op, as a JSON document and as a table for people; nothing is built."""

from __future__ import annotations

from typing import Any

from search_spaces.architecture import Architecture, op_text
from search_spaces.cost import Analysis
from search_spaces.shapes import shape_text
from search_spaces.stored import stored_numbers

_HEAD = ("op", "output", "parameters", "MACs", "receptive field")


def document(architecture: Architecture, analysis: Analysis) -> dict[str, Any]:
    """Return the network, its totals and its layers as plain JSON values."""
    return {
        "architecture": str(architecture),
        "hash": architecture.hash,
        "parameters": analysis.parameters,
        "stored_numbers": stored_numbers(architecture),
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
    """Return a line an op in fixed columns, the totals below it, and what the totals leave out."""
    rows = [
        (
            op_text(layer.op),
            shape_text(layer.output_shape),
            f"{layer.parameters:,}",
            f"{layer.macs:,}",
            str(layer.receptive_field),
        )
        for layer in analysis.layers
    ]
    total = ("total", "", f"{analysis.parameters:,}", f"{analysis.macs:,}", str(analysis.receptive_field))
    widths = [max(len(row[column]) for row in (_HEAD, *rows, total)) for column in range(len(_HEAD))]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [_line(_HEAD, widths), rule, *(_line(row, widths) for row in rows), rule, _line(total, widths)]
    stored = stored_numbers(architecture)
    if stored > analysis.parameters:
        lines.append(f"{analysis.parameters:,} learned; {stored:,} stored, with the means and variances of BN")
    lines.append(f"hash {architecture.hash}; the total receptive field is that before the first global op")
    return "\n".join(lines)


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    """Align the op to the left and everything else to the right."""
    op, *numbers = row
    right = [cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True)]
    return "  ".join([op.ljust(widths[0]), *right])
