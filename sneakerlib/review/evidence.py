"""What speaks for and against a label: what a network looked at, and the pictures most like this one."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from sneakerlib import InputError
from sneakerlib.catalog import folder_of
from sneakerlib.learning.quiet import keras


def heat_maps(model: keras.Model) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Where the evidence for a class lies, by Grad-CAM; notebook 06 has it in the open.

    Args:
        model: Pictures to logits, with feature maps; on TensorFlow.

    Returns:
        What compiles when it is first called with pictures, (pictures, size, size, 3), 0 to 255, and the number of a
        class for each; it gives (pictures, size, size): 1 where most speaks for that class, 0 where nothing does.

    Raises:
        InputError: If the model has no feature maps, or Keras does not run on TensorFlow.

    Source: Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization".
    """
    if keras.backend.backend() != "tensorflow":
        raise InputError("heat maps are made with TensorFlow: set KERAS_BACKEND=tensorflow")
    if not any(isinstance(layer, keras.layers.Conv2D) for layer in model.layers):
        raise InputError(f"{model.name} has no feature maps to look at: it has no convolutions")
    import tensorflow as tf

    watched = keras.Model(model.input, [last_map(model), model.output])

    @tf.function(input_signature=[tf.TensorSpec(model.input_shape), tf.TensorSpec([None], tf.int64)])
    def heat(pictures, numbers):
        with tf.GradientTape() as tape:
            tape.watch(pictures)  # or nothing is recorded where every weight is frozen
            maps, logits = watched(pictures)
            asked = tf.gather(logits, numbers, batch_dims=1)  # no picture's logit depends on another picture
        slopes = tf.reduce_mean(tape.gradient(asked, maps), axis=(1, 2), keepdims=True)
        lit = tf.nn.relu(tf.reduce_sum(maps * slopes, axis=-1, keepdims=True))
        lit = tf.math.divide_no_nan(lit, tf.reduce_max(lit, axis=(1, 2), keepdims=True))
        return tf.image.resize(lit, model.input_shape[1:3])[..., 0]

    return lambda pictures, numbers: heat(np.asarray(pictures, np.float32), np.asarray(numbers, np.int64)).numpy()


def last_map(model: keras.Model) -> keras.KerasTensor:
    """The last of a network's smallest feature maps; averages over all positions, 1 x 1 in some networks, are none."""
    outputs = [layer.output for layer in model.layers if len(getattr(layer.output, "shape", ())) == 4]
    return min((output for output in reversed(outputs) if output.shape[1] > 1), key=lambda output: output.shape[1])


class Evidence:
    """What there is to see about a suspect label: the picture, what a network looked at, the pictures most like it.

    Args:
        found: From `suspects.find`; a suspect is never shown as an example of a class.
        saved: From `model_folder.load`: the network whose heat maps are shown.
        features: Array of shape (pictures, channels), in the order of `rows`, by which pictures are alike.
        rows: Catalog rows to look for similar pictures among; the suspects are among them.
    """

    def __init__(self, found: pd.DataFrame, saved, features: np.ndarray, rows: pd.DataFrame):
        self.saved, self.rows, self.heat_maps = saved, rows, heat_maps(saved.model)
        self.units = features / np.linalg.norm(features, axis=1, keepdims=True)
        self.sound = ~rows.path.isin(found.path) & rows.issue.eq("")

    def of(self, suspect) -> pd.DataFrame:
        """The evidence about one suspect, a row of `itertuples`, as a table for `plots.gallery`.

        Returns:
            path, label, title, heat (of shape (size, size), or None): the picture, the same with a heat map of the
            proposed class, the three pictures most like it of the given class and three of the proposed one.
        """
        number = self.saved.labels.index(suspect.proposed)
        picture = self.saved.look(folder_of(self.rows) / suspect.path)
        heat = self.heat_maps(picture[None], np.array([number]))[0]
        shown = [(suspect.path, suspect.label, f"labelled\n{suspect.label}", None)]
        shown += [(suspect.path, suspect.proposed, f"evidence for\n{suspect.proposed}", heat)]
        for label in dict.fromkeys((suspect.label, suspect.proposed)):  # one and the same if twins were set aside
            shown += [(path, label, f"like it:\n{label}", None) for path in self.nearest(suspect.path, label)]
        table = pd.DataFrame(shown, columns=["path", "label", "title", "heat"])
        table.attrs = dict(self.rows.attrs)
        return table

    def nearest(self, path: str, label: str) -> list[str]:
        """The three sound pictures of a class that are most like a picture, by the cosine; twins are left out."""
        at = int(np.flatnonzero(self.rows.path.eq(path))[0])
        others = np.flatnonzero(self.sound & self.rows.label.eq(label) & self.rows.group.ne(self.rows.group.iloc[at]))
        alike = np.argsort(-self.units[others] @ self.units[at], kind="stable")[:3]
        return self.rows.path.iloc[others[alike]].tolist()
