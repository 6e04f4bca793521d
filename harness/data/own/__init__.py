"""User data sets: `kept` reads, splits and stores data; `sources`, `values`, `labels` and `parts` hold the steps."""

from harness.data.own.kept import (
    Data,
    SourceOptions,
    check_facts,
    data_name,
    described_options,
    descriptions,
    from_arrays,
    from_torch,
    parts_text,
    read,
)
from harness.data.own.parts import FOLDS
from harness.data.own.values import pixels_of

__all__ = [
    "FOLDS", "Data", "SourceOptions", "check_facts", "data_name", "described_options", "descriptions", "from_arrays",
    "from_torch", "parts_text", "pixels_of", "read",
]  # fmt: skip
