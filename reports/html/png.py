"""Small grey images as PNG (RFC 2083), without a library: four bits a pixel are enough for a digit."""

from __future__ import annotations

import base64
import struct
import zlib


def encode(pixels: bytes, width: int, height: int) -> bytes:
    """Return grey pixels, a byte each from 0 (black) to 255, row by row, as a PNG of 16 shades."""
    rows = bytearray()
    for row in range(height):
        line = [pixels[row * width + column] >> 4 for column in range(width)] + [0] * (width % 2)
        rows.append(0)  # no filter
        rows.extend(high << 4 | low for high, low in zip(line[::2], line[1::2], strict=True))
    header = struct.pack(">IIBBBBB", width, height, 4, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in parts)


def data_uri(pixels: bytes, width: int, height: int) -> str:
    """Return such an image as an address that holds it."""
    return "data:image/png;base64," + base64.b64encode(encode(pixels, width, height)).decode("ascii")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
