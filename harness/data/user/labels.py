"""Names and order of labels and groups.

Texts are compared in Unicode's form NFC, numbers by value: the texts ``01``, ``NA`` and ``True`` remain texts. Classes
have the order of `numpy.unique`.
"""

from __future__ import annotations

import numbers
import unicodedata
from typing import Any

import numpy as np

from harness.system.errors import DataError

_MAX_CHARACTERS = 40  # of a label in a message


def read_labels(values: Any, subject: str) -> tuple[list[str], list[str]]:
    """Return the name of each label, and the names of all classes in order.

    Args:
        values: Integers, whole numbers, truth values or texts, (images,) or (images, 1).

    Raises:
        DataError: A value is none of these, or a text is empty or not printable.
    """
    array = _column(values, subject)
    kind = array.dtype.kind
    if kind in "OT":  # Python objects, or NumPy's texts of variable width
        array = np.array([*array], object)
        if all(isinstance(value, str) for value in array):
            kind = "U"
        elif all(isinstance(value, numbers.Real) for value in array):
            array = np.array([*array])
            kind = array.dtype.kind
    if kind not in "iubfU":
        others = [i for i, value in enumerate(array.tolist()) if not isinstance(value, str | numbers.Real)]
        example = f"{array[others[0]]!r:.{_MAX_CHARACTERS}} for image {others[0]}" if others else "numbers and strings"
        raise DataError(f"{subject} must be an integer or a string per image, got {example}")
    if kind == "f" and not (is_whole := np.isfinite(array) & (array == np.round(array))).all():
        first = int(np.argmin(is_whole))
        raise DataError(f"{subject} must be integers or strings, got {array[first]} for image {first}")
    unique, indices = np.unique(array, return_inverse=True)
    if kind == "U":
        names = [text_label(value, subject) for value in unique]
        # Unicode forms of the same text need not be neighbours in ``unique``.
        classes = sorted({*names})
    else:
        names = [str(int(value)) for value in unique]
        classes = names
    return [names[index] for index in indices.tolist()], classes


def _column(values: Any, subject: str) -> np.ndarray[Any, Any]:
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        first_sentence = " ".join(str(error).split()).partition(". ")[0]
        raise DataError(f"{subject} must be an integer or a string per image: {first_sentence}") from error
    if array.dtype.kind == "U" and isinstance(values, list | tuple):
        # NumPy converts numbers among texts to texts.
        array = np.asarray(values, object)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        message = f"{subject} must be an integer or a string per image, got the shape {array.shape}"
        is_one_hot = array.ndim == 2 and array.dtype.kind in "biuf" and (np.sort(array)[:, :-1] == 0).all()
        raise DataError(message, hint="convert one-hot labels with y.argmax(1)" if is_one_hot else None)
    return array


def text_label(text: str, subject: str) -> str:
    """Return a text in form NFC; raise DataError, about ``subject``, if ``text`` is empty or not printable."""
    label = unicodedata.normalize("NFC", str(text))
    if not label or not label.isprintable():
        raise DataError(f"{subject} must be printable strings, got {label[:_MAX_CHARACTERS]!a}")
    return label
