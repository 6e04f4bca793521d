"""The facts of a network's own section, and which networks of a study are worth one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.data.datasets import dataset
from harness.evidence.record import Record
from harness.system.errors import typed
from harness.training.inspection import Inspection
from reports.study.network.calibration import Calibration, calibration
from reports.study.network.mistakes import Mistakes, mistakes
from reports.study.networks import Network, State, front_of
from reports.study.provenance import recipe_options
from reports.study.study_files import StudyFiles
from search_spaces.cost import Analysis, analyse

# A section takes some fifteen kilobytes of the page, and there are fewer where the table takes much.
MOST_SECTIONS = 16
FEWEST_SECTIONS = 6
_ROWS_A_SECTION = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInfo:
    """All that is known of one network.

    Attributes:
        number: its place in the order of the study's networks.
        record: its test evidence, that of its best row; None where it was not tested.
        kernels: the inspected seed that shows its first kernels, None where there is none.
        commands: what to type, each with what it does.
    """

    number: int
    network: Network
    analysis: Analysis
    record: Record | None
    mistakes: Mistakes | None
    calibration: Calibration | None
    kernels: Inspection | None
    commands: tuple[tuple[str, str], ...]


def network_infos(files: StudyFiles, of: Sequence[Network]) -> tuple[NetworkInfo, ...]:
    """Return the facts of the networks worth a section, in the order of the study's networks."""
    worth = worth_a_section(of)
    return tuple(_info(files, number, network) for number, network in enumerate(of) if network.hash in worth)


def worth_a_section(of: Sequence[Network]) -> set[str]:
    """Return the hashes of what was tested, then what stands, the Pareto front, and what fell on fresh seeds."""
    wanted = [network.hash for network in of if network.row is not None]
    wanted += [network.hash for state in (State.WINNER, State.CONFIRMED) for network in of if network.state is state]
    wanted += [network.hash for network in front_of(of)]
    wanted += [network.hash for network in of if network.state is State.REFUTED]
    most = max(FEWEST_SECTIONS, MOST_SECTIONS - len(of) // _ROWS_A_SECTION)
    return set(list(dict.fromkeys(wanted))[:most])


def _info(files: StudyFiles, number: int, network: Network) -> NetworkInfo:
    row = network.row
    measured = next((item for item in files.measured if row is not None and item.row.key == row.key), None)
    inspections = measured.inspections if measured is not None else ()
    return NetworkInfo(
        number=number,
        network=network,
        analysis=analyse(network.architecture, dataset(files.config.dataset).task),
        record=measured.record if measured is not None else None,
        mistakes=mistakes(measured.record, inspections) if measured is not None else None,
        calibration=calibration(inspections),
        kernels=next((item for item in inspections if item.kernels), None),
        commands=tuple(_commands(files, network, measured.record if measured is not None else None)),
    )


def _commands(files: StudyFiles, network: Network, record: Record | None) -> list[tuple[str, str]]:
    """Return the commands, the exact repetition first; the second needs neither this study nor its records."""
    notation, config = str(network.architecture), files.config
    if record is None:
        seeds, target = [], config.target_pct
        again = "trains it on fresh seeds and reads the test set"
        recipe = recipe_options(config.recipe_of(network.epochs)[1], network.epochs)
    else:
        seeds, target = ["--seeds", str(max(run.index for run in record.seeds) + 1)], record.target_pct
        again = "trains the recorded seeds again and compares them with the record, bit for bit on an equal machine"
        recipe = recipe_options(record.recipe_name, record.recipe.epochs)
    goal = ["--dataset", config.dataset, "--target", f"{target:.12g}"]
    return [
        (typed("verify", network.hash, *seeds), again),
        (
            typed("verify", notation, *recipe, *goal, *seeds),
            "does the same where this study is not at hand, if the recipe of that name is still the same",
        ),
        (typed("explain", notation, "--torch"), "counts it again, with torch and others"),
    ]
