"""Scripts of the repository: installation, calls of the tools, messages and exit codes.

The scripts run in a copy of the repository. The PATH contains only the tools of ``TOOLS`` and a stub named ``python3``,
which simulates the installation; the tests install no packages and need no network.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.conftest import REPOSITORY

EXECUTABLE_SCRIPTS = ("scripts/harness", "scripts/test", "scripts/check", ".ci/run")
TOOLS = ["bash", "cat", "chmod", "cksum", "cp", "dirname", "env", "grep", "mkdir", "mktemp", "mv", "readlink"]
TOOLS += ["rm", "sed", "sleep", "tail"]
ENVIRONMENT_ERROR = 6
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ALL_TESTS = "pytest --numprocesses auto --dist loadfile --no-loadscope-reorder"
COMPILED = "pytest --collect-only --quiet, bytecode kept"
# Simulates and records the calls of venv, pip, pytest, ruff and mypy; forwards all remaining calls to Python.
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
        printf '#!/usr/bin/env bash\\nprintf "%%s\\\\n" "$PWD" "$HARNESS_WORKSPACE" "$HARNESS_COMMAND" "$@"\\n' \
            >"$here/harness"
        chmod +x "$here/harness" ;;
    "-m pytest --collect-only"*)
        sleep "${COMPILING_SECONDS:-0}"
        printf '%s, bytecode %s\\n' "${*:2}" "${PYTHONDONTWRITEBYTECODE:-kept}" >>"$CALLS" ;;
    "-c from harness"*) ;; # compiles the engine
    "-m ruff "* | "-m mypy"* | "-m pytest"*)
        printf '%s\\n' "${*:2}" >>"$CALLS"
        if [ "$2" = mypy ]; then sleep "${CHECKING_SECONDS:-0}"; fi
        if [ "$2" = pytest ]; then sleep "${TESTING_SECONDS:-0}"; fi
        printf '%s\\n' "${HARNESS_DATA:-no data}"
        [ "${CHECK_FAILS:-}" != "$2" ] ;;
    *"sys.version_info <"*) exec REAL -c "import sys; sys.version_info = ${VERSION:-(3, 11, 0)}; $2" ;;
    *"import ensurepip"*) exit "${NO_VENV:-0}" ;;
    *) exec REAL "$@" ;;
esac
""".replace("REAL", sys.executable)


