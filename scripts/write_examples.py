"""Write the example pages from committed files and the MNIST images (``HARNESS_DATA``) only.

    python scripts/write_examples.py [FOLDER]

FOLDER is ``reports/`` by default.
"""

from __future__ import annotations

import json
import os
import sys
import tarfile
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = REPOSITORY / "reports"
# Import the package of this checkout, even if a different version is installed.
sys.path.insert(0, str(REPOSITORY))

from harness.bench.bench_page import write_bench_page  # noqa: E402
from harness.bench.comparison import Comparison, Judged, Trace, findings  # noqa: E402
from harness.data.training_images import load  # noqa: E402
from harness.evidence.bounds import VERIFIED_CONFIDENCE  # noqa: E402
from harness.evidence.leaderboard_table import survey  # noqa: E402
from harness.evidence.ledger import Declaration  # noqa: E402
from harness.evidence.record import Record, read  # noqa: E402
from harness.interface.formats import format_of  # noqa: E402
from harness.pages import study_page  # noqa: E402
from harness.pages.board import write_leaderboard  # noqa: E402
from harness.pages.study_facts import read_study  # noqa: E402
from harness.system.document import document_of, read_as  # noqa: E402
from harness.system.files import Workspace  # noqa: E402
from harness.toy import toy_page  # noqa: E402

_STUDY = "mnist-card-20000-0a1b2c"  # study of ``_STUDIES``
_STUDIES = REPOSITORY / "tests" / "golden" / "studies.tar.xz"
_COMPARISON = PAGES / "bench"  # design, repeats and judged answers, copied from the folder of ``harness bench run``
_INTEGER_RECORD = REPOSITORY / "records" / "3a5223f54152-e48975600a06-mnist-99_4.json"


def pages() -> dict[str, str]:
    """Return the example pages by file name."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        evidence = survey(workspace)
        rows = tuple(row for row in evidence.rows if row.tier.is_proven)
        leaderboard = write_leaderboard(workspace, evidence._replace(rows=rows))
        return {
            "study.html": _study(Workspace(Path(folder) / "archive")),
            "leaderboard.html": leaderboard.read_text(encoding="utf-8"),
            "bench.html": _bench(workspace.root),
            "toy.html": toy_page.render(),
            "try.html": _tryout(workspace),
        }


def _study(workspace: Workspace) -> str:
    with tarfile.open(_STUDIES) as archive:
        archive.extractall(workspace.root, filter="data")
    # The archived studies have an old layout with the records beside the runs.
    (workspace.root / "records").rename(workspace.records)
    # The archive has no ledger, so declare the seeds.
    lines = [_declaration(read(path)) for path in sorted(workspace.records.glob("*-*.json"))]
    workspace.ledger.write_text("".join(lines), encoding="utf-8")
    return study_page.page(read_study(workspace.study(_STUDY), workspace))


def _declaration(record: Record) -> str:
    """Return the line of the ledger that declares the seeds of a record an hour before the first seed."""
    indices = tuple(run.index for run in record.seeds)
    declared_utc = datetime.fromisoformat(record.seeds[0].started_utc) - timedelta(hours=1)
    fields = {"declared_utc": declared_utc.isoformat(), "look_alpha": round(1 - VERIFIED_CONFIDENCE, 9)}
    return json.dumps(document_of(Declaration(indices=indices, **record.key._asdict(), **fields))) + "\n"


def _bench(folder: Path) -> str:
    design = read_as(Comparison, (_COMPARISON / "comparison.json").read_bytes(), "the comparison")
    judged = read_as(Judged, (_COMPARISON / "judged.json").read_bytes(), "the judged answers")
    lines = (_COMPARISON / "traces.jsonl").read_text(encoding="utf-8").splitlines()
    traces = [read_as(Trace, line, "a trace") for line in lines]
    return write_bench_page(folder, design, findings(design, traces, judged)).read_text(encoding="utf-8")


def _tryout(workspace: Workspace) -> str:
    record = read(_INTEGER_RECORD)
    index = record.kept_indices(workspace.records)[0]
    images = load("mnist", Path(os.environ["HARNESS_DATA"]))
    return format_of("c").tryout_page(record, index, workspace, images)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGES
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
