"""The scripts that people start: what they set up, what they say when they cannot.

They run in a copy of the repository where a stub plays the installation, see ``tests/checkout.py``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.checkout import REPOSITORY, Checkout, bare, with_python

STARTED = ("scripts/harness", "scripts/test", "scripts/check", ".ci/run")
ENVIRONMENT_ERROR = 6


ALL_TESTS = "pytest --numprocesses auto --dist loadfile --no-loadscope-reorder"
COMPILED = "pytest --collect-only --quiet, bytecode kept"


@pytest.fixture
def bare_checkout(tmp_path: Path) -> Checkout:
    """A checkout on a machine without Python."""
    return bare(tmp_path)


@pytest.fixture
def checkout(bare_checkout: Checkout) -> Checkout:
    """A checkout on a machine whose only Python is the stub."""
    return with_python(bare_checkout)


@pytest.mark.parametrize("name", STARTED)
def test_a_script_can_be_started(name: str):
    assert os.access(REPOSITORY / name, os.X_OK)


@pytest.mark.parametrize("name", [*STARTED, "scripts/environment"])
def test_a_script_is_valid_bash(name: str):
    run = subprocess.run(["bash", "-n", REPOSITORY / name], capture_output=True, text=True, check=False)

    assert (run.returncode, run.stderr) == (0, "")


def test_the_first_call_installs_and_passes_everything_on(checkout: Checkout):
    code, stdout, stderr = checkout.run("scripts/harness", "explain", "conv3x3(8) | gap", "")

    assert code == 0
    assert stdout.splitlines() == [
        str(checkout.root.parent),
        str(checkout.root),
        "explain",
        "conv3x3(8) | gap",
        "",
    ]
    assert checkout.calls == ["venv", "pip ."]
    assert f"harness: installing into {checkout.root}/.venv with" in stderr
    assert "harness: Downloading torch-2.13.0.whl (180 MB)" in stderr
    assert "Collecting torch" in (checkout.root / ".venv/install.log").read_text()


def test_the_second_call_installs_nothing_and_keeps_a_workspace_that_is_set(checkout: Checkout):
    checkout.run("scripts/harness")

    code, stdout, stderr = checkout.run("scripts/harness", HARNESS_WORKSPACE="elsewhere")

    assert (code, stderr) == (0, "")
    assert stdout.splitlines()[1] == "elsewhere"
    assert checkout.calls == ["venv", "pip ."]


def test_the_command_is_told_what_was_typed(checkout: Checkout):
    checkout.run("scripts/harness")
    (checkout.root / ".venv/bin/harness").write_text('#!/usr/bin/env bash\nprintf "%s" "$HARNESS_COMMAND"\n')

    _, stdout, _ = checkout.run("scripts/harness", HARNESS_COMMAND="another")

    assert stdout == f"{checkout.root}/scripts/harness"


def test_a_link_to_the_script_finds_its_repository(checkout: Checkout):
    link = checkout.root.parent / "harness"
    link.symlink_to("a clone/scripts/harness")

    code, stdout, _ = checkout.run(link)

    assert code == 0
    assert stdout.splitlines() == [str(checkout.root.parent), str(checkout.root)]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_what_was_changed_is_installed_again(checkout: Checkout, name: str):
    checkout.run("scripts/harness")
    (checkout.root / name).write_text("# changed\n")

    checkout.run("scripts/harness")

    assert checkout.calls == ["venv", "pip ."] * 2


@pytest.mark.parametrize(
    "output", ["ERROR: No matching distribution found for torch==2.13.0", "ERROR: ResolutionImpossible: for help visit"]
)
def test_where_the_exact_versions_do_not_fit_others_are_installed(checkout: Checkout, output: str):
    code, _, stderr = checkout.run("scripts/harness", DOES_NOT_FIT=output)

    assert code == 0
    assert checkout.calls == ["venv", "pip .", "pip ."]
    assert "constraints.txt" in stderr


def test_where_installing_the_exact_versions_fails_otherwise_no_others_are_tried(checkout: Checkout):
    code, _, _ = checkout.run("scripts/harness", DOES_NOT_FIT="OSError: [Errno 28] No space left on device")

    assert (code, checkout.calls) == (ENVIRONMENT_ERROR, ["venv", "pip ."])


def test_the_exact_versions_are_those_that_the_project_allows():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    exact = dict(line.lower().split("==") for line in lines if not line.startswith("#"))

    for text in [*project["dependencies"], *extras["dev"], *extras["export"], *extras["cluster"]]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(exact[wanted.name.lower()]), text


def test_a_clone_that_was_moved_is_installed_again(checkout: Checkout):
    checkout.run("scripts/harness")
    moved = checkout.root.with_name("moved")
    checkout.root.rename(moved)

    code, stdout, _ = checkout.run(moved / "scripts/harness")

    assert code == 0
    assert stdout.splitlines()[1] == str(moved)
    assert checkout.calls == ["venv", "pip ."] * 2


def test_two_first_calls_at_once_install_once(checkout: Checkout):
    both = [checkout.start("scripts/harness", name, PIP_SECONDS="0.5") for name in ("one", "two")]
    outputs = [process.communicate(timeout=60) for process in both]

    assert [process.returncode for process in both] == [0, 0]
    assert [stdout.splitlines()[2:] for stdout, _ in outputs] == [["one"], ["two"]]
    assert checkout.calls == ["venv", "pip ."]
    assert sum("another installation is running here" in stderr for _, stderr in outputs) == 1


def test_an_interrupted_installation_is_repeated(checkout: Checkout):
    process = checkout.start("scripts/harness", PIP_SECONDS="1")
    with process:
        while not checkout.calls[1:]:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()

    code, _, _ = checkout.run("scripts/harness")

    assert code == 0
    assert checkout.calls == ["venv", "pip ."] * 2


def test_a_failed_installation_shows_its_end_and_is_repeated(checkout: Checkout):
    code, stdout, stderr = checkout.run("scripts/harness", PIP_FAILS="OSError: [Errno 28] No space left on device")
    repeated, _, _ = checkout.run("scripts/harness")

    assert (code, stdout, repeated) == (ENVIRONMENT_ERROR, "", 0)
    assert "    | OSError: [Errno 28] No space left on device\n" in stderr
    assert checkout.calls == ["venv", "pip ."] * 2


@pytest.mark.parametrize("script", ["scripts/harness", "scripts/test", "scripts/check"])
def test_without_python_the_message_names_what_is_needed(bare_checkout: Checkout, script: str):
    code, stdout, stderr = bare_checkout.run(script)

    assert (code, stdout) == (ENVIRONMENT_ERROR, "")
    assert "3.11" in stderr
    assert not (bare_checkout.root / ".venv").exists()


@pytest.mark.parametrize("what", [{"VERSION": "(3, 10, 14)"}, {"NO_VENV": "1"}])
def test_a_python_that_does_not_serve_is_named(checkout: Checkout, what: dict[str, str]):
    code, _, stderr = checkout.run("scripts/harness", **what)

    assert code == ENVIRONMENT_ERROR
    assert f"{checkout.path}/python3" in stderr


def test_a_shim_that_does_not_work_is_passed_over(checkout: Checkout):
    shim = checkout.path / "python3.12"
    shim.write_text("#!/usr/bin/env bash\nexit 127\n")
    shim.chmod(0o755)

    code, _, _ = checkout.run("scripts/harness")

    assert code == 0


@pytest.mark.parametrize("obstacle", [".venv", ".venv/lock/x"])
def test_a_folder_that_cannot_be_set_up_is_named(checkout: Checkout, obstacle: str):
    blocked = checkout.root / obstacle
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.touch()

    code, stdout, stderr = checkout.run("scripts/harness")

    assert (code, stdout) == (ENVIRONMENT_ERROR, "")
    assert f"harness: cannot create {checkout.root}/.venv" in stderr
    assert checkout.calls == []


def test_the_test_script_checks_first_and_then_runs_the_tests(checkout: Checkout):
    code, _, _ = checkout.run("scripts/test")

    assert code == 0
    calls = checkout.calls
    # The tests are compiled beside the checks.
    compiled = calls.index(COMPILED)
    assert 2 <= compiled < len(calls) - 1
    assert [*calls[:compiled], *calls[compiled + 1 :]] == [
        "venv",
        "pip .[dev]",
        "ruff check .",
        "ruff format --check .",
        "mypy",
        ALL_TESTS,
    ]


def test_the_tests_begin_when_they_are_compiled(checkout: Checkout):
    checkout.run("scripts/test", COMPILING_SECONDS="1", PYTHONDONTWRITEBYTECODE="1")

    assert checkout.calls[-2:] == [COMPILED, ALL_TESTS]


def test_where_a_check_fails_no_test_is_run_and_nothing_goes_on(checkout: Checkout):
    code, _, _ = checkout.run("scripts/test", CHECK_FAILS="mypy", COMPILING_SECONDS="1")

    assert code != 0
    time.sleep(1.5)
    assert not {COMPILED, ALL_TESTS} & set(checkout.calls)


def test_the_test_script_passes_arguments_to_pytest_alone(checkout: Checkout):
    checkout.run("scripts/test", "-m", "slow")

    assert checkout.calls == ["venv", "pip .[dev]", "pytest -m slow"]


@pytest.mark.parametrize(
    ("scripts", "installed"),
    [
        (("scripts/check", "scripts/harness"), ["pip .[dev]"]),
        (("scripts/harness", "scripts/check"), ["pip .", "pip .[dev]"]),
    ],
)
def test_what_the_tests_need_serves_the_command_too(checkout: Checkout, scripts: tuple[str, ...], installed: list[str]):
    for script in scripts:
        checkout.run(script)

    assert [call for call in checkout.calls if call.startswith("pip")] == installed


@pytest.mark.parametrize("there", [True, False])
def test_the_build_machine_tests_on_the_data_beside_the_repository(checkout: Checkout, there: bool):
    data = checkout.root.parent / "shared/mnist"
    if there:
        data.mkdir(parents=True)

    code, stdout, _ = checkout.run(".ci/run")

    assert code == 0
    assert stdout.splitlines()[-1] == (str(data) if there else "no data")
    # Nothing says what has changed since the main branch, so that all that is nightly runs too.
    nightly = f"{ALL_TESTS} -m (nightly or browser or office) and not slow tests"
    goldens = "pytest --numprocesses auto --dist worksteal --ignore tests/golden/test_commands.py tests/golden"
    assert checkout.calls[-3:] == [ALL_TESTS, goldens, nightly]


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


@pytest.mark.parametrize(
    ("changed", "folders"),
    [
        ("reports/page.py", "tests/reports"),
        ("harness/searching/loop.py", "tests/harness tests/benchmarks"),
        ("docs/usage.md", None),
        ("pyproject.toml", "tests"),
        (None, "tests"),
    ],
)
def test_what_is_nightly_runs_where_its_folder_changed(checkout: Checkout, changed: str | None, folders: str | None):
    (checkout.path / "git").symlink_to(str(shutil.which("git")))
    git = ["git", "-C", str(checkout.root), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "main"]):
        subprocess.run([*git, *command], check=True)
    subprocess.run([*git, "update-ref", "refs/remotes/origin/main", "HEAD"], check=True)
    if changed is not None:
        (checkout.root / changed).parent.mkdir(parents=True, exist_ok=True)
        (checkout.root / changed).write_text("# changed\n")
        subprocess.run([*git, "add", "-f", changed], check=True)
        subprocess.run([*git, "commit", "-q", "-m", "change"], check=True)

    assert checkout.run(".ci/run")[0] == 0

    nightly = [call.partition(" and not slow ")[2] for call in checkout.calls if "nightly" in call]
    assert nightly == ([] if folders is None else [folders])
