"""The example pages in ``reports/`` equal the output of ``scripts/write_examples.py``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

MAX_BYTES = 3_600_000  # all pages together, of which 2.7 MB are three copies of Vega


def pages_in(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.html")}


@pytest.mark.nightly
def test_example_pages_equal_the_output_of_the_script(mnist_folder: Path, tmp_path: Path):
    # In a process of its own, because the tests hide the published records.
    command = [sys.executable, str(REPOSITORY / "scripts" / "write_examples.py"), str(tmp_path)]
    subprocess.run(command, env=os.environ | {"HARNESS_DATA": str(mnist_folder)}, check=True)

    pages = pages_in(tmp_path)
    committed = pages_in(REPOSITORY / "reports")
    assert pages.keys() == committed.keys()
    assert [name for name in pages if pages[name] != committed[name]] == []


def test_example_pages_are_small_and_name_no_folder_of_a_machine():
    pages = pages_in(REPOSITORY / "reports")

    assert sum(map(len, pages.values())) < MAX_BYTES
    assert [name for name, text in pages.items() if "/tmp/" in text or "/home/" in text] == []
