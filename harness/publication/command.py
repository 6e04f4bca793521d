"""``harness leaderboard --publish`` and ``--check``: for maintainers, as hidden commands of their own."""

from __future__ import annotations

import click

from harness.data import datasets
from harness.interface import options
from harness.system import files
from harness.system.errors import ContentError
from harness.system.files import Workspace
from harness.system.terminal import busy


@click.group(hidden=True)
def publication() -> None:
    """Publish evidence, and check the published evidence."""


def _faults(workspace: Workspace, anchor: str | None) -> list[str]:
    from harness.publication.consistency import faults

    with busy("checking records, weights, ledger, log and git history"):
        return faults(workspace, anchor)


@publication.command()
@click.option("--anchor", metavar="COMMIT", help="Also compare with this published commit.")
@options.as_json
def check(anchor: str | None, as_json: bool) -> int:
    """Check that records, weights, ledger and table agree."""
    from harness.evidence.leaderboard_table import shipped_table
    from harness.publication.consistency import has_full_history

    messages = _faults(files.workspace(), anchor)
    with_history = has_full_history(shipped_table().parent)
    text = "\n".join(messages)
    if not messages:
        text = "the evidence is consistent" + ("" if with_history else ", as far as the git history is available")
    options.print_result(as_json, {"faults": messages, "with_history": with_history}, text)
    return ContentError.exit_code if messages else 0


@publication.command("publish")
@click.argument("network")
@options.option("dataset")
def _publish(network: str, dataset: str) -> None:
    """Copy the evidence of NETWORK, a hash, name or notation, into the clone of the repository."""
    from harness.evidence import ledger
    from harness.evidence.leaderboard_table import shipped_table
    from harness.interface.lookup import may_be_known, network_argument
    from harness.publication.evidence import publish

    workspace = files.workspace()
    # A fault begins with the path of the file. Publishing rewrites the table, so its faults do not matter.
    messages = [message for message in _faults(workspace, None) if not message.startswith(f"{shipped_table()}: ")]
    if messages:
        raise ContentError(messages[0])
    # A network that was only declared is unknown to ``network_argument``.
    hashes = {attempt.hash for attempt in ledger.read(workspace.ledger).attempts if attempt.hash.startswith(network)}
    if may_be_known(network) and len(hashes) == 1:
        [network_hash] = hashes
    else:
        network_hash = network_argument(network, workspace, datasets.dataset_of_option(dataset).task).architecture.hash
    publish(workspace, network_hash)
