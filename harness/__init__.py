"""Find the smallest convolutional network that reaches a target accuracy, and test it on fresh seeds.

``search``, ``verify`` and ``report`` do what the commands of these names do; docs/api.md has an example of each.
``Data`` makes data sets of one's own arrays, and ``SmallestClassifier`` is an estimator in scikit-learn's manner.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
    # A function is imported when it is called for, with all that it needs.
    if name not in __all__:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    return getattr(import_module(_OUTSIDE_API.get(name, "harness.interface.api")), name)


def __dir__() -> list[str]:
    return __all__
