"""Run a network fast: exported to LiteRT, an interpreter per core; what it says of a picture is kept by content.

The exported network gives the same numbers as Keras to five digits, at more than twice the speed on two cores
(benchmarks/README.md).
"""

import contextlib
import hashlib
import itertools
import queue
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import cpu_count  # what this process may use: on a cluster that is less than there is

from sneakerlib import pictures
from sneakerlib.catalog import folder_of
from sneakerlib.learning.cache import Store, Vectors
from sneakerlib.runs import cache_folder, replacing, watch

VERSION = 1  # of how a picture is brought to a size and put into a network; raise it when either changes
PORTION = 512  # pictures worked on before their features are written down: a kill loses no more
LONG = 4096  # numbers: longer vectors are kept in half precision, which takes half the disk and rounds by 0.05 %
SIZE = 224  # pixels: what ImageNet networks are trained at


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
        from sneakerlib.learning.quiet import silence

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

    def map(self, load: Callable[[Any], np.ndarray], sources: Iterable) -> Iterator[np.ndarray]:
        """The answers to `load(source)`, in order; pictures are decoded on the same cores, a few ahead."""
        sources = iter(sources)
        with ThreadPoolExecutor(self.lanes) as pool:
            while portion := list(itertools.islice(sources, PORTION)):
                yield from pool.map(lambda source: self(load(source)), portion)


class Keras:
    """A network as Keras runs it, where it cannot be exported: the same answers, more slowly.

    Args:
        model: The network.

    Attributes:
        lanes: How many pictures are answered at a time.
    """

    lanes = 32

    def __init__(self, model):
        self.model, self.waiting, self.turn = model, queue.SimpleQueue(), threading.Lock()

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """The answer to one picture; may be called from several threads, which are then answered together."""
        mine = Future()
        self.waiting.put((picture, mine))
        with self.turn:  # whoever has it asks for all who wait
            asked = [self.waiting.get() for _ in range(min(self.waiting.qsize(), self.lanes))]
            if asked:
                try:
                    for (_, theirs), answer in zip(asked, self._ask([each for each, _ in asked]), strict=True):
                        theirs.set_result(answer)
                except BaseException as error:
                    for _, theirs in asked:
                        theirs.done() or theirs.set_exception(error)
        return mine.result()

    def _ask(self, batch: list[np.ndarray]) -> np.ndarray:
        return np.asarray(self.model.predict_on_batch(np.stack(batch).astype(np.float32)))

    def map(self, load: Callable[[Any], np.ndarray], sources: Iterable) -> Iterator[np.ndarray]:
        """The answers to `load(source)`, in order."""
        sources = iter(sources)
        while batch := [load(source) for source in itertools.islice(sources, self.lanes)]:
            yield from self._ask(batch)


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
    from sneakerlib.learning.quiet import keras

    if keras.backend.backend() != "tensorflow":
        return Keras(model)
    file = Path(cache or cache_folder()) / f"exported-{fingerprint(model)}.tflite"
    try:
        return LiteRT(file.read_bytes())
    except (OSError, ValueError, RuntimeError):
        pass  # not exported yet, or damaged
    try:
        content = export(model)
    except Exception:  # a layer that LiteRT lacks: the converter raises what it likes
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


def answers(run: LiteRT | Keras, size: int, catalog: pd.DataFrame, progress: bool = True) -> np.ndarray:
    """What a model says of every picture, now; the answers are not kept.

    Args:
        run: From `engine`.
        size: Height and width in pixels that the model sees.
        catalog: Rows of pictures that can be read.
        progress: Show a bar. Defaults to True.

    Returns:
        Array of shape (pictures, classes), in the order of the catalog.
    """
    with pictures.quietly():
        found = run.map(_loader(catalog, size), catalog.path)
        return np.stack(list(watch(found, len(catalog), "classifying", progress)))


def _loader(catalog: pd.DataFrame, size: int) -> Callable[[str], np.ndarray]:
    """Opens a picture of the catalog at a size."""
    folder = folder_of(catalog)
    return lambda path: pictures.as_seen(folder / path, size)


def features(
    catalog: pd.DataFrame,
    network: Any = "efficientnet-lite0",
    size: int = SIZE,
    cache: str | Path | None = None,
    progress: bool = True,
) -> np.ndarray | Vectors:
    """What a network says of every picture, computed once per content and network.

    Args:
        catalog: Rows of pictures that can be read.
        network: A backbone's name (see `networks.backbone`), which is not even built if all is known, or a Keras model
            that gives one vector per picture. Defaults to `efficientnet-lite0`.
        size: Height and width in pixels that a named backbone sees. Defaults to 224.
        cache: Folder of what is known. Defaults to the user's cache folder.
        progress: Show a bar. Defaults to True.

    Returns:
        Array of shape (pictures, channels), in the order of the catalog, float32. More than 4,096 channels are kept in
        half precision, which rounds by 0.05 % at most, and stay in their file: `np.asarray` of some rows reads these.

    Raises:
        InputError: If the backbone is unknown, or a picture cannot be read.
    """
    named = isinstance(network, str)
    size = size if named else network.input_shape[1]
    own = f"{network.lower()}-{size}" if named else f"{network.name}-{fingerprint(network)}"
    known = Store(Path(cache or cache_folder()) / "features.sqlite", f"{own}-v{VERSION}")
    new = catalog[~catalog.sha256.isin(known.keys()) & ~catalog.sha256.duplicated()]
    if len(new):
        if named:
            from sneakerlib.learning import networks

            network = networks.backbone(network, size)
        with pictures.quietly():
            answers = engine(network, cache).map(_loader(catalog, size), new.path)
            answers = watch(answers, len(new), "describing", progress)
            while vectors := list(itertools.islice(answers, PORTION)):
                kept = np.float16 if vectors[0].size > LONG else np.float32
                known.put(new.sha256[: len(vectors)], np.stack(vectors).astype(kept))
                new = new.iloc[len(vectors) :]
    found = Vectors(known, catalog.sha256)
    return found if found.shape[1] > LONG else np.asarray(found, np.float32)
