"""Find the smallest convolutional network that reaches a target accuracy, and test it on fresh seeds.

``search``, ``verify`` and ``report`` are equivalent to the commands with the same names; docs/api.md has examples.
``bench.problem`` returns a table of recorded trainings as an optimisation problem.
``Data`` creates data sets from arrays, and ``SmallestClassifier`` is an estimator with scikit-learn's interface.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness import bench as bench

if TYPE_CHECKING:
    from harness.data.own import Data
    from harness.interface.api import evaluate, explain, export, leaderboard, load, quote, report  # isort: skip
    from harness.interface.api import search, study, train, verify  # isort: skip
    from harness.interface.estimator import SmallestClassifier

_OUTSIDE_API = {"Data": "harness.data.own", "SmallestClassifier": "harness.interface.estimator"}
__all__ = [
    "Data", "SmallestClassifier", "evaluate", "explain", "export", "leaderboard", "load", "quote", "report", "search",
    "study", "train", "verify",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # Functions are imported on first access, so that ``import harness`` is fast.
    if name not in __all__:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    return getattr(import_module(_OUTSIDE_API.get(name, "harness.interface.api")), name)


def __dir__() -> list[str]:
    return __all__
