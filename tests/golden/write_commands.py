"""Answer all lines of ``commands.jsonl`` anew: ``python -m tests.golden.write_commands``.

A new line needs ``in`` and ``run`` only.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from tests.golden.test_commands import CASES, GOLDEN, answered, furnish


def main() -> None:
    """Answer each line in a folder of its own."""
    root = Path(tempfile.mkdtemp())
    os.environ.pop("HARNESS_DATA", None)
    os.environ["XDG_CACHE_HOME"] = str(root / "cache")
    lines = []
    for number, case in enumerate(CASES):
        furnished, place = root / case["in"], root / str(number)
        if not furnished.exists():
            furnished.mkdir()
            os.environ["HARNESS_WORKSPACE"] = str(furnished)
            os.chdir(furnished)
            furnish(furnished, case["in"])
        shutil.copytree(furnished, place)
        os.environ["HARNESS_WORKSPACE"] = str(place)
        os.chdir(place)
        given = {name: case[name] for name in ("in", "run")}
        lines.append(json.dumps(given | answered(case["run"]), ensure_ascii=False))
    GOLDEN.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
