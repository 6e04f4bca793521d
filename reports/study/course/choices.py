"""Which choices of the search space went with accuracy: the share of its spread that each explains by itself.

This is association. The sampler repeats what it likes, choices hang together, and larger networks are more accurate
whatever they choose; so the share of size stands beside those of the choices.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.data.datasets import dataset
from harness.evidence.study import StudyConfig
from harness.search.pruning import rungs_of
from harness.system import statistics
from harness.training.result import Result
from reports.study.networks import Network
from search_spaces.draw import draw
from search_spaces.errors import SearchSpaceError
from search_spaces.resolve import parse_space
from search_spaces.space import Options

# Fewer networks than this let any choice explain everything.
FEWEST_NETWORKS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a choice and the networks that took it; accuracies as ``Choices`` says."""

    index: int
    name: str
    networks: int
    mean_pct: float
    best_pct: float
    median_parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One choice of the space.

    Attributes:
        explained: share of the spread that it explains, adjusted for its number of options; 0 to 1.
        networks: those that came to this choice.
        picked: the option of each network of the study, in their order; None where it did not come to the choice or
            has no accuracy to compare.
    """

    name: str
    explained: float
    networks: int
    options: tuple[Option, ...]
    picked: tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """All choices, those that explain most first.

    Attributes:
        length: epochs of the trainings compared, the commonest, where there are several; None where all are compared.
        epoch: after which the accuracies compared were read, by all networks alike; None for the end of the run.
        accuracies_pct: of each network of the study, in their order; None where it has none from that epoch.
        size_explained: the share that the logarithm of the parameters explains by itself.
    """

    length: int | None = None
    epoch: int | None
    accuracies_pct: tuple[float | None, ...]
    size_explained: float
    choices: tuple[Choice, ...]


def choices(of: Sequence[Network], config: StudyConfig) -> Choices | None:
    """Return what the choices of a study explain, None where too few networks can be compared."""
    firsts = [network.first for network in of]
    lengths = Counter(run.recipe.epochs for run in firsts if run is not None)
    # Of equally common lengths the longer says more.
    length = max(lengths, key=lambda epochs: (lengths[epochs], epochs), default=config.recipe.epochs)
    epoch = next(iter(rungs_of(config, length)), None)
    alike = [run if run is not None and run.recipe.epochs == length else None for run in firsts]
    accuracies = tuple(_accuracy(run, epoch) for run in alike)
    if sum(value is not None for value in accuracies) < FEWEST_NETWORKS:
        return None
    names = _option_names(config, of)
    picked: dict[str, list[int | None]] = defaultdict(lambda: [None] * len(of))
    sizes: dict[str, int] = {}
    for number, (network, accuracy) in enumerate(zip(of, accuracies, strict=True)):
        if network.first is not None and accuracy is not None:
            for decision in network.first.decisions:
                picked[decision.name][number] = decision.index
                sizes[decision.name] = decision.size
    found = [_choice(name, picked[name], of, accuracies, names.get(name)) for name in sizes]
    shown = [choice for choice in found if len(choice.options) > 1]
    pairs = [
        (math.log(max(network.parameters, 1)), value)
        for network, value in zip(of, accuracies, strict=True)
        if value is not None
    ]
    return Choices(
        length=length if len(lengths) > 1 else None,
        epoch=epoch,
        accuracies_pct=accuracies,
        size_explained=_correlation([size for size, _ in pairs], [score(value) for _, value in pairs]) ** 2,
        choices=tuple(sorted(shown, key=lambda choice: (-choice.explained, choice.name))),
    )


def score(accuracy_pct: float) -> float:
    """Return the logarithm of the share of errors, in which 99 to 99.5 % is as far as 98 to 99 %."""
    return math.log(max(100 - accuracy_pct, 0.01))


def explained(groups: Iterable[Sequence[float]]) -> float:
    """Return the share of the variance that lies between groups, adjusted for their number; 0 where none does.

    The adjusted coefficient of determination (Theil 1961): ``1 - (1 - R2) (n - 1) / (n - k)``.
    """
    filled = [group for group in groups if group]
    everything = [value for group in filled for value in group]
    count, kinds = len(everything), len(filled)
    centre = statistics.mean(everything)
    total = math.fsum((value - centre) ** 2 for value in everything)
    if total <= 0 or count <= kinds:
        return 0.0
    within = math.fsum((value - statistics.mean(group)) ** 2 for group in filled for value in group)
    return max(0.0, 1 - (within / total) * (count - 1) / (count - kinds))


def _choice(
    name: str,
    picked: Sequence[int | None],
    of: Sequence[Network],
    accuracies: Sequence[float | None],
    names: Options | None,
) -> Choice:
    takers: dict[int, list[int]] = defaultdict(list)
    for number, index in enumerate(picked):
        if index is not None:
            takers[index].append(number)
    options = []
    groups = []
    for index in sorted(takers):
        values = [value for number in takers[index] if (value := accuracies[number]) is not None]
        groups.append([score(value) for value in values])
        option = Option(
            index=index,
            name=names.texts[index] if names is not None and index < names.size else f"option {index + 1}",
            networks=len(values),
            mean_pct=statistics.mean(values),
            best_pct=max(values),
            median_parameters=median([of[number].parameters for number in takers[index]]),
        )
        options.append(option)
    return Choice(
        name=name,
        explained=explained(groups),
        networks=sum(option.networks for option in options),
        options=tuple(options),
        picked=tuple(picked),
    )


def median(values: Sequence[int]) -> int:
    """Return the middle value, the lower of the middle two where there are two."""
    return sorted(values)[(len(values) - 1) // 2]


def _accuracy(run: Result | None, epoch: int | None) -> float | None:
    if run is None:
        return None
    if epoch is None:
        return run.validation_accuracy_pct
    for item in run.history:
        if item.epoch == epoch and item.validation_errors is not None and run.validation_size:
            return 100 - 100 * item.validation_errors / run.validation_size
    return None


def _correlation(across: Sequence[float], up: Sequence[float]) -> float:
    """Return Pearson's coefficient; 0 where one of the two does not vary."""
    mean_across, mean_up = statistics.mean(across), statistics.mean(up)
    shared = math.fsum((x - mean_across) * (y - mean_up) for x, y in zip(across, up, strict=True))
    squares = [math.fsum((x - mean_across) ** 2 for x in across), math.fsum((y - mean_up) ** 2 for y in up)]
    return shared / math.sqrt(squares[0] * squares[1]) if all(squares) else 0.0


def _option_names(config: StudyConfig, of: Iterable[Network]) -> dict[str, Options]:
    """Return what each choice chose from; empty where the text is no space of this program."""
    known: dict[str, Options] = {}
    try:
        space = parse_space(config.space_text, config.space, dataset(config.dataset).task)
    except SearchSpaceError:
        return known
    for network in of:
        decisions = network.first.decisions if network.first is not None else ()
        if any(decision.name not in known for decision in decisions):
            draw(space, _Listener({decision.name: decision.index for decision in decisions}, known))
    return known


@dataclass(frozen=True, slots=True)
class _Listener:
    """Decides as recorded, and keeps what there was to choose from."""

    indices: Mapping[str, int]
    seen: dict[str, Options]

    def choose(self, name: str, options: Options) -> int:
        """Return the recorded index, the first where none is recorded."""
        self.seen[name] = options
        index = self.indices.get(name, 0)
        return index if 0 <= index < options.size else 0
