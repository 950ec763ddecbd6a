"""From a folder with one sub-folder per class to an honest image classifier.

The folders are the series' topics: `from sneakerlib.learning import recipes`; what all topics share lies beside them:
`from sneakerlib import catalog, plots`. Import sneakerlib before Keras: it sets how TensorFlow starts. Nothing heavy is
imported here.
"""

import math
import os
import platform

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up notes would bury what a learner should read
if platform.machine() in ("x86_64", "AMD64"):
    # By itself TensorFlow turns oneDNN on only where a processor has VNNI. An AMD EPYC without it trains the CNNs of
    # notebook 03 in a half to two thirds of the time with it (TF_ENABLE_ONEDNN_OPTS=0 has the last word).
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"


# What a number may be, by the last word of its name: of options, of arguments, of the notebooks' parameters.
RANGES = {
    "seed": (0, 2**32 - 1),  # what NumPy takes
    **dict.fromkeys(("val", "test", "fraction", "wanted", "confidence"), (0, 1)),
    **dict.fromkeys(("epochs", "class", "limit", "pictures", "clients"), (1, math.inf)),
    "folds": (2, math.inf),
    "size": (32, 4096),  # pixels: a network halves them five times
    "rate": (1e-12, 1),
    "port": (0, 65535),
}


class InputError(ValueError):
    """Something that the user gave is wrong; the message is one line that says what, where, and what to do."""


def check_number(name: str, value: float) -> None:
    """Raise an InputError if a number is not in its range, such as a fraction that is no number."""
    low, high = RANGES.get(name.lower().split("_")[-1], (-math.inf, math.inf))
    if not low <= value <= high:  # what is no number is in no range
        wanted = f"of {low} or more" if high == math.inf else f"from {low:.10g} to {high:.10g}"
        raise InputError(f"{name} {value} is out of range: give a number {wanted}")
