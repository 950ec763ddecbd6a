"""Run a network fast: exported to LiteRT, an interpreter per core.

The exported network gives the same numbers as Keras to five digits, at more than twice the speed on two cores
(benchmarks/README.md).
"""

import contextlib
import hashlib
import queue
import re
import threading
from pathlib import Path

import numpy as np
from joblib import cpu_count  # what this process may use: on a cluster that is less than there is

from sneakerlib.runs import cache_folder, replacing


class LiteRT:
    """A network in LiteRT, answering one picture at a time on every core.

    Several interpreters with one thread each are faster than one interpreter with several, and an answer cannot depend
    on which pictures came with it.

    Args:
        content: A network that `export` wrote.

    Attributes:
        lanes: How many pictures are answered at a time.
    """

    def __init__(self, content: bytes):
        from sneakerlib.learning.quiet import silence  # late: it loads Keras

        self.lanes = cpu_count()
        self.free = queue.SimpleQueue()
        with silence():
            for _ in range(self.lanes):
                interpreter = _interpreter()(model_content=content, num_threads=1)
                interpreter.allocate_tensors()
                self.free.put(interpreter)
        self.input = interpreter.get_input_details()[0]["index"]
        self.output = interpreter.get_output_details()[0]["index"]

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """The answer to one picture of shape (size, size, 3), 0 to 255; may be called from several threads."""
        interpreter = self.free.get()
        try:
            interpreter.set_tensor(self.input, picture[None].astype(np.float32))
            interpreter.invoke()
            return interpreter.get_tensor(self.output)[0]
        finally:
            self.free.put(interpreter)


class Keras:
    """A network as Keras runs it, where it cannot be exported: the same answers, one at a time.

    Args:
        model: The network.

    Attributes:
        lanes: How many pictures are answered at a time.
    """

    lanes = 1

    def __init__(self, model):
        self.model, self.turn = model, threading.Lock()

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """See `LiteRT`."""
        with self.turn:
            return np.asarray(self.model.predict_on_batch(picture[None].astype(np.float32)))[0]


def _interpreter():
    """LiteRT's own package where it is installed, else the one inside TensorFlow, which is to go one day."""
    try:
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter
    except ImportError:
        import tensorflow as tf  # which loads `tf.lite` only when it is asked for

        return tf.lite.Interpreter


def export(model) -> bytes:
    """Write a network as a LiteRT file for one picture at a time.

    Args:
        model: A Keras model with one input of fixed size and one output, on TensorFlow.
    """
    import tensorflow as tf

    from sneakerlib.learning.quiet import silence

    holder = tf.Module()
    holder.kept = [variable.value for variable in model.variables]  # else a converter that saves leaves weights out
    holder.call = tf.function(
        lambda picture: model(picture, training=False),
        input_signature=[tf.TensorSpec([1, *model.input_shape[1:]], tf.float32)],
    )
    with silence():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([holder.call.get_concrete_function()], holder)
        converter.experimental_lower_to_saved_model = False  # the same by a shorter way: half of the time
        return converter.convert()


def engine(model, cache: str | Path | None = None) -> LiteRT | Keras:
    """The fastest exact way to run a network here.

    Args:
        model: A Keras model with one input of fixed size and one output.
        cache: Folder that the network is exported into, once; if it cannot be written, every time. Defaults to the
            user's cache folder.
    """
    file = Path(cache or cache_folder()) / f"exported-{fingerprint(model)}.tflite"
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # not exported yet, or damaged
        return LiteRT(file.read_bytes())
    try:
        content = export(model)
    except Exception:  # a layer that LiteRT lacks, another backend: the converter raises what it likes
        return Keras(model)
    with contextlib.suppress(OSError), replacing(file) as beside:  # a folder that may only be read will do
        beside.write_bytes(content)
    return LiteRT(content)


def fingerprint(model) -> str:
    """Twelve hex digits that change with the network's structure or any of its weights, but not with layers' names.

    Keras counts up the names that it gives by itself: the same network has others when it is built a second time.
    """
    structure = model.to_json()
    numbers = {name: number for number, name in enumerate(dict.fromkeys(re.findall(r'"name": "([^"]*)"', structure)))}
    structure = re.sub(r'"([^"]*)"', lambda word: f'"{numbers.get(word[1], word[1])}"', structure)
    digest = hashlib.sha256(structure.encode())
    for weights in model.get_weights():
        digest.update(np.ascontiguousarray(weights))
    return digest.hexdigest()[:12]
