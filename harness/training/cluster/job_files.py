"""The files of a job, as they travel: a node writes them in a folder of its own, the coordinator where they belong.

So no disk is shared. Teachers stay on the node that has trained them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from harness.system import files
from harness.training.run import Job

# Fields of a job that name a file which it writes; each is sent whole.
WRITTEN = ("checkpoint", "weights", "inspection")


def on_node(job: Job, folder: Path, teachers: Path) -> Job:
    """Return the job with all its files in a folder of the node, which no other job has."""

    def here(path: Path | None) -> Path | None:
        return None if path is None else folder / path.name

    return replace(
        job,
        checkpoint=here(job.checkpoint),
        weights=here(job.weights),
        inspection=here(job.inspection),
        test_log=here(job.test_log),
        teachers=None if job.teachers is None else teachers,
    )


def written(job: Job) -> dict[str, bytes]:
    """Return what a job has written, by the field that names the file."""
    found: dict[str, bytes] = {}
    for name in (*WRITTEN, "test_log"):
        path: Path | None = getattr(job, name)
        if path is not None and path.exists():
            found[name] = path.read_bytes()
    return found


def put(job: Job, content: Mapping[str, bytes]) -> None:
    """Write the files of a job where they belong; lines of the log of reads are added to those that are there.

    Raises:
        UsageError: a file cannot be written.
    """
    for name, written_bytes in content.items():
        path: Path | None = getattr(job, name)
        assert path is not None, "a node returns only what was asked for"
        if name == "test_log":
            for line in written_bytes.decode().splitlines():
                files.append_line(path, line)
        else:
            files.write_bytes(path, written_bytes)