def _reset_signals() -> None:
    """Reset ignored and blocked signals, which a script would inherit: nohup ignores SIGHUP, background jobs SIGINT."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@dataclass(frozen=True, slots=True)
class Checkout:
    """A copy of the scripts in a temporary folder, and a controlled PATH."""

    root: Path
    path: Path
    calls_file: Path

    def add_program(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)
        (self.path / name).chmod(0o755)

    def start(self, script: str | Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        environment = {"PATH": str(self.path), "CALLS": str(self.calls_file), "HOME": str(self.root)}
        return subprocess.Popen(
            [str(self.root / script), *arguments],
            env=environment | variables,
            cwd=self.root.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=_reset_signals,
        )

    def run(self, script: str | Path, *arguments: str, **variables: str) -> tuple[int, str, str]:
        process = self.start(script, *arguments, **variables)
        stdout, stderr = process.communicate(timeout=60)
        return process.returncode, stdout, stderr

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


@pytest.fixture
def bare_checkout(tmp_path: Path) -> Checkout:
    root = tmp_path / "a clone"
    for name in ("scripts", ".ci"):
        shutil.copytree(REPOSITORY / name, root / name)
    (root / "pyproject.toml").write_text("[project]\n")
    (root / "constraints.txt").write_text("torch==2.13.0\n")
    path = tmp_path / "bin"
    path.mkdir()
    for tool in TOOLS:
        (path / tool).symlink_to(str(shutil.which(tool)))
    return Checkout(root, path, tmp_path / "calls")


@pytest.fixture
def checkout(bare_checkout: Checkout) -> Checkout:
    bare_checkout.add_program("python3", STUB)
    return bare_checkout


@pytest.mark.parametrize("name", [*EXECUTABLE_SCRIPTS, "scripts/environment"])
def test_script_is_valid_bash_and_executable(name: str):
    subprocess.run(["bash", "-n", REPOSITORY / name], check=True)
    assert os.access(REPOSITORY / name, os.X_OK) == (name in EXECUTABLE_SCRIPTS)


def test_first_call_installs_and_all_calls_pass_arguments_on(checkout: Checkout):
    root = checkout.root
    code, stdout, stderr = checkout.run("scripts/harness", "explain", "conv3x3(8) | gap", "")

    assert code == 0
    assert stdout.splitlines() == [
        str(root.parent),
        str(root),
        f"{root}/scripts/harness",
        "explain",
        "conv3x3(8) | gap",
        "",
    ]
    assert f"harness: installing into {root}/.venv with" in stderr
    assert "harness: Downloading torch-2.13.0.whl (180 MB)" in stderr
    assert "Collecting torch" in (root / ".venv/install.log").read_text()
    # HARNESS_WORKSPACE is kept if set, and a symbolic link resolves to the repository.
    code, stdout, stderr = checkout.run("scripts/harness", HARNESS_WORKSPACE="elsewhere", HARNESS_COMMAND="another")
    assert (code, stdout.splitlines()[1:], stderr) == (0, ["elsewhere", f"{root}/scripts/harness"], "")
    link = root.parent / "harness"
    link.symlink_to("a clone/scripts/harness")
    assert checkout.run(link)[1].splitlines()[:2] == [str(root.parent), str(root)]
    assert checkout.calls == ["venv", "pip ."]


@pytest.mark.parametrize("change", ["pyproject.toml", "constraints.txt", "moved"])
def test_changed_or_moved_checkout_is_installed_again(checkout: Checkout, change: str):
    checkout.run("scripts/harness")
    root = checkout.root
    if change == "moved":
        root = root.rename(root.with_name(change))
    else:
        (root / change).write_text("# changed\n")

    assert checkout.run(root / "scripts/harness")[1].splitlines()[1] == str(root)
    assert checkout.calls == ["venv", "pip ."] * 2


@pytest.mark.parametrize(
    ("output", "tries"),
    [
        ("ERROR: No matching distribution found for torch==2.13.0", 2),
        ("ERROR: ResolutionImpossible: for help visit", 2),
        ("OSError: [Errno 28] No space left on device", 1),
    ],
)
def test_unpinned_versions_are_installed_only_if_pinned_versions_conflict(checkout: Checkout, output: str, tries: int):
    code, _, stderr = checkout.run("scripts/harness", DOES_NOT_FIT=output)

    assert code == (0 if tries == 2 else ENVIRONMENT_ERROR)
    assert checkout.calls == ["venv", *["pip ."] * tries]
    assert ("constraints.txt" in stderr) == (tries == 2)


def test_pinned_versions_satisfy_requirements():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pins = dict(line.lower().split("==") for line in lines if not line.startswith("#"))

    for text in [*project["dependencies"], *extras["dev"], *extras["export"], *extras["cluster"]]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pins[requirement.name.lower()]), text


def test_simultaneous_first_calls_install_once(checkout: Checkout):
    processes = [checkout.start("scripts/harness", name, PIP_SECONDS="0.5") for name in ("one", "two")]
    outputs = [process.communicate(timeout=60) for process in processes]

    assert [process.returncode for process in processes] == [0, 0]
    assert [stdout.splitlines()[3:] for stdout, _ in outputs] == [["one"], ["two"]]
    assert checkout.calls == ["venv", "pip ."]
    assert sum("another installation is running here" in stderr for _, stderr in outputs) == 1


def test_interrupted_or_failed_installation_is_repeated(checkout: Checkout):
    with checkout.start("scripts/harness", PIP_SECONDS="1") as process:
        while not checkout.calls[1:]:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    code, stdout, stderr = checkout.run("scripts/harness", PIP_FAILS="OSError: [Errno 28] No space left on device")
    assert (code, stdout) == (ENVIRONMENT_ERROR, "")
    assert "    | OSError: [Errno 28] No space left on device\n" in stderr

    assert checkout.run("scripts/harness")[0] == 0
    assert checkout.calls == ["venv", "pip ."] * 3


@pytest.mark.parametrize("script", ["scripts/harness", "scripts/test", "scripts/check"])
def test_missing_or_unsuitable_python_is_reported(bare_checkout: Checkout, script: str):
    code, stdout, stderr = bare_checkout.run(script)
    assert (code, stdout) == (ENVIRONMENT_ERROR, "")
    assert "3.11" in stderr
    assert not (bare_checkout.root / ".venv").exists()

    bare_checkout.add_program("python3", STUB)
    for variables in ({"VERSION": "(3, 10, 14)"}, {"NO_VENV": "1"}):
        code, _, stderr = bare_checkout.run(script, **variables)
        assert code == ENVIRONMENT_ERROR
        assert f"{bare_checkout.path}/python3" in stderr


@pytest.mark.parametrize("obstacle", [".venv", ".venv/lock/x"])
def test_environment_folder_that_cannot_be_created_is_named(checkout: Checkout, obstacle: str):
    blocked = checkout.root / obstacle
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.touch()

    code, stdout, stderr = checkout.run("scripts/harness")

    assert (code, stdout, checkout.calls) == (ENVIRONMENT_ERROR, "", [])
    assert f"harness: cannot create {checkout.root}/.venv" in stderr


def test_test_script_checks_style_and_compiles_before_tests_and_checks_types(checkout: Checkout):
    code, _, _ = checkout.run("scripts/test", COMPILING_SECONDS="1", PYTHONDONTWRITEBYTECODE="1")

    assert code == 0
    without_types = [call for call in checkout.calls if call != "mypy"]
    assert checkout.calls.count("mypy") == 1
    assert without_types == ["venv", "pip .[dev]", "ruff check .", "ruff format --check .", COMPILED, ALL_TESTS]


@pytest.mark.parametrize(("tool", "are_tests_run"), [("ruff", False), ("mypy", True)])
def test_style_error_prevents_tests_and_type_error_is_reported_after_tests(
    tool: str, are_tests_run: bool, checkout: Checkout
):
    code, _, stderr = checkout.run("scripts/test", CHECK_FAILS=tool, HARNESS_DATA="printed by the stub")

    assert code != 0
    assert (ALL_TESTS in checkout.calls, COMPILED in checkout.calls) == (are_tests_run, are_tests_run)
    assert not are_tests_run or "printed by the stub" in stderr


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize(("phase", "call"), [("COMPILING", "ruff format --check ."), ("TESTING", ALL_TESTS)])
def test_signal_ends_script_and_child_processes(checkout: Checkout, phase: str, call: str, number: signal.Signals):
    process = checkout.start("scripts/test", **{f"{phase}_SECONDS": "30", "CHECKING_SECONDS": "30"})
    deadline = time.monotonic() + 30
    while call not in checkout.calls and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(number)
    assert process.wait(timeout=10) == 128 + number
    time.sleep(0.5)
    search = ["pgrep", "-s", str(process.pid), "-f", "pytest|mypy"]
    survivors = subprocess.run(search, capture_output=True, text=True, check=False).stdout
    with suppress(ProcessLookupError):  # the sleeping children of the stub
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert survivors == ""
    assert (ALL_TESTS in checkout.calls) == (call == ALL_TESTS)


def test_command_reuses_environment_of_tests_but_checks_no_environment_of_command(checkout: Checkout):
    # A broken shim of Python is skipped.
    checkout.add_program("python3.12", "#!/usr/bin/env bash\nexit 127\n")
    checkout.run("scripts/test", "-m", "slow")
    assert checkout.run("scripts/harness")[0] == 0
    assert checkout.calls == ["venv", "pip .[dev]", "pytest -m slow"]

    shutil.rmtree(checkout.root / ".venv")
    checkout.run("scripts/harness")
    checkout.run("scripts/check")
    assert checkout.calls[3:7] == ["venv", "pip .", "venv", "pip .[dev]"]


@pytest.mark.parametrize("code", ["0", "1"])
def test_test_script_installs_axe_once_per_lock_file_and_runs_without_axe(checkout: Checkout, code: str):
    npm = '#!/usr/bin/env bash\nprintf "npm %s in %s\\n" "$*" "${PWD##*/}" >>"$CALLS"\nmkdir -p node_modules\n'
    checkout.add_program("npm", npm + f"exit {code}\n")
    lock = checkout.root / "tests" / "package-lock.json"
    lock.parent.mkdir()
    for text in ("{}", "{}", "another"):
        lock.write_text(text)
        _, stdout, stderr = checkout.run("scripts/test", "-x")
        assert "npm" not in stdout
        assert ("axe-core could not be installed" in stderr) == (code == "1")

    npm_call = "npm ci --ignore-scripts --no-audit --no-fund in tests"
    second_call = [npm_call] if code == "1" else []
    runs = [npm_call, "pytest -x", *second_call, "pytest -x", npm_call, "pytest -x"]
    assert checkout.calls == ["venv", "pip .[dev]", *runs]


@pytest.mark.parametrize("has_data", [True, False])
def test_build_uses_data_beside_the_repository(checkout: Checkout, has_data: bool):
    data = checkout.root.parent / "shared/mnist"
    if has_data:
        data.mkdir(parents=True)

    code, stdout, _ = checkout.run(".ci/run")

    assert (code, stdout.splitlines()[-1]) == (0, str(data) if has_data else "no data")
    # Without git the changed folders are unknown, so all nightly tests run as well.
    flags = " ".join(f"--ignore=tests/golden/test_{name}.py" for name in ("commands", "draws", "evidence", "networks"))
    goldens = f"pytest --numprocesses auto --dist worksteal {flags} tests/golden"
    pytest_calls = [call for call in checkout.calls if call.startswith("pytest")]
    assert pytest_calls[-2:] == [f"{ALL_TESTS} -m not slow and not gpu", goldens]


NIGHTLY = f"{ALL_TESTS} -m (nightly or browser or office) and not slow"
WITH_NIGHTLY = f"{ALL_TESTS} -m not slow and not gpu"


@pytest.mark.parametrize(
    ("changed_file", "runs"),
    [
        ("search_spaces/mine.space", [ALL_TESTS, f"{NIGHTLY} tests/harness tests/measurements"]),
        ("harness/searching/loop.py", [ALL_TESTS, f"{NIGHTLY} tests/harness tests/measurements"]),
        ("docs/index.md", [ALL_TESTS]),
        ("pyproject.toml", [WITH_NIGHTLY]),
        (None, [WITH_NIGHTLY]),
    ],
)
def test_nightly_tests_run_for_changed_folders(checkout: Checkout, changed_file: str | None, runs: list[str]):
    (checkout.path / "git").symlink_to(str(shutil.which("git")))
    git = ["git", "-C", str(checkout.root), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "main"]):
        subprocess.run([*git, *command], check=True)
    subprocess.run([*git, "update-ref", "refs/remotes/origin/main", "HEAD"], check=True)
    if changed_file is not None:
        (checkout.root / changed_file).parent.mkdir(parents=True, exist_ok=True)
        (checkout.root / changed_file).write_text("# changed\n")
        subprocess.run([*git, "add", "-f", changed_file], check=True)
        subprocess.run([*git, "commit", "-q", "-m", "change"], check=True)

    assert checkout.run(".ci/run")[0] == 0

    assert [call for call in checkout.calls if call.startswith(ALL_TESTS)] == runs
