"""From a folder with one sub-folder per class to an honest image classifier.

Each topic is one module: `from sneakerlib import catalog, clean, plots`. Importing the package itself imports nothing
heavy; TensorFlow is loaded by the modules that train or predict.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notes would bury what a learner should read

__version__ = "0.1.0"


class InputError(ValueError):
    """Something that the user gave is wrong; the message is one line that says what, where, and what to do."""
