"""Placement of the maps of a network that takes the image row by row.

The arena holds only rows of a map that are still needed, row y at place y modulo the number of held rows. As soon as a
row of a map is complete, the steps that read the row compute all rows that they can, the last steps first. The exported
C (``stream.c.jinja``) has the same order. A series, an image with a single row, is taken column by column: rows and
columns of the plan are exchanged, which changes no address, because one of the axes has a single position.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from harness.spaces.integer_plan import IntegerMap, IntegerPlan, IntegerStep, StepKind


def is_series(plan: IntegerPlan) -> bool:
    """Return whether the image has a single row, so that ``streamed`` exchanges rows and columns."""
    return plan.maps[0].shape[1] == 1


def streamed(plan: IntegerPlan) -> IntegerPlan:
    """Return the plan with held rows and offsets in the arena, for a network without missing integer forms.

    A single held row of the image is not in the arena: the steps read the row of the caller.
    """
    if is_series(plan):
        plan = _turned(plan)
    rings = _rings(plan)
    maps = [replace(each, held=1) for each in plan.maps]
    stream = _Stream(plan)
    for number in stream.events():
        if number == len(maps):
            continue
        # Rows of maps with the same place follow each other.
        members = [member for member, ring in enumerate(rings) if ring == rings[number]]
        spans = [(stream.first_needed(member), stream.counts[member] + (member == number)) for member in members]
        starts, ends = zip(*(span for span in spans if span[0] < span[1]), strict=True)
        first = maps[rings[number]]
        maps[rings[number]] = replace(first, held=max(first.held or 1, max(ends) - min(starts)))
    end = 0
    for number, ring in enumerate(rings):
        if number != ring:
            maps[number] = replace(maps[number], held=maps[ring].held, offset=maps[ring].offset)
        elif number > 0 or maps[0].held != 1:
            maps[number] = replace(maps[number], offset=end)
            end = maps[number].end
    return replace(plan, maps=tuple(maps))


def _turned(plan: IntegerPlan) -> IntegerPlan:
    steps = []
    for step in plan.steps:
        if sums := step.sums:
            filters, channels, rows, columns = sums.form.shape
            form = replace(sums.form, shape=(filters, channels, columns, rows), paddings=sums.form.paddings[::-1])
            step = replace(step, sums=replace(sums, form=form))
        if pool := step.pool:
            step = replace(step, pool=replace(pool, form=replace(pool.form, window=pool.form.window[::-1])))
        steps.append(step)
    maps = [replace(each, shape=(each.shape[0], each.shape[2], each.shape[1])) for each in plan.maps]
    return replace(plan, maps=tuple(maps), steps=tuple(steps))


def _rings(plan: IntegerPlan) -> list[int]:
    """Return, for each map, the first map with the same place: a map overwrites an input of its step if possible."""
    last_uses = {number: index for index, step in enumerate(plan.steps) for number in (step.source, step.skip)}
    inputs: dict[int, int] = {}  # by map that overwrites them
    for index, step in enumerate(plan.steps[:-1]):
        for number in step.overwritable_maps:
            is_free = number > 0 and last_uses[number] == index
            if is_free and _shape_of_rows(plan.maps[number]) == _shape_of_rows(plan.output(step)):
                inputs.setdefault(index + 1, number)
    stream = _Stream(plan)
    for number in stream.events():
        # A further step may still read the row of a residual sum.
        if number in inputs and stream.first_needed(inputs[number], number - 1) <= stream.counts[number]:
            del inputs[number]
    rings = list(range(len(plan.maps)))
    for number, source in inputs.items():
        rings[number] = rings[source]
    return rings


def _shape_of_rows(of_map: IntegerMap) -> tuple[int, int]:
    return of_map.shape[1], of_map.row_bytes


class _Stream:
    """Simulation of the steps.

    Attributes:
        counts: Computed rows of each map, and last the rows that the logits contain.
        rows: All rows, in the same order.
    """

    def __init__(self, plan: IntegerPlan) -> None:
        self.steps = plan.steps
        self.rows = [each.shape[1] for each in plan.maps]
        self.rows.append(self.rows[-1])
        self.counts = [0] * len(self.rows)

    def events(self) -> Iterator[int]:
        """Yield the map that gets a row, before ``counts`` changes; the number of maps for the logits."""
        for _ in range(self.rows[0]):
            number = 0
            yield number
            self.counts[number] += 1
            while number >= 0:
                if number < len(self.steps) and self.counts[number + 1] < self.ready(number):
                    number += 1
                    yield number
                    self.counts[number] += 1
                else:
                    number -= 1

    def ready(self, index: int) -> int:
        """Return the number of output rows for which the rows of the source suffice; as ``ready`` in C."""
        kernel, stride, padding, window = _window(self.steps[index])
        rows = self.counts[index]
        if rows in (0, self.rows[index]):
            return self.rows[index + 1] if rows else 0
        return max(0, (rows + padding - kernel) // stride + 1) // window

    def first_needed(self, number: int, without: int | None = None) -> int:
        """Return the first row of a map that a step still reads, except the step ``without``.

        Without such a row, return the number of computed rows.
        """
        needed = [self.counts[number]]
        for index, step in enumerate(self.steps):
            if index == without or self.counts[index + 1] == self.rows[index + 1]:
                continue
            _, stride, padding, window = _window(step)
            row = self.counts[index + 1] * window
            needed += [max(0, row * stride - padding)] if step.source == number else []
            needed += [row] if step.skip == number else []
        return min(needed)


def _window(step: IntegerStep) -> tuple[int, int, int, int]:
    """Return rows of the kernel, stride, rows of padding, and rows of a pooling window."""
    if step.kind is StepKind.LOGITS:
        return 1, 1, 0, 1  # added up row by row
    return step.form.shape[2], step.form.stride, step.form.paddings[0], step.pool_window[0]
