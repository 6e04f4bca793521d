"""Find the smallest convolutional network that reaches a target accuracy, and test it on fresh seeds.

``search``, ``verify`` and ``report`` do what the commands of these names do; docs/api.md has an example of each.
``Data`` makes data sets of one's own arrays, and ``SmallestClassifier`` is an estimator in scikit-learn's manner.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import evaluate, explain, export, leaderboard, load, report, search, study, train, verify
    from harness.data.own import Data
    from harness.estimator import SmallestClassifier

_ELSEWHERE = {"Data": "harness.data.own", "SmallestClassifier": "harness.estimator"}
__all__ = [
    "Data", "SmallestClassifier", "evaluate", "explain", "export", "leaderboard", "load", "report", "search", "study",
    "train", "verify",
]  # fmt: skip


class _Package(ModuleType):
    def __getattribute__(self, name: str) -> Any:
        # What a function needs is imported when it is called for; ``search`` is a folder's name too.
        place = _ELSEWHERE.get(name, "harness.api")
        return getattr(import_module(place), name) if name in __all__ else super().__getattribute__(name)

    def __reduce__(self) -> tuple[Any, ...]:
        # Functions of a script that joblib or Dask hands on refer to modules by name; theirs is of another class.
        return import_module, (__name__,)

    def __dir__(self) -> list[str]:
        return __all__


sys.modules[__name__].__class__ = _Package
