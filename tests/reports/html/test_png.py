from __future__ import annotations

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from reports.html import png


@given(st.integers(1, 30), st.integers(1, 30), st.randoms(use_true_random=False))
def test_another_reader_finds_the_upper_four_bits_of_every_pixel(width: int, height: int, draw):
    pixels = draw.randbytes(width * height)

    image = np.asarray(Image.open(io.BytesIO(png.encode(pixels, width, height))).convert("L"))

    expected = np.frombuffer(pixels, dtype=np.uint8).reshape(height, width) >> 4
    # Sixteen shades from 0 to 255 lie 17 apart.
    assert (image == 17 * expected).all()


def test_an_address_holds_the_image():
    assert png.data_uri(bytes(784), 28, 28).startswith("data:image/png;base64,iVBORw0KGgo")
    assert len(png.data_uri(bytes(784), 28, 28)) < 200
