from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.data import download
from harness.data.data_files import MissingData, find
from harness.data.datasets import dataset
from harness.data.download import fetch, fetch_dataset, mirrors

IMAGES = "train-images-idx3-ubyte"
# Far below any wait of a server here, far above what a busy machine needs to answer.
LIMIT_SECONDS = 0.6


@contextlib.contextmanager
def mirror(contents: dict[str, bytes], asked: list[str] | None = None) -> Iterator[str]:
    """A server on this machine that has ``contents`` by path and answers 404 to anything else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if asked is not None:
                asked.append(self.path)
            content = contents.get(self.path.lstrip("/"))
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def slow_mirror(behave: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """A server that takes one connection and treats it badly until the test is over."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                behave(connection, over)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        over.set()
        # Wakes an accept that nobody came to.
        with contextlib.suppress(OSError):
            socket.create_connection(listener.getsockname(), timeout=1).close()
        thread.join()
        listener.close()


def stall(connection: socket.socket, over: threading.Event) -> None:
    over.wait(30)


def trickle_headers(connection: socket.socket, over: threading.Event) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000:
        connection.sendall(bytes([byte]))
        if over.wait(0.05):
            return


def trickle_body(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not over.wait(0.05):
        connection.sendall(b"x")


def stall_in_body(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nabc")
    over.wait(30)


def published(toy) -> dict[str, bytes]:
    return {f"{name}.gz": content for name, content in toy.packed.items()}


@pytest.fixture
def use_mirrors(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    return lambda *urls: monkeypatch.setattr(download, "mirrors", lambda spec: list(urls))


def test_an_address_is_read_whole():
    content = bytes(range(256)) * 2000

    with mirror({"file": content}) as url:
        assert fetch(f"{url}file", 20) == content


@pytest.mark.parametrize("behave", [stall, trickle_headers, trickle_body, stall_in_body])
def test_a_server_that_dawdles_is_cut_at_the_limit(behave):
    with slow_mirror(behave) as url:
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            fetch(f"{url}file", LIMIT_SECONDS)
        elapsed = time.monotonic() - start

    assert LIMIT_SECONDS * 0.9 < elapsed < LIMIT_SECONDS + 2


def test_a_name_that_is_looked_up_for_ever_is_cut_at_the_limit(monkeypatch: pytest.MonkeyPatch):
    over = threading.Event()

    def look_up(*args, **options):
        over.wait(30)
        raise OSError("gave up")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    start = time.monotonic()
    try:
        with pytest.raises(TimeoutError, match=r"^time limit reached$"):
            fetch("http://mirror.invalid/file", 0.3)
        assert time.monotonic() - start < 2
    finally:
        over.set()


def test_no_time_left_is_a_timeout():
    with pytest.raises(TimeoutError, match=r"^time limit reached$"):
        fetch("http://127.0.0.1:9/file", -1)


def test_a_server_that_sends_too_much_is_cut(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(download, "_LARGEST_BYTES", 1000)

    with mirror({"file": bytes(2000)}) as url, pytest.raises(OSError, match=r"^sends more than 1000 bytes$"):
        fetch(f"{url}file", 20)


def test_all_files_are_fetched_checked_and_stored(toy, tmp_path: Path, use_mirrors, capsys):
    with mirror(published(toy)) as url:
        use_mirrors(url)
        fetched = fetch_dataset(toy.spec, tmp_path / "Toy" / "raw")

    assert fetched == list(toy.unpacked)
    assert sorted(path.name for path in (tmp_path / "Toy" / "raw").iterdir()) == sorted(published(toy))
    assert find(toy.spec, tmp_path) == tmp_path / "Toy" / "raw"
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"fetching toy from {url} (at most 20 s)\n")


def test_only_what_is_missing_or_damaged_is_fetched(toy, tmp_path: Path, use_mirrors):
    place = toy.write(tmp_path)
    (place / f"{IMAGES}.gz").write_bytes(b"damaged")
    (place / "t10k-labels-idx1-ubyte.gz").unlink()
    asked: list[str] = []

    with mirror(published(toy), asked) as url:
        use_mirrors(url)
        assert fetch_dataset(toy.spec, place) == [IMAGES, "t10k-labels-idx1-ubyte"]
        assert fetch_dataset(toy.spec, place) == []

    assert asked == [f"/{IMAGES}.gz", "/t10k-labels-idx1-ubyte.gz"]


def test_the_next_mirror_goes_on_where_the_first_failed(toy, tmp_path: Path, use_mirrors):
    partial = published(toy)
    del partial["t10k-images-idx3-ubyte.gz"]
    asked: list[str] = []

    with mirror(partial) as first, mirror(published(toy), asked) as second:
        use_mirrors(first, second)
        assert fetch_dataset(toy.spec, tmp_path) == list(toy.unpacked)

    assert asked == ["/t10k-images-idx3-ubyte.gz", "/t10k-labels-idx1-ubyte.gz"]


def test_when_every_mirror_fails_each_is_named_with_its_reason(toy, tmp_path: Path, use_mirrors):
    wrong = {**published(toy), f"{IMAGES}.gz": b"<html>moved</html>"}

    with mirror({}) as first, mirror(wrong) as second, slow_mirror(stall) as third:
        use_mirrors(first, second, third, "http://127.0.0.1:9/")
        with pytest.raises(MissingData) as caught:
            fetch_dataset(toy.spec, tmp_path, LIMIT_SECONDS)

    told = caught.value.message
    assert told.startswith(f"toy could not be fetched: {first}{IMAGES}.gz: HTTP Error 404: Not Found; ")
    assert f"; {second}{IMAGES}.gz: the file that it sent is damaged: it cannot be unpacked" in told
    assert f"; {third}{IMAGES}.gz: time" in told
    assert told.endswith("; http://127.0.0.1:9/train-images-idx3-ubyte.gz: [Errno 111] Connection refused")
    assert (caught.value.hint or "").startswith(
        "allow more time with 'harness data fetch --mirror-seconds 300', or place train-images-idx3-ubyte.gz"
    )
    assert list(tmp_path.iterdir()) == []


def test_where_no_name_is_known_there_is_no_network_and_more_time_would_not_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def unknown(*address: object, **options: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(download, "mirrors", lambda spec: ["http://one.invalid/", "http://two.invalid/"])

    with pytest.raises(MissingData) as caught:
        fetch_dataset(dataset("mnist"), tmp_path)

    assert "no network" in caught.value.message
    assert "--mirror-seconds" not in (caught.value.hint or "")


def test_the_limit_holds_for_all_files_of_a_mirror_together(toy, tmp_path: Path, use_mirrors, monkeypatch):
    now = [0.0]

    def slow_fetch(url: str, seconds: float) -> bytes:
        if seconds <= 0:
            raise TimeoutError("time limit reached")
        now[0] += 8
        return published(toy)[url.rpartition("/")[2]]

    monkeypatch.setattr(download, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(download, "fetch", slow_fetch)
    use_mirrors("http://one/")

    with pytest.raises(MissingData, match=r"one/t10k-labels-idx1-ubyte\.gz: time limit reached"):
        fetch_dataset(toy.spec, tmp_path, 20)

    assert len(list(tmp_path.iterdir())) == 3


def test_without_a_known_sha256_the_md5_decides(packed_toy, tmp_path: Path, use_mirrors):
    other = published(packed_toy)
    other[f"{IMAGES}.gz"] = packed_toy.packed[IMAGES] + b"\0"

    with mirror(other) as url:
        use_mirrors(url)
        with pytest.raises(MissingData, match=r"sent is damaged or another file: MD5 of the \.gz file"):
            fetch_dataset(packed_toy.spec, tmp_path)


def test_a_folder_that_cannot_be_made_is_named(toy, tmp_path: Path, use_mirrors):
    (tmp_path / "file").write_text("")
    use_mirrors()

    with pytest.raises(MissingData, match=r"^toy cannot be stored in .*/file/raw: ") as caught:
        fetch_dataset(toy.spec, tmp_path / "file" / "raw")

    assert caught.value.hint == "name another folder with --data"


def test_the_mirrors_are_those_of_torchvision():
    for name in ("mnist", "fashion-mnist", "kmnist"):
        found = mirrors(dataset(name))
        assert found
        assert all(url.startswith("http") and url.endswith("/") for url in found)


def test_a_data_set_that_torchvision_does_not_know_is_placed_by_hand():
    with pytest.raises(MissingData, match="torchvision does not know it") as caught:
        mirrors(replace(dataset("mnist"), torchvision_class=""))

    assert "train-images-idx3-ubyte.gz" in (caught.value.hint or "")


def test_a_missing_torchvision_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)

    with pytest.raises(MissingData, match=r"^mnist cannot be fetched: torchvision, which knows the mirrors, is"):
        mirrors(dataset("mnist"))
