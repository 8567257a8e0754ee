"""Warnings of ours are notes on the error stream, in one sentence."""

import warnings

import pytest

from circuitkit.cli.terminal import reported_errors
from circuitkit.errors import PictureWarning, PrecisionWarning


@pytest.mark.parametrize("category", [PictureWarning, PrecisionWarning])
def test_our_warnings_are_notes_without_a_place_in_the_code(capsys, category):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with reported_errors():
            warnings.warn("Pictures are missing, as [x] is.", category, stacklevel=1)
    said = capsys.readouterr()
    assert said.err == "Note: Pictures are missing, as [x] is.\n"
    assert said.out == ""


def test_warnings_of_others_are_shown_as_they_are(capsys):
    with pytest.warns(UserWarning, match="other"), reported_errors():
        warnings.warn("other", UserWarning, stacklevel=1)
    assert "Note" not in capsys.readouterr().err


def test_how_warnings_are_shown_is_put_back():
    before = warnings.showwarning
    with reported_errors():
        pass
    assert warnings.showwarning is before
