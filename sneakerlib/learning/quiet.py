"""Keras, imported without the start-up notes that TensorFlow writes past every logging switch.

A command answers a wrong input with one line; ten lines about processor instructions would bury it. Errors still pass.
"""

import contextlib
import logging
import os
import warnings

from sneakerlib import InputError


@contextlib.contextmanager
def silence():
    """Nothing of what compiled code writes to the terminal; exceptions say what went wrong."""
    saved = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 (os.devnull is no path to open with pathlib on Windows)
            os.dup2(nowhere.fileno(), 2)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


try:
    with silence():
        import keras
except ModuleNotFoundError as error:  # of Keras, or of what it computes with
    raise InputError(f"{error.name} is not installed: pip install 'sneakerlib[tensorflow]'") from error

logging.getLogger("tensorflow").setLevel(logging.ERROR)  # else it warns of every second model that predicts

__all__ = ["keras", "silence"]
