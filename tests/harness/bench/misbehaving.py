"""A program of the bench that goes wrong in the way that its argument says, at its second question."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

BAD_NETWORKS = {
    "unknown-network": "conv9x9(4) gap linear(10)",
    "outside": "conv3x3(5) bn relu gap linear(10)",
    "over-budget": "conv3x3(200) conv3x3(200) gap linear(10)",
}


def die() -> None:
    print("out of ideas", file=sys.stderr, flush=True)
    sys.exit(7)


def flood(write: Callable[[str], int]) -> None:
    while True:
        write("x" * 100_000)


def close() -> None:
    os.close(1)  # sys.stdout.close() leaves the descriptor open
    time.sleep(60)


def main(way: str, good: str) -> None:
    answer = json.dumps({"network": good})
    ways: dict[str, Callable[[], object]] = {
        "no-json": lambda: print("conv3x3(4)", flush=True),
        "no-network-field": lambda: print(json.dumps({"net": good}), flush=True),
        "silent": lambda: time.sleep(60),
        "dies": die,
        "floods-stdout": lambda: flood(sys.stdout.write),
        "talks": lambda: print(f"{answer}\n{answer}", flush=True),
        "closes": close,
    }
    sys.stdin.readline()
    for number, _ in enumerate(sys.stdin):
        if number == 0:
            print(answer, flush=True)
        elif way in BAD_NETWORKS:
            print(json.dumps({"network": BAD_NETWORKS[way]}), flush=True)
        else:
            ways[way]()


if __name__ == "__main__":
    main(*sys.argv[1:])
