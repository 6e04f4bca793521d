"""``harness check``: recompute a certificate."""

from __future__ import annotations

from pathlib import Path

import click

from harness.interface import options
from harness.system import files
from harness.system.document import document_of


@click.command(short_help="Recompute a certificate.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.as_json
def check(file: Path, as_json: bool) -> None:
    """Recompute the figures of FILE, a certificate of an estimator, without training and without data.

    If the ledger of the workspace contains the declaration, target, alpha, seeds, test errors, test size and data hash
    are compared with declaration and record. Exit code 4 and a line of explanation if a figure does not follow from the
    network, the seeds and the errors, or differs from the declaration.
    """
    from harness.evidence import certificate as certificates

    certificate = certificates.recomputed(file)
    is_declared = certificate.is_declared(file, files.workspace())
    basis = "target, alpha, seeds, test size, data hash and test errors are equal to the declaration and the record"
    if not is_declared:
        basis = "the ledger of this workspace does not contain the declaration: all stated values are taken on trust"
    options.print_result(as_json, document_of(certificate) | {"is_declared": is_declared}, f"{certificate}\n{basis}")
