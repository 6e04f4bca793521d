"""The studies of a workspace by name, and the groups of studies that ``SmallestClassifier`` creates."""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from pathlib import Path

from harness.data.datasets import plain_name
from harness.studies.config import read_config
from harness.system.errors import ContentError, UsageError, as_command
from harness.system.files import Workspace
from search_spaces.space_errors import nearest


def studies(workspace: Workspace) -> dict[str, Path]:
    """Return the folders of all studies by name, the most recently modified study last."""

    def worked_on(folder: Path) -> tuple[float, str]:
        log = folder / "log.jsonl"
        return (log if log.exists() else folder / "config.json").stat().st_mtime, folder.name

    return {path.name: path for path in sorted(workspace.studies(), key=worked_on)}


def find_study(name: str, workspace: Workspace) -> Path | None:
    """Return the folder of a study, given its name or the path of its folder or report; None if unknown."""
    path = Path(name).resolve() if "/" in name else workspace.runs.resolve() / name
    path = path.parent if path.name == "report.html" else path
    return studies(workspace).get(path.name) if path.parent == workspace.runs.resolve() else None


def read_study(name: str | None, workspace: Workspace) -> Path:
    """Return the folder of a study, given as for ``find_study``; None means the latest study."""
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
    """Return a new name for the study of a fit; ``dataset`` is the name of the data set, the group and a hash."""
    return f"{dataset}-{secrets.token_hex(4)}"


def group_of(study: str, dataset: str) -> str | None:
    """Return the group of a study named by ``fit_name``; None for all other studies."""
    return dataset.rpartition("-")[0] if re.fullmatch(f"{re.escape(dataset)}-[0-9a-f]{{8}}", study) else None


def studies_of(name: str, workspace: Workspace) -> list[Path]:
    """Return the folders of the study or group of this name; UsageError if there is neither."""
    members = []
    group = plain_name(name)
    if find_study(name, workspace) is None:
        for folder in workspace.studies():
            # A damaged study belongs to no group.
            with suppress(ContentError):
                if group_of(folder.name, read_config(folder).config.dataset) == group:
                    members.append(folder)
    return members or [read_study(name, workspace)]
