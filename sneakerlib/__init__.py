"""From a folder with one sub-folder per class to an honest image classifier.

The folders are the series' topics: `from sneakerlib.learning import recipes`; what all topics share lies beside them:
`from sneakerlib import catalog, plots`. Import sneakerlib before Keras: it sets how TensorFlow starts. Nothing heavy is
imported here.
"""

import os
import platform

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up notes would bury what a learner should read
if platform.machine() in ("x86_64", "AMD64"):
    # By itself TensorFlow turns oneDNN on only where a processor has VNNI. An AMD EPYC without it trains the CNNs of
    # notebook 03 in a half to two thirds of the time with it (TF_ENABLE_ONEDNN_OPTS=0 has the last word).
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"


class InputError(ValueError):
    """Something that the user gave is wrong; the message is one line that says what, where, and what to do."""
