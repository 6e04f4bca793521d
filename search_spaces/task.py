"""What a network is for: the images that go in, and the classes that come out."""

from __future__ import annotations

from dataclasses import dataclass

# Of a map (channels, height, width), of a vector (features,).
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """Classify images of one shape.

    Attributes:
        input_shape: (channels, rows, columns) of an image.
        classes: a network ends in so many values.
    """

    input_shape: tuple[int, int, int]
    classes: int


# The task of whatever does not name another one: texts and hashes of networks are older than the choice.
MNIST = Task((1, 28, 28), 10)


def shape_text(shape: Shape) -> str:
    """Return a shape as people write it: 16x12x12, or 10."""
    return "x".join(map(str, shape))
