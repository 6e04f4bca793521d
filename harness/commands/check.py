"""``harness check``: a certificate, computed again."""

from __future__ import annotations

from pathlib import Path

import click

from harness.interface import options
from harness.system.document import document_of


@click.command(short_help="Compute a certificate again.")
@click.argument("file", type=click.Path(path_type=Path))
@options.as_json
def check(file: Path, as_json: bool) -> None:
    """Compute again what FILE, a certificate of an estimator, states; nothing is trained, and no data are needed.

    Exit code 4 and one line where something does not follow from the network, the seeds and their errors.
    """
    from harness.evidence.certificate import check as checked

    certificate = checked(file)
    options.answer(as_json, document_of(certificate), str(certificate))
