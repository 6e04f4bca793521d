"""Control of a headless Chromium by the DevTools protocol over two pipes, without a driver or a library.

Tests that use the browser have the marker ``browser``. Without Chromium the tests are skipped, or fail if ``CI`` is
``true``.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_RELOADED = "Inspected target navigated or closed"  # Chromium's error message if a page load interrupts a command
# Limit for an answer; long, because the machine may be busy with parallel tests.
PATIENCE_SECONDS = 300.0


def find_program(names: tuple[str, ...], purpose: str) -> str:
    """Return the path of the first installed program; without a program, skip the test, or fail if ``CI`` is set."""
    program = next((path for name in names if (path := shutil.which(name))), None)
    if program is None:
        skip_or_fail(f"no {' or '.join(names)} on the PATH, which {purpose} needs")
    return program


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test, or fail if ``CI`` is ``true``: the build machine installs all programs that tests use."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; the build machine installs it, see .ci/run")
    pytest.skip(reason)


class Page:
    """A tab of the browser.

    Attributes:
        complaints: Errors and warnings of the console, and uncaught exceptions of scripts, in order.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = answers
        self._buffer = b""
        self._number = 0
        self._target: str | None = None
        self._session: str | None = None
        self._loaded: set[str] = set()
        self.complaints: list[str] = []

    def open(self, path: Path, *, dark: bool = False) -> None:
        self._session, previous = None, self._target
        self._target = self.send("Target.createTarget", url="about:blank")["targetId"]
        if previous is not None:
            self.send("Target.closeTarget", targetId=previous)
        self._session = self.send("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            self.send(f"{domain}.enable")
        self.send("Page.setLifecycleEventsEnabled", enabled=True)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.go(path.resolve().as_uri())

    def go(self, address: str) -> None:
        # Late events of previous pages have different loader ids.
        loader = self.send("Page.navigate", url=address)["loaderId"]
        while loader not in self._loaded:
            self._read()

    def reload(self) -> None:
        loads = len(self._loaded)
        self.send("Page.reload")
        while len(self._loaded) == loads:
            self._read()

    def evaluate(self, expression: str) -> Any:
        parameters = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        # The page of a running search reloads by script; a reload interrupts the evaluation, which is then repeated.
        while (answer := self._answer("Runtime.evaluate", parameters)).get("error", {}).get("message") == _RELOADED:
            pass
        answer = self._result("Runtime.evaluate", answer)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str, text: str = "") -> None:
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "End": 35, "Home": 36}
        codes |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        common = {"key": key, "code": key, "windowsVirtualKeyCode": codes.get(key, ord(key[0].upper()))}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._result(method, self._answer(method, parameters))

    def _result(self, method: str, answer: dict[str, Any]) -> dict[str, Any]:
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def _answer(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                return answer

    def _read(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], deadline - time.monotonic())
            assert ready, "the browser does not answer"
            data = os.read(self._answers, 1 << 16)
            assert data, "the browser has ended"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        method, parameters = message.get("method", ""), message.get("params", {})
        if method == "Page.lifecycleEvent" and parameters["name"] == "load":
            self._loaded.add(parameters["loaderId"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.complaints.append(parameters["entry"]["text"])


@contextmanager
def started(folder: Path) -> Iterator[Page]:
    """Start a browser with an empty profile in ``folder``, yield a tab, and terminate the browser afterwards."""
    program = find_program(NAMES, "a page's test")
    commands_out, commands_in = os.pipe()
    answers_out, answers_in = os.pipe()
    # Chromium reads commands from file descriptor 3 and writes answers to 4; the shell redirects the pipes.
    shell = f'exec "$0" "$@" 3<&{commands_out} 4>&{answers_in}'
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={folder}")
    process = subprocess.Popen(
        ["bash", "-c", shell, program, *options],
        pass_fds=(commands_out, answers_in),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(commands_out)
    os.close(answers_in)
    try:
        yield Page(commands_in, answers_out)
    finally:
        os.close(commands_in)
        process.terminate()
        process.wait(PATIENCE_SECONDS)
        os.close(answers_out)
