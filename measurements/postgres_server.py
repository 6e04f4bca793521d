"""Private PostgreSQL server in a temporary folder that can be killed and restarted.

PostgreSQL refuses to run as root, so root starts the server as the user ``postgres`` or ``nobody``.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER = "searcher"
PASSWORD = "s3cret/word"  # with a character that a URL must encode
PATIENCE_SECONDS = 120.0  # longest wait for an answer of the server


@dataclass(slots=True)
class Server:
    """Server that listens on localhost.

    Attributes:
        programs: Folder of the PostgreSQL programs.
        folder: Folder of the data, the log and the socket.
        port: TCP port.
        process: Server process; None before the start and after a kill.
    """

    programs: Path
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def url(self, password: str = "s3cret%2Fword") -> str:
        """Return the URL of the database; ``password`` is percent-encoded."""
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start the server and wait for an answer; retry while remains of a killed server block the start."""
        command = [f"{self.programs}/postgres", "-D", f"{self.folder}/data", "-p", str(self.port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}"]
        until = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            assert time.monotonic() < until, (self.folder / "log").read_text()
            if self.process is None or self.process.poll() is not None:
                with (self.folder / "log").open("ab") as log:
                    self.process = subprocess.Popen(command, stdout=log, stderr=log, **unprivileged())
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill the server with SIGKILL; the child processes end by themselves."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        """Shut the server down without waiting for clients (SIGINT, fast shutdown)."""
        if self.process is not None:
            self.hang(stopped=False)
            self.process.send_signal(signal.SIGINT)
            self.process.wait()

    def hang(self, *, stopped: bool) -> None:
        """Suspend the server and all children (SIGSTOP), or resume the processes (SIGCONT)."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for number in (self.process.pid, *map(int, children)):
            # The child of a client that has just disconnected may have ended since ``children`` was read.
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGSTOP if stopped else signal.SIGCONT)

    def _answers(self) -> bool:
        ask = [f"{self.programs}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return self.process is not None and subprocess.run(ask, check=False).returncode == 0


def unprivileged() -> dict[str, Any]:
    """Return the arguments of ``subprocess`` that drop root privileges; empty for a normal user."""
    if os.getuid() != 0:
        return {}
    known = {entry.pw_name for entry in pwd.getpwall()}
    name = "postgres" if "postgres" in known else "nobody"
    return {"user": name, "group": pwd.getpwnam(name).pw_gid}


def programs() -> Path | None:
    """Return the folder of the PostgreSQL programs; None if PostgreSQL is not installed."""
    # Debian installs the server programs outside of PATH.
    folders = [Path(name).resolve().parent for name in [shutil.which("initdb")] if name]
    folders += sorted(path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return next((folder for folder in folders if (folder / "pg_isready").exists()), None)


@contextmanager
def server(programs: Path) -> Iterator[Server]:
    """Run a new, empty server within a ``with`` block; ``programs`` as in ``Server``."""
    folder = Path(tempfile.mkdtemp(prefix="harness-postgres-"))
    try:
        user = unprivileged()
        if user:
            shutil.chown(folder, user["user"], user["group"])
        (folder / "password").write_text(PASSWORD)
        (folder / "password").chmod(0o644)
        (folder / "log").touch()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        postgres = Server(programs, folder, port)
        command = f"{programs}/initdb -D {folder}/data -U {USER} -A scram-sha-256 -E UTF8 --no-sync".split()
        command += [f"--pwfile={folder / 'password'}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **unprivileged())
        postgres.start()
        try:
            yield postgres
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(folder)
