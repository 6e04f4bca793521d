"""Two thousand seeded draws a space make the networks they made, and are accepted or rejected for the same reasons.

``draws.json`` has, for each space, the first draws as they are, counts of the reasons, and a digest a hundred draws.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from search_spaces.catalog import space
from search_spaces.space import draw, judge, uniform

GOLDEN = Path(__file__).with_name("draws.json")
SPACES = ("all", "bench", "card", "forms", "posed", "seeds", "tied", "tiny")
PLAIN, BLOCK, DRAWS = 5, 100, 2_000


def drawn(name: str, count: int) -> dict[str, Any]:
    """Return what the first ``count`` draws of a space come to."""
    found, rng = space(name), random.Random(42)
    lines: list[str] = []
    reasons: Counter[str] = Counter()
    for _ in range(count):
        network = draw(found, uniform(rng))
        judged = judge(found, network.architecture, 20_000)
        reasons[judged.reason or "accepted"] += 1
        parameters = judged.analysis.parameters if judged.analysis else None
        lines.append(json.dumps([network.architecture.hash, judged.reason, parameters, network.indices]))
    blocks = ["\n".join(lines[start : start + BLOCK]) for start in range(0, count, BLOCK)]
    return {
        "space": found.hash,
        "first": [json.loads(line) for line in lines[:PLAIN]],
        "reasons": dict(sorted(reasons.items())),
        "blocks": [hashlib.sha256(block.encode()).hexdigest()[:16] for block in blocks],
    }


@pytest.mark.parametrize("name", SPACES)
def test_a_space_is_drawn_from_as_before(name: str):
    assert drawn(name, DRAWS) == json.loads(GOLDEN.read_text(encoding="utf-8"))[name]
