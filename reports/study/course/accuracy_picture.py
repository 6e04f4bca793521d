"""What a study minimises (by default parameters) against accuracy: the facts of the picture, and the picture.

Accuracies near 100 % crowd together, so the vertical axis is logarithmic in the share of errors: 99.4 to 99.7 is
as far as 98 to 99.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.evidence.leaderboard import cost_of
from harness.evidence.study import StudyConfig
from harness.system import statistics
from reports.html import svg
from reports.html.page import Html, element, items, joined, text
from reports.html.svg import errors_pct
from reports.numbers import count, mean_and_deviation, pct, plural, short
from reports.study.networks import DIGITS, Network, State, front_of
from reports.study.standings import accuracy_words
from reports.study.study_files import StudyFiles
from search_spaces.catalog import network_name
from search_spaces.space import OBJECTIVES, Metric, size_text

MOST_GHOSTS = 3


class Kind(StrEnum):
    """What a point of the picture is."""

    TRAINED = "trained"
    PRUNED = "pruned"
    TESTED = "tested"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One network in the picture.

    Attributes:
        number: place of the network in the order of the study's networks.
        deviation_pct: standard deviation over the seeds, None below two seeds.
        cost: what the network has of what the study minimises.
        on_front: no network of equal or lower cost is as accurate on validation.
        reached: its test accuracy is at the target.
        words: what the point says when asked.
    """

    kind: Kind
    number: int
    cost: int
    accuracy_pct: float
    deviation_pct: float | None
    on_front: bool
    words: str
    reached: bool = False


@dataclass(frozen=True, slots=True)
class Ghost:
    """A network of the leaderboard that this study did not find."""

    label: str
    cost: int
    words: str
    accuracy_pct: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyPicture:
    """All that the picture shows; ``left_out`` counts networks without any accuracy.

    Attributes:
        ghosts: the networks of the leaderboard that reach the target at the lowest cost, with their mean test accuracy.
    """

    points: tuple[Point, ...]
    config: StudyConfig
    left_out: int
    ghosts: tuple[Ghost, ...] = ()

    @property
    def front(self) -> list[Point]:
        """The Pareto front, the lowest cost first."""
        return sorted((point for point in self.points if point.on_front), key=lambda point: point.cost)

    @property
    def unit(self) -> str:
        """What is minimised."""
        return OBJECTIVES[self.config.minimise]

    @property
    def title(self) -> str:
        """What the picture is called."""
        return f"{self.unit.capitalize()} against accuracy"

    @property
    def bound_words(self) -> str:
        """The bound, as it is called."""
        return f"{'budget' if self.config.minimise is Metric.PARAMETERS else 'at most'} {count(self.config.ceiling)}"


def accuracy_picture(files: StudyFiles, of: list[Network]) -> AccuracyPicture:
    """Return what the picture of a study shows."""
    front = {network.hash for network in front_of(of)}
    sized = [(number, network) for number, network in enumerate(of) if network.parameters > 0]
    searched = [(number, network) for number, network in sized if network.accuracy_pct is not None]
    minimise = files.config.minimise
    points = [_searched(number, network, minimise, network.hash in front) for number, network in searched]
    points += [point for number, network in sized if (point := _tested(number, network, minimise)) is not None]
    return AccuracyPicture(
        points=tuple(points),
        config=files.config,
        left_out=len(of) - len(searched),
        ghosts=_ghosts(files, {network.hash for network in of}),
    )


def draw(facts: AccuracyPicture) -> Html:
    """Return the picture with its legend; nothing where there is nothing to draw."""
    if not facts.points:
        return Html("")
    image = svg.wide_or_narrow(lambda narrow: _picture(facts, narrow))
    return joined([image, _legend(facts), element("p", text(_note(facts)), class_="note")])


def _picture(facts: AccuracyPicture, narrow: bool) -> Html:
    area = _frame(facts, narrow)
    # What counts most lies on top. A telephone gets what is worth a name; the table has the others.
    shown = [point for point in facts.points if not narrow or _notable(point)]
    order = sorted(shown, key=lambda point: (_LAYERS.index(point.kind), point.on_front))
    front = [
        (area.across.position(point.cost), area.up.position(errors_pct(point.accuracy_pct))) for point in facts.front
    ]
    return svg.picture(
        area,
        "accuracy-picture-narrow" if narrow else "accuracy-picture",
        facts.title,
        description(facts),
        _grid(area, facts.unit, narrow),
        svg.path(svg.staircase(front, area.across.end), "front"),
        _lines(area, facts),
        *(_ghost(area, ghost) for ghost in facts.ghosts),
        *(_mark(area, point, numbered=not narrow) for point in order),
        role="img" if narrow else "group",
        class_=None if narrow else "points",
    )


