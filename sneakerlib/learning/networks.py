"""Networks that tell classes apart: a head on a backbone, small CNNs from scratch, a linear model on pixels.

Every model takes RGB pictures of 0 to 255 and answers with logits, one per class.
"""

import math

import numpy as np

from sneakerlib import InputError
from sneakerlib.learning.backbones import OFFLINE, backbone, backbone_names
from sneakerlib.learning.quiet import keras

__all__ = [
    "OFFLINE",
    "SecondMoment",
    "backbone",
    "backbone_names",
    "classifier",
    "cnn",
    "earlier",
    "features",
    "late_maps",
    "linear",
    "scratch",
    "second_order",
    "transplanted",
]

layers, ops = keras.layers, keras.ops


def classifier(
    backbone: keras.Model,
    labels: list[str],
    dropout: float = 0.2,
    dense: tuple[int, ...] = (),
    penalty: float = 0.0,
    flatten: bool = False,
    one_output: bool = False,
) -> keras.Model:
    """Put a head on a backbone: one logit per label. The default is linear: a few hundred pictures are enough for it.

    Heads of earlier projects: `dense=(512, 128)` or `(256, 64)` with `dropout=0.5, penalty=1e-3` on a MobileNetV2;
    `dense=(256,), dropout=0.4, flatten=True, one_output=True` on a VGG16 of 150 pixels, a workshop's bottleneck model
    of 16,812,353 weights, 2,097,665 of them in the head.

    Args:
        backbone: From `backbone()`; its layers are shared, not copied.
        labels: The classes, in the order of the answers.
        dropout: Share of the inputs of the last layer, and of each hidden one but the first, that training hides at
            random. Defaults to 0.2, as in the EfficientNet paper.
        dense: Units per hidden layer, with ReLU. Defaults to none.
        penalty: On the squares of the weights of hidden layers (L2). Defaults to 0.
        flatten: Hand over every position of the last feature map instead of the average of all. Defaults to False.
        one_output: For two classes, one number whose sigmoid is the probability of the second. Defaults to False.
    """
    x = layers.Flatten(name="flatten")(_maps(backbone)[-1].output) if flatten else backbone.output
    for number, units in enumerate(dense, 1):
        x = layers.Dropout(dropout, name=f"dropout_{number}")(x) if number > 1 else x
        x = layers.Dense(units, "relu", kernel_regularizer=keras.regularizers.L2(penalty), name=f"dense_{number}")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(backbone.input, _logits(x, labels, one_output), name=backbone.name)


def _logits(x, labels: list[str], one_output: bool = False):
    """One logit per label; of two classes perhaps from one number, for a sigmoid of z is a softmax of 0 and z."""
    if not one_output:
        return layers.Dense(len(labels), name="logits")(x)
    if len(labels) != 2:
        raise InputError(f"one output tells two classes apart, not {len(labels)}: leave one_output out")
    answers = layers.Reshape((1, 1))(layers.Dense(1, name="logits")(x))
    return layers.Flatten(name="one_logit_each")(layers.ZeroPadding1D((1, 0), name="two_logits")(answers))


def _maps(backbone: keras.Model) -> list:
    """The layers that answer with feature maps."""
    return [layer for layer in backbone.layers if len(getattr(layer.output, "shape", ())) == 4]


def late_maps(backbone: keras.Model) -> dict[int, keras.KerasTensor]:
    """The last feature map of each size, the smallest size first: {height: map}.

    In residual networks they are the last sums, in which several layers have had their say.
    """
    maps = _maps(backbone)
    sums = [layer for layer in maps if isinstance(layer, layers.Add)]
    last = {layer.output.shape[1]: layer.output for layer in sums or maps}
    return {size: last[size] for size in sorted(last) if size > 1}


def earlier(backbone: keras.Model) -> keras.Model:
    """Activations from the middle of a network, averaged over positions: textures and parts rather than things."""
    maps = list(late_maps(backbone).values())
    return keras.Model(backbone.input, layers.GlobalAveragePooling2D()(maps[1]), name=f"{backbone.name}-earlier")


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

    def build(self, shape):
        """Note where the upper triangle of the matrix lies: the lower one says the same."""
        channels = shape[-1]
        self.upper = np.ravel_multi_index(np.triu_indices(channels), (channels, channels)).astype(np.int32)

    def call(self, maps):
        """Each region's moments, side by side."""
        if not self.regions:
            return self._moments(maps)
        height, width = maps.shape[1:3]
        boxes = [(*_span(height, *box[:2]), *_span(width, *box[2:])) for box in REGIONS.values()]
        return ops.concatenate([self._moments(maps[:, y:below, x:right]) for y, below, x, right in boxes], axis=1)

    def _moments(self, maps):
        """Multiply, average, take roots, normalise."""
        height, width, channels = maps.shape[1:]
        flat = ops.reshape(maps, (-1, height * width, channels))
        moments = ops.matmul(ops.transpose(flat, (0, 2, 1)), flat) / (height * width)
        moments = ops.take(ops.reshape(moments, (-1, channels * channels)), self.upper, axis=1)
        roots = ops.sign(moments) * ops.sqrt(ops.abs(moments) + 1e-12)
        return roots / ops.sqrt(ops.sum(ops.square(roots), axis=1, keepdims=True))

    def compute_output_shape(self, shape):
        """See above."""
        return shape[0], shape[-1] * (shape[-1] + 1) // 2 * (len(REGIONS) if self.regions else 1)

    def get_config(self):
        """See above."""
        return super().get_config() | {"regions": self.regions}


