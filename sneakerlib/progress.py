"""One way to show that long work goes on."""

import sys
from collections.abc import Iterable, Iterator

from tqdm import tqdm


def watch(items: Iterable, total: int, doing: str, show: bool = True) -> Iterator:
    """Pass items on and show a bar with the time left: in a notebook, or where a person watches the terminal.

    Args:
        items: What is passed on, one per picture.
        total: Number of pictures.
        doing: What is done to them, such as `decoding`.
        show: False for silence. Defaults to True.
    """
    shown = bar(total, doing, show)
    shown.iterable = items
    return iter(shown)


def watched() -> bool:
    """Whether a person sees the output while it is written: in a notebook, or at a terminal."""
    return bool(_shell()) or sys.stdout.isatty()


def _shell():
    return getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()


def bar(total: int, doing: str, show: bool = True) -> tqdm:
    """The bar itself, for work that does not come one after another; arguments as for `watch`."""
    if _shell():  # a saved notebook keeps every state of the bar: few of them, and none of what is done in no time
        options = {"file": sys.stdout, "disable": not show, "mininterval": 5, "delay": 1}
    else:
        options = {"disable": None if show else True, "mininterval": 0.5}
    return tqdm(None, doing, total, leave=False, unit=" pictures", **options)
