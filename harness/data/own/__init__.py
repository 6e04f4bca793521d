"""A person's own data: `kept` reads, parts and keeps them; what it needs lies in one file a question."""

from harness.data.own.kept import Data, Options, from_arrays, from_torch, name_of, parts_text, read, source_options
from harness.data.own.parts import FOLDS
from harness.data.own.values import pixels_of

__all__ = [
    "FOLDS", "Data", "Options", "from_arrays", "from_torch", "name_of", "parts_text", "pixels_of", "read",
    "source_options",
]  # fmt: skip
