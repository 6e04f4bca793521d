"""The studies of a workspace by name, and the groups of studies that ``SmallestClassifier`` creates."""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from pathlib import Path

from harness.data.datasets import plain_name
from harness.spaces.space_errors import nearest
from harness.studies.config import read_config
from harness.system.errors import ContentError, UsageError, as_command
from harness.system.files import Workspace, file_state


def studies(workspace: Workspace) -> dict[str, Path]:
    """Return the folders of all studies by name, the most recently modified study last."""

    def last_change(folder: Path) -> tuple[int, str]:
        # A new study has no log yet, and a study that is being removed has no files.
        states = (file_state(folder / name) for name in ("log.jsonl", "config.json"))
        return next((time_ns for _, time_ns in filter(None, states)), 0), folder.name

    return {folder.name: folder for folder in sorted(workspace.studies(), key=last_change)}


def find_study(name: str, workspace: Workspace) -> Path | None:
    """Return the folder of a study, or None.

    ``name`` is the name of the study, or a path with a slash, of the folder or of ``report.html``.
    """
    runs = workspace.runs.resolve()
    folder = Path(name) if "/" in name else runs / name
    if folder.name == "report.html":
        folder = folder.parent
    # The folder may be a link, and a link may lead to a study.
    if folder.parent.resolve() != runs:
        folder = folder.resolve()
    return studies(workspace).get(folder.name) if folder.parent.resolve() == runs else None


def study_folder(name: str | None, workspace: Workspace) -> Path:
    """Return the folder of a study; ``name`` as for ``find_study``, or None for the most recently modified study.

    Raises:
        UsageError: There is no such study.
    """
    folders = studies(workspace)
    if not folders:
        raise UsageError(f"there is no study in {workspace.runs} yet", hint=f"'{as_command('search')}' starts a study")
    if name is None:
        return list(folders.values())[-1]
    if (folder := find_study(name, workspace)) is None:
        hint = nearest(name, folders) or f"existing studies: {', '.join(sorted(folders))}"
        raise UsageError(f"no study is named {name[:60]!r}", hint=hint)
    return folder


def fit_name(dataset: str) -> str:
    """Return a new name for the study of a fit; the name of the data set is ``GROUP-HASH``."""
    return f"{dataset}-{secrets.token_hex(4)}"


def group_of(study: str, dataset: str) -> str | None:
    """Return the group of a study named by ``fit_name``; None for all other studies."""
    return dataset.rpartition("-")[0] if re.fullmatch(f"{re.escape(dataset)}-[0-9a-f]{{8}}", study) else None


def studies_of(name: str, workspace: Workspace) -> list[Path]:
    """Return the folder of the study of this name, or else the folders of this group of studies.

    Raises:
        UsageError: There is neither a study nor a group of this name.
    """
    members = []
    if find_study(name, workspace) is None:
        group = plain_name(name)
        for folder in workspace.studies():
            # A damaged study belongs to no group.
            with suppress(ContentError):
                if group_of(folder.name, read_config(folder).config.dataset) == group:
                    members.append(folder)
    return members or [study_folder(name, workspace)]
