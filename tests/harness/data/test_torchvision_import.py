from __future__ import annotations

import subprocess
import sys

import pytest

from harness.data import torchvision_import
from harness.data.torchvision_import import import_torchvision


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_torchvision_is_imported_with_its_data_sets():
    torchvision = import_torchvision()

    assert torchvision.datasets.KMNIST.mirrors
    assert import_torchvision() is torchvision


def test_stubs_are_declared_exactly_where_the_plain_import_fails():
    plain = run("import torchvision")
    ours = run(
        "from harness.data import torchvision_import as t; t.import_torchvision();"
        "from torchvision.transforms import v2; print(len(t._stubs))"
    )

    assert ours.returncode == 0, ours.stderr
    if plain.returncode:
        assert "operator torchvision::nms does not exist" in plain.stderr
    assert ours.stdout == ("1\n" if plain.returncode else "0\n")


def test_no_stub_is_declared_where_thecompiled_part_loads():
    program = (
        "import torch; from harness.data import torchvision_import as t;"
        "torch.ops.load_library = lambda path: None;"
        "print(t.compiled_part_loads())"
    )

    assert run(program).stdout == "True\n"


def test_a_torchvision_that_is_not_installed_is_an_import_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torchvision_import, "compiled_part_loads", lambda: True)
    monkeypatch.setitem(sys.modules, "torchvision", None)

    with pytest.raises(ImportError, match="torchvision"):
        import_torchvision()
