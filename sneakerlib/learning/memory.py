"""Memory that a training step frees is kept for the next one: TensorFlow would hand it back to the system."""

import ctypes
import functools
import sys

from sneakerlib.learning.quiet import keras

MAPPED = 2**28  # bytes: larger blocks than this one come from the system and go back to it
KEPT = 2**29  # bytes: so much may lie free at the end of the heap
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


@functools.cache
def keep() -> None:
    """Keep what is freed, in this process, from now on; where that is not in question, do nothing.

    The first dataset made of a Python generator, as every `keras.utils.PyDataset` becomes one, lets TensorFlow 2.21 on
    Linux set glibc's M_MMAP_THRESHOLD to 128 KiB, against a leak of Python 3.11
    (github.com/tensorflow/tensorflow/issues/65675). Every tensor above that then comes from the system, page by page,
    and goes back at once: 400,000 page faults a step when EfficientNet-Lite0 is fine-tuned at 96 pixels, which makes
    the step two to three times as long (`benchmarks/allocator.py`), unless oneDNN is on, which brings an allocator of
    its own. It happens once in a process, so here it happens first, and is then undone. The weights that come out are
    the same.
    """
    if keras.backend.backend() == "tensorflow" and sys.platform == "linux":
        import tensorflow as tf

        for _ in tf.data.Dataset.from_generator(lambda: [0], output_signature=tf.TensorSpec((), tf.int32)):
            pass
        allocator = ctypes.CDLL(None)
        allocator.mallopt(M_MMAP_THRESHOLD, MAPPED)
        allocator.mallopt(M_TRIM_THRESHOLD, KEPT)
