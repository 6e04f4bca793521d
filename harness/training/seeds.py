"""Seeds fixed before anything is run: each is a hash of what it is for, so none is picked for its luck."""

from __future__ import annotations

import hashlib
from enum import StrEnum

# Raised whenever a change makes old and new numbers incomparable: split, seeds, counting rules, evaluation.
PROTOCOL_VERSION = 1


class Purpose(StrEnum):
    """What a training run is for; seeds of different purposes never meet."""

    SEARCH = "search"
    CONFIRM = "confirm"
    VERIFY = "verify"
    TRAIN = "train"
    REFERENCE = "reference"
    TEACHER = "teacher"
    BENCH = "bench"


def derive_seed(network_hash: str, recipe_hash: str, purpose: Purpose, index: int, study_seed: int = 0) -> int:
    """Return seed ``index`` of a network under a recipe, an integer below 2**48.

    Only runs of a search depend on ``study_seed``; all people verify with the same seeds.
    """
    parts = [str(PROTOCOL_VERSION), network_hash, recipe_hash, purpose.value, str(index)]
    if purpose in (Purpose.SEARCH, Purpose.CONFIRM):
        parts.append(str(study_seed))
    digest = hashlib.sha256("|".join(parts).encode()).digest()
    # 48 bits are exact in JSON readers that keep numbers as doubles.
    return int.from_bytes(digest[:6], "big")
