"""What a network looked at when it named a picture, and what else speaks for and against a label."""

import numpy as np
import pandas as pd
from PIL import Image

from sneakerlib import InputError
from sneakerlib.catalog import folder_of
from sneakerlib.learning import networks
from sneakerlib.learning.quiet import keras
from sneakerlib.review import neighbours


class HeatMaps:
    """Where the evidence for a class lies, by Grad-CAM.

    How strongly does the class's logit react to each channel of the last feature map? The channels, weighted by that
    and summed up, light up where the class has been recognised. The first call takes seconds: TensorFlow
    compiles.

    Args:
        model: From `models`, with feature maps; on TensorFlow.

    Raises:
        InputError: If the model has no feature maps, or Keras does not run on TensorFlow.

    Source: Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization".
    """

    def __init__(self, model: keras.Model):
        if keras.backend.backend() != "tensorflow":
            raise InputError("heat maps are made with TensorFlow: set KERAS_BACKEND=tensorflow")
        import tensorflow as tf

        body, kernel = networks.before_head(model), model.get_layer("logits").get_weights()[0]
        if not any(isinstance(layer, keras.layers.Conv2D) for layer in body.layers):
            raise InputError(f"{model.name} has no feature maps to look at: it has no convolutions")
        size, cut = body.input_shape[1], list(networks.late_maps(body).values())[:2]
        front, back = keras.Model(body.input, cut), keras.Model(cut, body.output)
        weights = tf.constant(kernel.T)  # a row per class

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3]), tf.TensorSpec([None], tf.int64)])
        def heat(seen, numbers):
            maps = front(tf.image.resize(seen, (size, size)))
            with tf.GradientTape() as tape:
                tape.watch(maps)
                logits = tf.reduce_sum(back(maps) * tf.gather(weights, numbers), axis=1)
            last, slope = maps[0], tape.gradient(logits, maps[0])  # no picture's logit depends on another picture
            return tf.nn.relu(tf.reduce_sum(last * tf.reduce_mean(slope, (1, 2), keepdims=True), axis=-1))

        self.heat = heat

    def __call__(self, pictures: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Heat maps of some pictures.

        Args:
            pictures: Array of shape (pictures, size, size, 3), 0 to 255, of the model's size.
            numbers: Of the class to explain, one per picture.

        Returns:
            Array of shape (pictures, size, size): 0 where nothing speaks for the class, 1 where most does; all 0 if
            nothing at all.
        """
        heat = self.heat(pictures.astype(np.float32), numbers.astype(np.int64)).numpy()
        heat = heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-12)
        side = pictures.shape[1:3]
        return np.stack([np.asarray(Image.fromarray(one).resize(side, Image.BILINEAR)).clip(0, 1) for one in heat])


class Evidence:
    """What there is to see about suspect labels: the picture, what the network looked at, the pictures most like it.

    Args:
        suspects: From `review.suspects`.
        saved: From `modelfolder.load`: the network whose heat maps are shown.
        features: Array of shape (pictures, channels), in the order of `rows`, by which pictures are alike.
        rows: Catalog rows to look for similar pictures among; the suspects are among them. Only pictures that are no
            suspects themselves are shown as examples of a class.
        count: Similar pictures of each class. Defaults to 3.
    """

    def __init__(self, suspects: pd.DataFrame, saved, features: np.ndarray, rows: pd.DataFrame, count: int = 3):
        self.suspects, self.saved, self.features, self.rows, self.count = suspects, saved, features, rows, count
        self.heat_maps = HeatMaps(saved.model)
        self.sound = (~rows.path.isin(suspects.path) & rows.issue.eq("")).to_numpy()

    def of(self, some: pd.DataFrame) -> pd.DataFrame:
        """The evidence about some of the suspects, a table for `plots.gallery`.

        Returns:
            For each of them up to 2 + 2 * `count` rows: the picture, the same with a heat map of the proposed class,
            the pictures most like it of the given class and of the proposed one. Columns: suspect (its path), path,
            label, title, wrong (whether it is the suspect), heat (array of shape (size, size), or None).
        """
        found = []
        for row, heat in zip(some.itertuples(), self._heat(some), strict=True):
            found.append((row.path, row.path, row.label, f"labelled\n{row.label}", True, None))
            found.append((row.path, row.path, row.label, f"evidence for\n{row.proposed}", False, heat))
            for label in dict.fromkeys((row.label, row.proposed)):  # one and the same if twins were set aside
                alike = neighbours.nearest(self.features, self.rows, row.path, label, self.count, self.sound)
                found += [(row.path, path, label, f"like it:\n{label}", False, None) for path in alike.path]
        table = pd.DataFrame(found, columns=["suspect", "path", "label", "title", "wrong", "heat"])
        table.attrs = dict(self.rows.attrs)
        return table

    def _heat(self, some: pd.DataFrame) -> np.ndarray:
        """Heat maps of the proposed classes, in the order of the suspects."""
        if some.empty:
            return np.empty((0, self.saved.size, self.saved.size))
        folder = folder_of(self.rows)
        seen = np.stack([self.saved.look(folder / path) for path in some.path])
        return self.heat_maps(seen, np.array([self.saved.labels.index(name) for name in some.proposed]))
