"""``harness check``: recompute a certificate."""

from __future__ import annotations

from pathlib import Path

import click

from harness.interface import options
from harness.system.document import document_of


@click.command(short_help="Recompute a certificate.")
@click.argument("file", type=click.Path(path_type=Path))
@options.as_json
def check(file: Path, as_json: bool) -> None:
    """Recompute the figures of FILE, a certificate of an estimator, without training and without data.

    Exit code 4 and a line of explanation if a figure does not follow from the network, the seeds and the errors.
    """
    from harness.evidence.certificate import check as checked

    certificate = checked(file)
    options.answer(as_json, document_of(certificate), str(certificate))
