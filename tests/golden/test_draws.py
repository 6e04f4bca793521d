"""Two thousand seeded draws per space give the recorded networks and the recorded reasons of rejections.

``draws.json`` contains, for each space, the first draws, the counts of reasons, and a digest per hundred draws.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.spaces.catalog import space
from harness.spaces.space import draw, judge, uniform

GOLDEN = Path(__file__).with_name("draws.json")
SPACES = ("all", "bench", "card", "forms", "posed", "seeds", "tied", "tiny")
FIRST, BLOCK, DRAWS = 5, 100, 2_000


def summary_of_draws(name: str, count: int) -> dict[str, Any]:
    search_space, rng = space(name), random.Random(42)
    lines: list[str] = []
    reasons: Counter[str] = Counter()
    for _ in range(count):
        network = draw(search_space, uniform(rng))
        judgement = judge(search_space, network.architecture, 20_000)
        reasons[judgement.reason or "accepted"] += 1
        parameters = judgement.analysis.parameters if judgement.analysis else None
        lines.append(json.dumps([network.architecture.hash, judgement.reason, parameters, network.indices]))
    blocks = ["\n".join(lines[start : start + BLOCK]) for start in range(0, count, BLOCK)]
    return {
        "space": search_space.hash,
        "first": [json.loads(line) for line in lines[:FIRST]],
        "reasons": dict(sorted(reasons.items())),
        "blocks": [hashlib.sha256(block.encode()).hexdigest()[:16] for block in blocks],
    }


@pytest.mark.parametrize("name", SPACES)
def test_draws_equal_recorded_draws(name: str):
    assert summary_of_draws(name, DRAWS) == json.loads(GOLDEN.read_text(encoding="utf-8"))[name]
