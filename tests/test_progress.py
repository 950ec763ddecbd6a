"""Bars in a notebook, whose every state is saved with it."""

import itertools

import pytest
from tqdm import std

from sneakerlib import runs


@pytest.fixture
def clock(monkeypatch):
    """Sets how many seconds pass whenever the time is asked for, in a notebook."""
    monkeypatch.setattr(runs, "_shell", lambda: "a notebook")

    def ticks(seconds):
        times = itertools.count(100.0, seconds)
        monkeypatch.setattr(std, "time", lambda: next(times))

    return ticks


def test_what_takes_no_time_leaves_no_bar_in_the_notebook(clock, capsys):
    clock(0.001)
    assert list(runs.watch("abc", 3, "reading")) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""


def test_what_takes_long_shows_how_far_it_is(clock, capsys):
    clock(6.0)
    assert list(runs.watch("abc", 3, "reading")) == ["a", "b", "c"]
    shown = capsys.readouterr().out
    assert "reading:  33%" in shown
    assert "1/3" in shown
    assert "<00:" in shown  # the time left


def test_nothing_is_shown_where_silence_is_wished_for(clock, capsys):
    clock(6.0)
    assert list(runs.watch("abc", 3, "reading", show=False)) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""
