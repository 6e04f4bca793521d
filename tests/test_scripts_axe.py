"""How scripts/test brings axe-core, with a stub of npm."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checkout import Checkout, bare, with_python


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A checkout on a machine whose only Python is a stub."""
    return with_python(bare(tmp_path))


@pytest.fixture
def npm(checkout: Checkout) -> Path:
    """A stub of npm that notes its calls, and the lock file that it is to install."""
    stub = checkout.path / "npm"
    stub.write_text(
        '#!/usr/bin/env bash\nprintf "npm %s in %s\\n" "$*" "${PWD##*/}" >>"$CALLS"\n'
        'mkdir -p node_modules\nexit "${NPM_CODE:-0}"\n'
    )
    stub.chmod(0o755)
    lock = checkout.root / "tests" / "package-lock.json"
    lock.parent.mkdir()
    lock.write_text("{}")
    return lock


def test_the_test_script_installs_axe_once_for_each_lock_file(checkout: Checkout, npm: Path):
    for _ in range(2):
        code, stdout, _ = checkout.run("scripts/test", "-x")
        assert (code, "npm" in stdout) == (0, False)
    npm.write_text("another")
    checkout.run("scripts/test", "-x")

    call = "npm ci --ignore-scripts --no-audit --no-fund in tests"
    assert checkout.calls == ["venv", "pip .[dev]", call, "pytest -x", "pytest -x", call, "pytest -x"]


def test_the_tests_run_where_axe_cannot_be_installed(checkout: Checkout, npm: Path):
    for _ in range(2):
        code, _, stderr = checkout.run("scripts/test", "-x", NPM_CODE="1")
        assert code == 0
        assert "axe-core could not be installed" in stderr

    assert [call.split()[0] for call in checkout.calls] == ["venv", "pip", "npm", "pytest", "npm", "pytest"]
