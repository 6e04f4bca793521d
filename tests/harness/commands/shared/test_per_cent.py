"""How an accuracy is given on the command line."""

from __future__ import annotations

import click
import pytest

from harness.commands.shared.options import PER_CENT


@pytest.mark.parametrize(("text", "number"), [("99.4", 99.4), ("99.4%", 99.4), ("1", 1.0), ("100", 100.0)])
def test_an_accuracy_is_a_number_and_may_have_its_sign(text: str, number: float):
    assert PER_CENT.convert(text, None, None) == number


@pytest.mark.parametrize("text", ["", "%", "99,4", "100.1", "-1%", "0", "nan", "0.994", "0.994%"])
def test_what_is_no_accuracy_is_refused(text: str):
    with pytest.raises(click.BadParameter):
        PER_CENT.convert(text, None, None)
