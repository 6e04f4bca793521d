"""Publication of evidence: records, weights, declarations and test reads of a network enter the repository."""

from __future__ import annotations

from pathlib import Path

from harness.evidence import leaderboard_table, ledger
from harness.evidence import record as record_files
from harness.evidence.record import Record
from harness.studies.standing import Standing
from harness.system import files
from harness.system.errors import UsageError
from harness.system.files import Workspace
from harness.system.machine import git


def publish(workspace: Workspace, network: str) -> None:
    """Copy the evidence of a network, a hash, into the repository, and rebuild the leaderboard table there.

    All certification attempts, with the recorded seeds, are copied too, whatever the outcome.

    Raises:
        UsageError: The program does not run from a clone of the repository.
    """
    table = leaderboard_table.shipped_table()
    folder = (files.SHIPPED / "records").resolve()
    if git(table.parent, "ls-files", "--error-unmatch", "--", table.name) is None:
        raise UsageError(f"--publish requires a clone of the repository, but {table} is not tracked by git")
    # Several calls would read, change and write the same files.
    with files.locked(folder / ".publish.lock"):
        leaderboard = leaderboard_table.collect(workspace)
        hashes = {network, *(attempt.hash for attempt in ledger.read(workspace.ledger).attempts)}
        for record in record_files.read_all(workspace.records):
            if record.hash in hashes and record.path(workspace.records).exists():
                _publish_record(workspace, record, folder)
        for path in (workspace.ledger, workspace.test_log):
            target = folder / path.name
            shipped_lines = set(files.log_text(target).splitlines())
            for line in files.log_text(path).splitlines():
                # Only lines of certification attempts have a number.
                is_published = '"number": ' in line or any(each in line for each in hashes)
                if is_published and line not in shipped_lines:
                    files.append_line(target, line)
        rows = {row.key: row for row in leaderboard_table.collect(Workspace(files.SHIPPED))}
        rows |= {row.key: row for row in leaderboard if row.hash == network and row.tier is Standing.SEARCHED}
        files.write_text(table, leaderboard_table.to_csv(leaderboard_table.ranked(list(rows.values()))))


def _publish_record(workspace: Workspace, record: Record, folder: Path) -> None:
    for run in record.seeds:
        weights = record.weights_path(workspace.records, run.index)
        if weights == record.kept_weights(workspace.records, run.index):
            files.write_bytes(record.weights_path(folder, run.index), weights.read_bytes())
    record_files.write(folder, record)
