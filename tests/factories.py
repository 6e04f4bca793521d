"""Values that tests need many of, made from the few facts that a test states."""

from __future__ import annotations

import numpy as np

_IDX_KINDS = {"uint8": "08", "int32": "0c"}


def idx(values: np.ndarray) -> bytes:
    """Return an IDX file (http://yann.lecun.com/exdb/mnist): 0, 0, kind, rank, sizes, then big-endian numbers."""
    header = f"0000{_IDX_KINDS[str(values.dtype)]}{values.ndim:02x}" + "".join(f"{size:08x}" for size in values.shape)
    return bytes.fromhex(header) + values.astype(values.dtype.newbyteorder(">")).tobytes()
