"""Find the smallest convolutional network that reaches a target accuracy, and test it on fresh seeds.

A function with the name of a command does the main task of this command; docs/use/api.md has examples. ``load`` returns
a recorded network, and ``study`` the results of a search. ``bench.problem`` returns a table of trainings as an
optimisation problem. ``Data`` creates data sets from arrays, and ``SmallestClassifier`` is an estimator with
scikit-learn's interface.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.data.user import Data
    from harness.interface.api import evaluate, explain, export, leaderboard, load, quote, report  # isort: skip
    from harness.interface.api import search, study, train, verify  # isort: skip
    from harness.interface.estimator import SmallestClassifier

_OUTSIDE_API = {"Data": "harness.data.user", "SmallestClassifier": "harness.interface.estimator"}
_SUBPACKAGES = ("bench",)  # imported on first access
__all__ = [
    "Data", "SmallestClassifier", "evaluate", "explain", "export", "leaderboard", "load", "quote", "report", "search",
    "study", "train", "verify",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # The names of ``__all__`` are imported on first access, so that ``import harness`` is fast.
    if name in _SUBPACKAGES:
        return import_module(f"harness.{name}")
    if name not in __all__:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    return getattr(import_module(_OUTSIDE_API.get(name, "harness.interface.api")), name)


def __dir__() -> list[str]:
    return __all__
