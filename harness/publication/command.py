"""``harness leaderboard --publish`` and ``--check``: for maintainers, as hidden commands of their own."""

from __future__ import annotations

from pathlib import Path

import click

from harness.data import datasets
from harness.evidence import leaderboard_table, ledger
from harness.evidence import record as record_files
from harness.evidence.leaderboard_table import Tier
from harness.evidence.record import Record
from harness.interface import options
from harness.publication.consistency import faults, has_full_history
from harness.system import files
from harness.system.errors import ContentError, UsageError
from harness.system.files import Workspace
from harness.system.machine import git
from harness.system.terminal import busy


@click.group(hidden=True)
def publication() -> None:
    """Publish evidence, and check the published evidence."""


def _faults(workspace: Workspace, anchor: str | None) -> list[str]:
    with busy("checking records, weights, ledger, log and git history"):
        return faults(workspace, anchor)


@publication.command()
@click.option("--anchor", metavar="COMMIT", help="Also compare with this published commit.")
@options.as_json
def check(anchor: str | None, as_json: bool) -> int:
    """Check that records, weights, ledger and table agree."""
    messages = _faults(files.workspace(), anchor)
    with_history = has_full_history(leaderboard_table.shipped_table().parent)
    text = "\n".join(messages)
    if not messages:
        text = "the evidence is consistent" + ("" if with_history else ", as far as the git history is available")
    options.print_result(as_json, {"faults": messages, "with_history": with_history}, text)
    return ContentError.exit_code if messages else 0


@publication.command()
@click.argument("network")
@options.option("dataset")
def publish(network: str, dataset: str) -> None:
    """Copy the evidence of NETWORK, a hash, name or notation, into the clone of the repository."""
    from harness.interface.lookup import is_hash_or_name, read_network

    workspace = files.workspace()
    # A fault begins with the path of the file. Faults of the table do not matter, as publishing rewrites the table.
    table = leaderboard_table.shipped_table()
    messages = [message for message in _faults(workspace, None) if not message.startswith(f"{table}: ")]
    if messages:
        raise ContentError(messages[0])
    # A network that was only declared has no record, so the hash is in the ledger, but unknown to ``read_network``.
    hashes = {attempt.hash for attempt in ledger.read(workspace.ledger).attempts if attempt.hash.startswith(network)}
    # All other texts, hashes and names with a record included, are networks for ``read_network``.
    if is_hash_or_name(network) and len(hashes) == 1:
        [network_hash] = hashes
    else:
        network_hash = read_network(network, workspace, datasets.task_of_option(dataset)).architecture.hash
    publish_evidence(workspace, network_hash)


def publish_evidence(workspace: Workspace, network: str) -> None:
    """Copy the evidence of a network from a workspace into the repository, and rebuild the leaderboard table there.

    All certification attempts, with the recorded seeds, are copied too, whatever the outcome. ``network`` is a hash.

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
            if record.hash in hashes and record_files.path_of(workspace.records, record).exists():
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
        rows |= {row.key: row for row in leaderboard if row.hash == network and row.tier is Tier.SEARCHED}
        files.write_text(table, leaderboard_table.to_csv(leaderboard_table.ranked(list(rows.values()))))


def _publish_record(workspace: Workspace, record: Record, folder: Path) -> None:
    for run in record.seeds:
        weights = record_files.weights_path(workspace.records, record, run.index)
        if weights == record_files.kept_weights(workspace.records, record, run.index):
            files.write_bytes(record_files.weights_path(folder, record, run.index), weights.read_bytes())
    record_files.write(folder, record)