def _span(count: int, low: float, high: float) -> tuple[int, int]:
    """The first and the one after the last of so many positions whose centres lie between two shares of all."""
    return math.ceil(low * count - 0.5), math.floor(high * count - 0.5) + 1


MOST_CHANNELS = 192  # of a map whose second moments are taken: 18,528 products


def second_order(
    backbone: keras.Model, labels: list[str], channels: int = MOST_CHANNELS, regions: bool = True
) -> keras.Model:
    """Put a linear head on the second moments of two late feature maps.

    The maps are the last ones of the two smallest sizes (`late_maps`). A map of more channels than `channels` is first
    brought down to that many directions, drawn by lot.

    Args:
        backbone: From `backbone()`; its layers are shared, not copied.
        labels: The classes, in the order of the answers.
        channels: At most, of one map. Defaults to 192.
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
            lot = keras.initializers.Orthogonal(seed=size)
            x = layers.Conv2D(
                channels, 1, use_bias=False, kernel_initializer=lot, trainable=False, name=f"directions_{size}"
            )(x)
        moments.append(SecondMoment(regions, name=f"second_moment_{size}")(x))
    x = layers.Concatenate(name="second_moments")(moments)
    return keras.Model(backbone.input, layers.Dense(len(labels), name="logits")(x), name=backbone.name)


def features(model: keras.Model) -> keras.Model:
    """The part of a classifier before its head: pictures to feature vectors."""
    return keras.Model(model.input, model.get_layer("logits").input, name=f"{model.name}-features")


def transplanted(trained: keras.Model, model: keras.Model) -> keras.Model:
    """A trained network's weights in a network for pictures of another size, without its head.

    Args:
        trained: From `classifier`, trained.
        model: From `classifier` in the same way, at the wanted size; its weights are replaced.
    """
    model.set_weights(trained.get_weights())
    return features(model)


def scratch(
    labels: list[str], size: int = 64, filters: tuple[int, ...] = (16, 32, 64, 128), dropout: float = 0.3
) -> keras.Model:
    """A small CNN without any earlier knowledge: blocks of convolution, normalisation, ReLU and pooling.

    Args:
        labels: The classes, in the order of the answers.
        size: Height and width of the pictures in pixels. Defaults to 64.
        filters: Filters per block; each block halves height and width. Defaults to four blocks.
        dropout: Share of the features that training hides at random. Defaults to 0.3.
    """
    inputs = keras.Input((size, size, 3), name="picture")
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    for count in filters:
        x = layers.Conv2D(count, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)  # few steps per epoch: the default 0.99 would lag behind
        x = layers.ReLU()(x)
        x = layers.MaxPooling2D()(x)
    x = layers.GlobalAveragePooling2D(name="features")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(len(labels), name="logits")(x), name="scratch")


def linear(labels: list[str], size: int = 64) -> keras.Model:
    """The baseline: every pixel votes for every class, nothing else. A network has to beat this."""
    inputs = keras.Input((size, size, 3), name="picture")
    x = layers.Flatten(name="features")(layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, layers.Dense(len(labels), name="logits")(x), name="linear")


def cnn(
    labels: list[str],
    size: int = 224,
    filters: tuple[int, ...] = (2, 4, 8, 16, 32),
    pools: tuple[int, ...] = (2, 2, 2, 2, 2),
    dense: tuple[int, ...] = (256, 64),
    dropout: float = 0.0,
    grey: bool = True,
    padding: str = "same",
    one_output: bool = False,
) -> keras.Model:
    """A CNN as tutorials draw it: convolutions of 3 x 3 with ReLU and pooling, then fully connected layers.

    The defaults are the first network of an earlier sneaker project: 424,637 parameters for 5 classes, of which the
    first dense layer has 94 %. Its second, `filters=(4, 16, 32), pools=(4, 4, 2), dense=(128, 16)`, has 208,253.

    Args:
        labels: The classes, in the order of the answers.
        size: Height and width of the pictures in pixels. Defaults to 224.
        filters: Filters per convolution. Defaults to five convolutions.
        pools: After each convolution, the pixels per side that become one. Defaults to 2.
        dense: Units per hidden layer after the convolutions. Defaults to two layers.
        dropout: Share of the inputs of each dense layer that training hides at random. Defaults to 0.
        grey: Look at brightness only. Defaults to True.
        padding: `same`, or `valid` for convolutions that lose the border. Defaults to `same`.
        one_output: For two classes, one number whose sigmoid is the probability of the second. Defaults to False.
    """
    inputs = keras.Input((size, size, 3), name="picture")
    x = layers.Rescaling(1 / 255)(inputs)
    x = ops.image.rgb_to_grayscale(x) if grey else x
    for number, (count, pool) in enumerate(zip(filters, pools, strict=True), 1):
        x = layers.Conv2D(count, 3, padding=padding, activation="relu", name=f"convolution_{number}")(x)
        x = layers.MaxPooling2D(pool, name=f"pooling_{number}")(x)
    x = layers.Flatten(name="features")(x)
    for number, units in enumerate(dense, 1):
        x = layers.Dropout(dropout, name=f"dropout_{number}")(x)
        x = layers.Dense(units, activation="relu", name=f"dense_{number}")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(inputs, _logits(x, labels, one_output), name="cnn")
