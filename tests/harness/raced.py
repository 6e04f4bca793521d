"""Networks of a search as a test states them: by the errors of their runs."""

from __future__ import annotations

from harness.studies.candidate import Candidate
from harness.studies.events import Proposal
from harness.training.recipe import Recipe
from harness.training.result import Epoch, Purpose, Result, Status
from search_spaces.notation import parse_network

THRESHOLD = 99.0
SIZE = 10_000


def proposal(trial: int = 0, parameters: int = 1000, network_hash: str = "000000000001") -> Proposal:
    return Proposal(
        trial=trial,
        architecture=parse_network("gap linear(10)"),
        hash=network_hash,
        parameters=parameters,
        origin="tpe",
        decisions=(),
    )


def result(
    errors: int | None,
    *,
    status: Status = Status.COMPLETE,
    purpose: Purpose = Purpose.CONFIRM,
    index: int = 0,
    history: tuple[Epoch, ...] = (),
) -> Result:
    return Result(
        architecture=parse_network("gap linear(10)"),
        hash="000000000001",
        parameters=1000,
        macs=1,
        recipe=Recipe(),
        recipe_name="fast",
        recipe_hash=Recipe().hash,
        dataset="mnist",
        purpose=purpose,
        seed_index=index,
        seed=index,
        status=status,
        validation_errors=errors,
        validation_size=None if errors is None else SIZE,
        history=history,
    )


def candidate(*fresh: int | None, first: int | None = 100, trial: int = 0, parameters: int = 1000) -> Candidate:
    """Return a network with so many errors in its first run and on its fresh seeds; 100 errors are the threshold."""
    begun = None if first is None else result(first, purpose=Purpose.SEARCH)
    runs = [result(errors, index=index) for index, errors in enumerate(fresh)]
    return Candidate(proposal(trial, parameters), parameters, begun, runs, threshold_pct=99.0)
