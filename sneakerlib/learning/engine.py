"""Run a network fast: exported to LiteRT, an interpreter per core.

The exported network gives the same numbers as Keras to five digits, at more than twice the speed on two cores
(benchmarks/README.md).
"""

import contextlib
import hashlib
import queue
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from joblib import cpu_count  # what this process may use: on a cluster that is less than there is

from sneakerlib.runs import cache_folder, replacing


class Engine:
    """A network that answers one picture of shape (size, size, 3), 0 to 255, on each of some `lanes` at a time.

    May be called from many threads. An answer cannot depend on which pictures came with it.
    """

    def __init__(self, runs: list[Callable]):
        self.lanes, self.free = len(runs), queue.SimpleQueue()
        for run in runs:
            self.free.put(run)

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """The answer to one picture."""
        run = self.free.get()
        try:
            return np.asarray(run(picture[None].astype(np.float32)))[0]
        finally:
            self.free.put(run)


class LiteRT(Engine):
    """A network that `export` wrote. Interpreters with one thread each are faster than one with several threads."""

    def __init__(self, content: bytes):
        from sneakerlib.learning.quiet import silence  # late: it loads Keras

        with silence():
            super().__init__([_interpreter(content) for _ in range(cpu_count())])


class Keras(Engine):
    """A network as Keras runs it, where it cannot be exported: the same answers, one at a time."""

    def __init__(self, model):
        super().__init__([model.predict_on_batch])


def _interpreter(content: bytes) -> Callable:
    import tensorflow as tf  # which loads `tf.lite` only when it is asked for

    interpreter = tf.lite.Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    given, said = (which()[0]["index"] for which in (interpreter.get_input_details, interpreter.get_output_details))

    def run(batch: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given, batch)
        interpreter.invoke()
        return interpreter.get_tensor(said)

    return run


def export(model) -> bytes:
    """A Keras model with one input of fixed size and one output, as a LiteRT file for one picture at a time."""
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


def engine(model, cache: str | Path | None = None) -> Engine:
    """The fastest exact way to run a Keras model with one input of fixed size and one output.

    Args:
        model: The network.
        cache: Folder that it is exported into, once; if it cannot be written, every time. Defaults to the user's cache
            folder.
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
