"""Made-up measured searches, for tests of what is said about them."""

from __future__ import annotations

from typing import Any

from benchmarks.cold_search import Outcome, Winner
from benchmarks.main_job_results import Carried, Case, MeasuredSearch, configuration_key, verdict
from harness.evidence.leaderboard_csv import Tier

CONFIGURATION: dict[str, Any] = {"options": {"space": "posed"}, "threshold_pct": 99.3}
CASES = {
    "short": Case(options=("--time", "10m"), seeds=(0, 1), most_parameters=8_000),
    "long": Case(options=("--time", "1h"), seeds=(0,), most_parameters=3_000, goal_parameters=2_000),
    "crowded": Case(options=("--time", "20m", "--workers", "1"), seeds=(4,), busy=1),
}


def winner(parameters: int) -> Winner:
    return Winner(
        hash="a1",
        tier=Tier.VERIFIED,
        parameters=parameters,
        architecture="gap | linear(10)",
        recipe="small",
        mean_test_accuracy_pct=99.4504,
        std_test_accuracy_pct=0.0404,
        seeds=6,
    )


def outcome(parameters: int | None, sizes: tuple[tuple[float, int | None], ...] = (), **more: Any) -> Outcome:
    given: dict[str, Any] = {
        "exit_code": 3 if parameters is None else 0,
        "reached": parameters is not None,
        "winner": None if parameters is None else winner(parameters),
        "nearest_miss": None,
        "seconds": 590.0,
        "first_standing_seconds": sizes[0][0] if sizes else None,
        "sizes": sizes,
        "trained": 7,
        "proposed": 9,
        "rejected": 1,
    }
    return Outcome(**(given | more))


def search(case: str, seed: int, found: Outcome, **more: Any) -> MeasuredSearch:
    given: dict[str, Any] = {
        "case": case,
        "seed": seed,
        "options": CASES[case].options,
        "arguments": ("search", *CASES[case].options),
        "date_utc": "2026-01-02T03:04:05+00:00",
        "machine": {"processor": "a processor", "instructions": "x86", "cores": 2, "commit": "abc", "dirty": False},
        "peak_gflops": 131.4,
        "half_speed": False,
        "busy": CASES[case].busy,
        "configuration": configuration_key(CONFIGURATION),
        "outcome": found,
        "verdict": verdict(CASES[case], found),
    }
    return MeasuredSearch(**(given | more))


def how(**changes: Any) -> Carried:
    """Return that searches were carried over to later code."""
    plain: dict[str, Any] = {
        "date_utc": "2026-01-02T03:04:05+00:00",
        "old": "a",
        "new": "b",
        "old_commit": "c",
        "new_commit": "d",
        "dirty": False,
        "files": ("a.py",),
        "methods": ("default",),
        "replayed": 7,
        "equal": 7,
    }
    return Carried(**(plain | changes))
