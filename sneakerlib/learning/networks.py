"""Networks that tell classes apart: a head on a backbone, second moments of its maps, a small CNN from scratch.

Every model takes RGB pictures of 0 to 255 and answers with logits, one per class, from a layer named `logits`.
"""

import math

import numpy as np

from sneakerlib import InputError
from sneakerlib.learning.quiet import keras

layers, ops = keras.layers, keras.ops


def classifier(backbone: keras.Model, labels: list[str], dropout: float = 0.2) -> keras.Model:
    """Put a linear head on a backbone: a few hundred pictures are enough for it.

    Args:
        backbone: From `backbones.backbone`; its layers are shared, not copied.
        labels: The classes, in the order of the answers.
        dropout: Share of the features that training hides at random. Defaults to 0.2, as in the EfficientNet paper.
    """
    x = layers.Dropout(dropout, name="dropout")(backbone.output)
    return keras.Model(backbone.input, layers.Dense(len(labels), name="logits")(x), name=backbone.name)


def before_head(model: keras.Model) -> keras.Model:
    """The part of a classifier before its head: pictures to feature vectors."""
    return keras.Model(model.input, model.get_layer("logits").input, name=f"{model.name}-features")


def small_cnn(labels: list[str], size: int = 64) -> keras.Model:
    """The CNN that notebook 03 builds layer by layer: four blocks of convolution, normalisation, ReLU and pooling.

    Args:
        labels: The classes, in the order of the answers.
        size: Height and width of the pictures in pixels. Defaults to 64.
    """
    inputs = keras.Input((size, size, 3), name="picture")
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    for filters in (16, 32, 64, 128):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)  # few steps per epoch: the default 0.99 would lag behind
        x = layers.MaxPooling2D()(layers.ReLU()(x))
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(len(labels), name="logits")(x), name="scratch")


def late_maps(backbone: keras.Model) -> dict[int, keras.KerasTensor]:
    """The last feature map of each size, the smallest size first: {height: map}.

    In residual networks they are the last sums, in which several layers have had their say.
    """
    maps = [layer for layer in backbone.layers if len(getattr(layer.output, "shape", ())) == 4]
    sums = [layer for layer in maps if isinstance(layer, layers.Add)]
    last = {layer.output.shape[1]: layer.output for layer in sums or maps}
    return {size: last[size] for size in sorted(last) if size > 1}


# Of a feature map: top, bottom, left, right, as shares. Shoes stand on the ground and in the middle, so where something
# is seen says what it is. In cross-validation on 23 real classes (one network, 288 pixels) the whole map scored 0.890,
# these three 0.898, the whole beside them the same; other borders of the middle, halves that overlap and thirds were
# alike, left and right halves and quarters worse.
REGIONS = {"middle": (0.2, 0.8, 0.1, 0.9), "upper": (0.0, 0.5, 0.0, 1.0), "lower": (0.5, 1.0, 0.0, 1.0)}


@keras.saving.register_keras_serializable("sneakerlib")
class SecondMoment(layers.Layer):
    """Which channels of a feature map are active together: their second moments over all positions.

    (batch, height, width, channels) becomes (batch, channels * (channels + 1) / 2): products of any two channels,
    averaged over the positions; of each the root, with its sign; all of them together brought to length 1. An average
    of the channels alone forgets that the stripe was *on the heel*; products of two keep texture and part together.

    Args:
        regions: Do so for the positions in the middle, the upper half and the lower half of the map, and put the three
            side by side, which keeps where it was. Defaults to False: once, for all positions.

    Source: Lin, RoyChowdhury and Maji 2015, "Bilinear CNN Models for Fine-grained Visual Recognition"; for the regions
    Lazebnik, Schmid and Ponce 2006, "Beyond Bags of Features: Spatial Pyramid Matching".
    """

    def __init__(self, regions: bool = False, **options):
        super().__init__(**options)
        self.regions = regions

    def call(self, maps):
        """Each region's moments, side by side."""
        if not self.regions:
            return self._moments(maps)
        (height, width), moments = maps.shape[1:3], []
        for top, bottom, left, right in REGIONS.values():
            rows, columns = _between(height, top, bottom), _between(width, left, right)
            moments.append(self._moments(maps[:, rows, columns]))
        return ops.concatenate(moments, axis=1)

    def _moments(self, maps):
        """Multiply, average, keep the upper triangle (the lower one says the same), take roots, normalise."""
        height, width, channels = maps.shape[1:]
        flat = ops.reshape(maps, (-1, height * width, channels))
        moments = ops.matmul(ops.transpose(flat, (0, 2, 1)), flat) / (height * width)
        upper = np.flatnonzero(np.triu(np.ones((channels, channels)))).astype(np.int32)
        moments = ops.take(ops.reshape(moments, (-1, channels * channels)), upper, axis=1)
        roots = ops.sign(moments) * ops.sqrt(ops.abs(moments) + 1e-12)
        return roots / ops.sqrt(ops.sum(ops.square(roots), axis=1, keepdims=True))

    def get_config(self):
        """What `from_config` needs."""
        return super().get_config() | {"regions": self.regions}


def _between(count: int, low: float, high: float) -> slice:
    """Of so many positions those whose centres lie between two shares of all."""
    return slice(math.ceil(low * count - 0.5), math.floor(high * count - 0.5) + 1)


def second_order(backbone: keras.Model, labels: list[str], channels: int = 192, regions: bool = True) -> keras.Model:
    """Put a linear head on the second moments of two late feature maps, the last ones of the two smallest sizes.

    Args:
        backbone: From `backbones.backbone`; its layers are shared, not copied.
        labels: The classes, in the order of the answers.
        channels: At most, of one map: one of more is brought down to so many directions, drawn by lot. Defaults to 192.
        regions: Take the moments of three regions instead of the whole: vectors three times as long, no further pass
            of the network. See `SecondMoment`. Defaults to True.

    Raises:
        InputError: If the backbone has no two feature maps of different sizes.
    """
    maps = list(late_maps(backbone).values())[:2]
    if len(maps) < 2:
        raise InputError(f"{backbone.name} has no two feature maps of different sizes: use larger pictures")
    moments = []
    for x in maps:
        size = x.shape[1]
        if x.shape[-1] > channels:
            lot = {"kernel_initializer": keras.initializers.Orthogonal(seed=size), "trainable": False}
            x = layers.Conv2D(channels, 1, use_bias=False, name=f"directions_{size}", **lot)(x)
        moments.append(SecondMoment(regions, name=f"second_moment_{size}")(x))
    x = layers.Concatenate(name="second_moments")(moments)
    return keras.Model(backbone.input, layers.Dense(len(labels), name="logits")(x), name=backbone.name)