def description(facts: AccuracyPicture) -> str:
    """Return what the picture shows, in words."""
    front = "; ".join(f"{count(point.cost)} with {pct(point.accuracy_pct)}" for point in facts.front)
    kinds = [sum(point.kind is kind for point in facts.points) for kind in Kind]
    return (
        f"{plural(kinds[0], 'trained network')}, {kinds[1]} pruned, {kinds[2]} measured on the test set. "
        f"Target {short(facts.config.target_pct)} %, validation threshold {short(facts.config.threshold_pct)} %, "
        f"{facts.bound_words} {facts.unit}. Pareto front on validation, as {facts.unit} with accuracy: "
        f"{front or 'empty'}. The table of networks below has every figure."
    )


def _searched(number: int, network: Network, minimise: Metric, on_front: bool) -> Point:
    accuracies = network.validation_accuracies_pct
    deviation = statistics.standard_deviation(accuracies) if len(accuracies) > 1 else None
    mean = statistics.mean(accuracies)
    seeds = plural(len(accuracies), "fresh seed" if network.fresh else "seed")
    state = f"{network.state} {network.remark}".strip()
    return Point(
        kind=Kind.PRUNED if network.state is State.PRUNED else Kind.TRAINED,
        number=number,
        cost=network.cost,
        accuracy_pct=mean,
        deviation_pct=deviation,
        on_front=on_front,
        words=f"{network.label}: {size_text(network.parameters, network.cost, minimise)}, validation "
        f"{mean_and_deviation(mean, deviation)} % ({seeds}), {state}",
    )


def _tested(number: int, network: Network, minimise: Metric) -> Point | None:
    row = network.row
    if row is None or row.mean_test_accuracy_pct is None:
        return None
    return Point(
        kind=Kind.TESTED,
        number=number,
        cost=network.cost,
        accuracy_pct=row.mean_test_accuracy_pct,
        deviation_pct=row.std_test_accuracy_pct,
        on_front=False,
        words=f"{network.label}: {size_text(network.parameters, network.cost, minimise)}, test {accuracy_words(row)} % "
        f"({plural(row.seeds, 'seed')}), {row.tier}",
        reached=row.reached,
    )


def _ghosts(files: StudyFiles, known: set[str]) -> tuple[Ghost, ...]:
    config = files.config
    rows = [
        row
        for row in files.rows
        if row.reached
        and (row.dataset, row.target_pct) == (config.dataset, config.target_pct)
        and row.hash not in known
    ]
    best = sorted({row.hash: row for row in rows}.values(), key=lambda row: cost_of(row, config.minimise))[:MOST_GHOSTS]
    return tuple(
        Ghost(
            f"{network_name(row.architecture, row.parameters)} {row.hash[:DIGITS]}".strip(),
            cost_of(row, config.minimise),
            size_text(row.parameters, cost_of(row, config.minimise), config.minimise),
            row.mean_test_accuracy_pct,
        )
        for row in best
        if row.mean_test_accuracy_pct is not None
    )


def _notable(point: Point) -> bool:
    return point.on_front or point.kind is Kind.TESTED or point.deviation_pct is not None


def _frame(facts: AccuracyPicture, narrow: bool) -> svg.Frame:
    drawn: list[Point | Ghost] = [*facts.points, *facts.ghosts]
    sizes = [item.cost for item in drawn]
    errors = [errors_pct(value) for value in (facts.config.target_pct, facts.config.threshold_pct)]
    errors += [errors_pct(item.accuracy_pct) for item in drawn]
    errors += [errors_pct(point.accuracy_pct + (point.deviation_pct or 0.0)) for point in facts.points]
    return svg.frame(
        svg.NARROW if narrow else svg.WIDE,
        360 if narrow else 400,
        (min(sizes) / 1.3, max(sizes) * 1.3, True),
        (max(errors) * 1.15, min(errors) / 1.15, True),
    )


