"""What is declared before it is run: the seeds of a verification, and those of a certification in a commit."""

from __future__ import annotations

from dataclasses import replace

from harness.evidence import history, ledger, record
from harness.evidence.ledger import Attempt
from harness.evidence.record import Record
from harness.evidence.verification.plan import Plan, record_of
from harness.system.errors import UsageError
from harness.system.files import Workspace
from harness.training.result import code_version


def declare(plan: Plan, place: Workspace, seeds: int) -> Attempt:
    """Enter an attempt to certify the plan's row, on ``seeds`` indices that were never run, and return it.

    An attempt of this row that is still open is returned as it was declared. Seeds depend on network and recipe alone,
    so those run for another target or data set are known too.

    Raises:
        ContentError: attempts at this target have spent the whole chance of a false success.
    """
    evidence = record_of(plan, place)
    attempt = ledger.open_attempt(place.ledger, evidence.key)
    if attempt is not None:
        return attempt
    kin = evidence.key[:2]
    runs = [run for item in record.read_all(place.records) if item.key[:2] == kin for run in item.seeds]
    used = [run.index + 1 for run in runs]
    used += [item.first_index + item.seeds for item in ledger.read(place.ledger) if item.key[:2] == kin]
    used += [max(item.indices) + 1 for item in ledger.declarations(place.ledger) if item.key[:2] == kin]
    return ledger.declare(place.ledger, evidence.key, max(used, default=0), seeds, code_version()[0])


def as_declared(plan: Plan, place: Workspace) -> Plan:
    """Return the plan of a certification with the seeds that its attempt has declared.

    Raises:
        UsageError: nothing is declared for this row, or the declaration is in no commit.
    """
    attempt = ledger.open_attempt(place.ledger, record_of(plan, place).key)
    if attempt is None:
        raise UsageError(
            "a certification is declared before it is run, and nothing is declared for this network, recipe and target",
            hint="run the same command with --declare-only, commit records/ledger.jsonl, then run it again without",
        )
    there = history.committed(place.ledger)
    if there is None:
        raise UsageError(
            f"attempt {attempt.number} is declared, but {place.ledger.parent} is in no git repository: "
            "a commit is what shows that it was declared beforehand",
            hint="git init, and commit records/ledger.jsonl",
        )
    if not ledger.declares(there, attempt):
        raise UsageError(
            f"attempt {attempt.number} is declared, but {place.ledger} is not committed with it",
            hint="git add records/ledger.jsonl, git commit, then the same command again",
        )
    return replace(plan, indices=tuple(attempt.indices), attempt=attempt)


def declare_fresh(plan: Plan, place: Workspace, evidence: Record) -> None:
    """Enter the seeds of a verification that neither the record nor a declaration has."""
    known = {run.index for run in evidence.seeds}
    for item in ledger.declarations(place.ledger):
        if item.key == evidence.key:
            known |= set(item.indices)
    fresh = [index for index in plan.indices if index not in known]
    if fresh:
        ledger.declare_verification(place.ledger, evidence.key, fresh, code_version()[0])
