"""A copy of the scripts in a folder of its own, with a PATH under control.

The installation is played by a stub named ``python3`` on a PATH that holds nothing but the stub and the
few tools which the scripts call, so tests with it install nothing and need no network.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
TOOLS = (
    "bash",
    "chmod",
    "cksum",
    "cp",
    "dirname",
    "env",
    "grep",
    "mkdir",
    "mv",
    "readlink",
    "sed",
    "sleep",
    "tail",
)

# Answers `-m venv` and `-m pip` itself and notes each call; anything else goes to the real Python.
STUB = """#!/usr/bin/env bash
here=$(dirname "$0")
case "$*" in
    "-m venv "*)
        printf 'venv\\n' >>"$CALLS"
        mkdir -p "$3/bin"
        cp "$0" "$3/bin/python" ;;
    "-m pip install "*)
        printf 'pip %s\\n' "${*: -1}" >>"$CALLS"
        sleep "${PIP_SECONDS:-0}"
        printf 'Collecting torch\\n  Downloading torch-2.13.0.whl (180 MB)\\n'
        if [ -n "${DOES_NOT_FIT:-}" ] && [[ "$*" == *" --constraint constraints.txt "* ]]; then
            printf '%s\\n' "$DOES_NOT_FIT"; exit 1
        fi
        if [ -n "${PIP_FAILS:-}" ]; then printf '%s\\n' "$PIP_FAILS"; exit 1; fi
        printf '#!/usr/bin/env bash\\nprintf "%%s\\\\n" "$PWD" "$HARNESS_WORKSPACE" "$@"\\n' >"$here/harness"
        chmod +x "$here/harness" ;;
    "-m pytest --collect-only"*)
        sleep "${COMPILING_SECONDS:-0}"
        printf '%s, bytecode %s\\n' "${*:2}" "${PYTHONDONTWRITEBYTECODE:-kept}" >>"$CALLS" ;;
    "-m ruff "* | "-m mypy"* | "-m pytest"*)
        printf '%s\\n' "${*:2}" >>"$CALLS"
        printf '%s\\n' "${HARNESS_DATA:-no data}"
        [ "${CHECK_FAILS:-}" != "$2" ] ;;
    *"sys.version_info <"*) exec REAL -c "import sys; sys.version_info = ${VERSION:-(3, 11, 0)}; $2" ;;
    *"import ensurepip"*) exit "${NO_VENV:-0}" ;;
    *) exec REAL "$@" ;;
esac
""".replace("REAL", sys.executable)


@dataclass(frozen=True, slots=True)
class Checkout:
    """A copy of the scripts in a folder of its own, and a PATH under control."""

    root: Path
    path: Path
    calls_file: Path

    def start(self, script: str | Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        environment = {"PATH": str(self.path), "CALLS": str(self.calls_file), "HOME": str(self.root)}
        return subprocess.Popen(
            [str(self.root / script), *arguments],
            env=environment | variables,
            cwd=self.root.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str | Path, *arguments: str, **variables: str) -> tuple[int, str, str]:
        process = self.start(script, *arguments, **variables)
        stdout, stderr = process.communicate(timeout=60)
        return process.returncode, stdout, stderr

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


def bare(folder: Path) -> Checkout:
    """Return a checkout on a machine without Python."""
    root = folder / "a clone"
    for name in ("scripts", ".ci"):
        shutil.copytree(REPOSITORY / name, root / name)
    (root / "pyproject.toml").write_text("[project]\n")
    (root / "constraints.txt").write_text("torch==2.13.0\n")
    path = folder / "bin"
    path.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None, tool
        (path / tool).symlink_to(found)
    return Checkout(root, path, folder / "calls")


def with_python(checkout: Checkout) -> Checkout:
    """Return the checkout on a machine whose only Python is the stub."""
    stub = checkout.path / "python3"
    stub.write_text(STUB)
    stub.chmod(0o755)
    return checkout
