"""Which networks pruning passes over: one in ten, by a lot that their readings have no part in.

These alone can be counted to tell how often pruning is wrong; a share of what it lets through would flatter it.
"""

from __future__ import annotations

EXEMPT_SHARE = 10


def is_exempt(network_hash: str) -> bool:
    """Return whether a network is trained to the end whatever its rungs say; its hash is the lot."""
    return int(network_hash, 16) % EXEMPT_SHARE == 0
