"""The facts of a comparison of studies: what each found, at what cost, and where they were set up differently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from harness.evidence.study import StudyConfig
from reports.comparison.comparison import Quantity, known, more_or_fewer, of_known, plain, quantity
from reports.numbers import count, decimal, duration, plural, short
from reports.study.networks import Network, State, accuracy_words
from reports.study.study_info import StudyInfo

_MOST_SHARED = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyComparison:
    """All facts of the page.

    Attributes:
        settings: what was set differently; ``equal`` names what was set alike.
        shared: the smallest networks that several studies have trained, each with its mean validation accuracy in each
            study, None where it was not trained; there are ``shared_count`` such networks.
        notes: what keeps figures from being compared.
    """

    infos: tuple[StudyInfo, ...]
    sentences: tuple[str, ...]
    quantities: tuple[Quantity, ...]
    settings: tuple[Quantity, ...]
    equal: tuple[str, ...]
    shared: tuple[tuple[Network, tuple[float | None, ...]], ...]
    shared_count: int
    notes: tuple[str, ...]


def study_comparison(infos: Sequence[StudyInfo]) -> StudyComparison:
    """Return the facts of a comparison of studies; ratios are to the first."""
    settings = _settings([info.config for info in infos])
    shared = _shared(infos)
    return StudyComparison(
        infos=tuple(infos),
        sentences=tuple(_sentence(infos[0], info) for info in infos[1:]),
        quantities=tuple(known(_quantities(infos))),
        settings=tuple(line for line in settings if len(set(line.words)) > 1),
        equal=tuple(line.name for line in settings if len(set(line.words)) == 1),
        shared=tuple(shared[:_MOST_SHARED]),
        shared_count=len(shared),
        notes=tuple(_notes(infos)),
    )


def _sentence(first: StudyInfo, other: StudyInfo) -> str:
    sizes = _answer_size(first), _answer_size(other)
    seconds = first.provenance.wall_seconds, other.provenance.wall_seconds
    took = f"{other.name} took {duration(seconds[1])}" + (
        f", {more_or_fewer(seconds[1] / seconds[0], 'less', 'long')} {first.name}" if seconds[0] > 0 else ""
    )
    if sizes[0] is None or sizes[1] is None:
        lacking = " and ".join(info.name for info, size in zip((first, other), sizes, strict=True) if size is None)
        return f"{took}. {lacking} named no network, so the sizes cannot be compared."
    return (
        f"{took}. Its network has {plural(sizes[1], 'parameter')}, {more_or_fewer(sizes[1] / max(sizes[0], 1))} "
        f"that of {first.name} ({count(sizes[0])})."
    )


def _answer_size(info: StudyInfo) -> int | None:
    return info.answer.parameters if info.answer else None


def _quantities(infos: Sequence[StudyInfo]) -> list[Quantity]:
    answers = [info.answer for info in infos]
    rows = [answer.row if answer else None for answer in answers]
    return [
        plain("outcome", [info.headline.outcome for info in infos]),
        of_known("network", answers, lambda answer: answer.hash),
        quantity("parameters", [_answer_size(info) for info in infos]),
        of_known("tier", rows, lambda row: row.tier),
        of_known("mean test accuracy, %", rows, accuracy_words),
        of_known("99 % lower bound, %", rows, lambda row: decimal(row.lower_bound_pct, 3)),
        of_known("seeds on the test set", rows, lambda row: row.seeds),
        quantity("time of all sessions", [info.provenance.wall_seconds for info in infos], duration),
        quantity("training time of all runs", [info.provenance.train_seconds for info in infos], duration),
        quantity("first network confirmed after", [_stood(info, first=True) for info in infos], duration),
        quantity("last fall of the effective budget after", [_stood(info, first=False) for info in infos], duration),
        quantity("effective budget at the end", [info.budget.last for info in infos]),
        quantity("proposals", [info.accounting.proposed for info in infos]),
        quantity("networks rejected before building", [info.accounting.rejected for info in infos]),
        quantity("networks trained", [info.accounting.trained for info in infos]),
        quantity("networks an hour", [_hourly(info) for info in infos], lambda value: decimal(value, 1)),
        quantity("finished runs", [info.accounting.runs for info in infos]),
        quantity("networks pruned", [_of_state(info, State.PRUNED) for info in infos]),
        quantity("networks that failed confirmation", [_of_state(info, State.REFUTED) for info in infos]),
    ]


def _stood(info: StudyInfo, *, first: bool) -> float | None:
    at = [trial.elapsed for trial in info.budget.trials if trial.stands]
    if not at:
        return None
    return at[0] if first else at[-1]


def _hourly(info: StudyInfo) -> float | None:
    seconds = info.provenance.wall_seconds
    return 3600 * info.accounting.trained / seconds if seconds > 0 else None


def _of_state(info: StudyInfo, state: State) -> int:
    return sum(network.state is state for network in info.networks)


def _settings(configs: Sequence[StudyConfig]) -> list[Quantity]:
    """Return a line a setting, those of the recipe and the text of the space included."""
    tables = [_flat(config) for config in configs]
    return [plain(name, [table.get(name, "") for table in tables]) for name in tables[0]]


def _flat(config: StudyConfig) -> dict[str, str]:
    values = asdict(config)
    recipe = values.pop("recipe")
    del values["space_text"]
    flat = {name: _shown(value) for name, value in values.items()}
    flat |= {f"recipe: {name}": _shown(value) for name, value in recipe.items()}
    return flat | {"definition of the space": " ".join(config.space_text.split())}


def _shown(value: object) -> str:
    if isinstance(value, tuple | list):
        return " ".join(map(str, value))
    return short(value) if isinstance(value, float) else str(value)


def _shared(infos: Sequence[StudyInfo]) -> list[tuple[Network, tuple[float | None, ...]]]:
    found = [{network.hash: network for network in info.networks if network.complete} for info in infos]
    known = {key: network for networks in reversed(found) for key, network in networks.items()}
    several = [network for key, network in known.items() if sum(key in networks for networks in found) > 1]
    several.sort(key=lambda network: (network.parameters, network.hash))
    return [
        (network, tuple(of[network.hash].accuracy_pct if network.hash in of else None for of in found))
        for network in several
    ]


def _notes(infos: Sequence[StudyInfo]) -> list[str]:
    notes = []
    if len({(info.config.dataset, info.config.target_pct) for info in infos}) > 1:
        notes.append("Data sets or targets differ: sizes and accuracies answer different questions.")
    elif len({info.config.threshold_pct for info in infos}) > 1:
        notes.append("The validation thresholds differ, so a network may be confirmed in one study and not in another.")
    machines = {value for info in infos for name, value in info.provenance.facts if name == "device"}
    workers = {entry.event.workers for info in infos for entry in info.provenance.sessions}
    if len(machines) > 1 or len(workers) > 1:
        notes.append("Machines or numbers of workers differ: an hour of one is not an hour of the other.")
    if any(info.headline.outcome in ("no verdict yet", "no result yet") for info in infos):
        notes.append("A study that has no verdict yet may still be running.")
    notes.append("One search a setting says little about the setting: another seed of a search finds another network.")
    return notes