def _grid(area: svg.Frame, unit: str, narrow: bool) -> Html:
    sizes = svg.ticks(area.across, count, 4 if narrow else 9, whole=True)
    shares = svg.ticks(area.up, lambda errors: short(100 - errors), 12)
    return svg.grid(area, sizes, shares, f"{unit} (logarithmic)", "accuracy, % (errors logarithmic)")


def _lines(area: svg.Frame, facts: AccuracyPicture) -> Html:
    left, right = area.across.start, area.across.end
    target = area.up.position(errors_pct(facts.config.target_pct))
    threshold = area.up.position(errors_pct(facts.config.threshold_pct))
    bound = area.across.position(facts.config.ceiling)
    target_words = f"target {short(facts.config.target_pct)} % (test)"
    threshold_words = f"threshold {short(facts.config.threshold_pct)} % (validation)"
    # The axis ends near the largest network: an empty half would say nothing.
    within = facts.config.ceiling <= area.across.high
    bound_words = f"{facts.bound_words}{'' if within else ' ' + chr(0x2192)}"
    # The lines lie close together: each label stands on the side away from the other line.
    above = facts.config.threshold_pct >= facts.config.target_pct
    return joined(
        [
            svg.line(left, target, right, target, "target"),
            svg.line(left, threshold, right, threshold, "threshold"),
            svg.line(bound, area.up.start, bound, area.up.end, "budget") if within else Html(""),
            svg.label(left + 6, target + (15 if above else -6), target_words, class_="on-target"),
            svg.label(left + 6, threshold + (-6 if above else 15), threshold_words, class_="on-threshold"),
            svg.label(bound - 6, area.up.start - 8, bound_words, "end", "on-budget"),
        ]
    )


def _mark(area: svg.Frame, point: Point, *, numbered: bool) -> Html:
    x = area.across.position(point.cost)
    y = area.up.position(errors_pct(point.accuracy_pct))
    shape, class_ = _SHAPES[point.kind]
    number = point.number if numbered else None
    if point.on_front:
        shape, class_ = "square", "on-front"
    elif point.reached:
        class_ = "reached"
    # A thousand names would weigh more than the picture; those of the others are in the table.
    words = point.words if _notable(point) else ""
    bar = Html("")
    if point.deviation_pct is not None:
        low, high = (errors_pct(point.accuracy_pct + sign * point.deviation_pct) for sign in (-1, 1))
        bar = svg.error_bar(x, area.up.position(low), area.up.position(high), f"bar {class_}", number)
    return joined([bar, svg.mark(shape, x, y, class_, words, number=number)], "")


def _ghost(area: svg.Frame, ghost: Ghost) -> Html:
    x, y = area.across.position(ghost.cost), area.up.position(errors_pct(ghost.accuracy_pct))
    words = f"{ghost.label}, on the leaderboard: {ghost.words}, test {pct(ghost.accuracy_pct, 3)}"
    mark = svg.mark("diamond", x, y, "ghost", words)
    return joined([mark, svg.label(x, y + 20, ghost.label.split()[0], "middle", "title small")], "")


_LAYERS = (Kind.PRUNED, Kind.TRAINED, Kind.TESTED)
_SHAPES = {
    Kind.TRAINED: ("circle", "trained"),
    Kind.PRUNED: ("triangle", "pruned"),
    Kind.TESTED: ("diamond", "tested"),
}


def _legend(facts: AccuracyPicture) -> Html:
    kinds = {point.kind for point in facts.points}
    entries = [svg.key("circle", "trained", "trained, validation accuracy")] if Kind.TRAINED in kinds else []
    if facts.front:
        entries.append(svg.key("square", "on-front", "on the Pareto front of validation"))
    if Kind.PRUNED in kinds:
        entries.append(svg.key("triangle", "pruned", "stopped early, validation accuracy then"))
    if Kind.TESTED in kinds:
        reached = all(point.reached for point in facts.points if point.kind is Kind.TESTED)
        words = "mean test accuracy, trained on all images"
        entries.append(svg.key("diamond", "reached" if reached else "tested", words))
    if facts.ghosts:
        entries.append(svg.key("diamond", "ghost", "smallest on the leaderboard, test accuracy"))
    return items(entries, class_="legend")


def _note(facts: AccuracyPicture) -> str:
    note = "Bars are one standard deviation over training seeds, where there are at least two."
    if facts.left_out:
        note += f" {plural(facts.left_out, 'network')} without any accuracy left out."
    return note
