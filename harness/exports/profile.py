"""Work and bytes of each layer of a network in C, on emulated chips; a layer is a step of the integer plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.exports.c_library import Library, layers_of
from harness.exports.chip_families import CHIP_FAMILIES
from harness.exports.emulated import check_tools, emulate
from harness.system.errors import DeviceError
from harness.system.terminal import say


def profile_of(library: Library) -> dict[str, Any]:
    """Return the profile for the first example: ``layers``, and ``cores`` by family of chips.

    A layer has ``multiply_adds``, ``constant_bytes``, ``map_bytes`` and ``ops``. A core has ``compiler``, ``unit``,
    ``work`` per layer in this unit, and ``change_first``, the number of the layer with most work, from 1; or
    ``unknown``, the reason why nothing was measured.
    """
    cores: dict[str, dict[str, Any]] = {}
    for name, family in CHIP_FAMILIES.items():
        try:
            check_tools(family)
            say(f"measuring the layers on an emulated {name}")
            work = emulate(library, library.examples[:1], family, is_profile=True).layer_work
        except DeviceError as error:
            cores[name] = {"unknown": error.message}
            continue
        cores[name] = {
            "compiler": " ".join((family.compiler, *family.flags, family.compiler_flag(library.optimise))),
            "unit": family.unit,
            "work": work,
            "change_first": 1 + work.index(max(work)),
        }
    return {"layers": layers_of(library), "cores": cores}


def profile_text(profile: Mapping[str, Any]) -> str:
    """Return a table per core, as ``make profile`` in the folder prints."""
    lines = []
    for name, core in profile["cores"].items():
        if "unknown" in core:
            lines.append(f"{name}: {core['unknown']}")
            continue
        total = sum(core["work"])
        titles = ("layer", core["unit"], "share", "multiply-adds", "constants", "map")
        lines.append(f"{name}, {core['compiler']}")
        lines.append("{:>5} {:>14} {:>7} {:>14} {:>10} {:>8}  ops".format(*titles))
        for index, (layer, work) in enumerate(zip(profile["layers"], core["work"], strict=True)):
            figures = (index + 1, work, 100 * work / total, *layer.values())
            lines.append("{:5} {:14} {:5.1f} % {:14} {:10} {:8}  {}".format(*figures))
        first = core["change_first"]
        share = core["work"][first - 1] / total
        lines.append(f"Change layer {first} first: {100 * share:.0f} % of {total} {core['unit']} per image.\n")
    return "\n".join(lines).rstrip()
