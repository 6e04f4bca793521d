"""The example pages in ``reports/`` equal the output of ``scripts/write_examples.py``."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

MAX_BYTES = 3_600_000  # all pages together, of which 2.7 MB are three copies of Vega


@pytest.mark.nightly
def test_example_pages_equal_the_output_of_the_script(mnist_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HARNESS_DATA", str(mnist_folder))

    pages = runpy.run_path(str(REPOSITORY / "scripts" / "write_examples.py"))["pages"]()

    committed = {path.name: path.read_text(encoding="utf-8") for path in (REPOSITORY / "reports").glob("*.html")}
    assert [name for name in pages if pages[name] != committed.get(name)] == []
    assert pages.keys() == committed.keys()


def test_example_pages_are_small_and_name_no_folder_of_a_machine():
    pages = {path.name: path.read_text(encoding="utf-8") for path in (REPOSITORY / "reports").glob("*.html")}

    assert sum(map(len, pages.values())) < MAX_BYTES
    assert [name for name, text in pages.items() if "/tmp/" in text or "/home/" in text] == []
