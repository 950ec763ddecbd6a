"""Networks that tell classes apart: a head on a backbone, small CNNs from scratch, a linear model on pixels.

Every model takes RGB pictures of 0 to 255 and answers with logits, one per class.
"""

import numpy as np

from sneakerlib import InputError
from sneakerlib.backbones import OFFLINE, backbone, backbone_names
from sneakerlib.quiet import keras

__all__ = [
    "OFFLINE",
    "SecondMoment",
    "backbone",
    "backbone_names",
    "classifier",
    "cnn",
    "features",
    "linear",
    "scratch",
    "second_order",
]

layers, ops = keras.layers, keras.ops


def classifier(backbone: keras.Model, labels: list[str], dropout: float = 0.2) -> keras.Model:
    """Put a linear head on a backbone: one logit per label.

    Args:
        backbone: From `backbone()`; its layers are shared, not copied.
        labels: The classes, in the order of the answers.
        dropout: Share of the features that training hides at random. Defaults to 0.2, as in the EfficientNet paper.
    """
    x = layers.Dropout(dropout, name="dropout")(backbone.output)
    return keras.Model(backbone.input, layers.Dense(len(labels), name="logits")(x), name=backbone.name)


@keras.saving.register_keras_serializable("sneakerlib")
class SecondMoment(layers.Layer):
    """Which channels of a feature map are active together: their second moments over all positions.

    (batch, height, width, channels) becomes (batch, channels * (channels + 1) / 2): products of any two channels,
    averaged over the positions; of each the root, with its sign; all of them together brought to length 1. An average
    of the channels alone forgets that the stripe was *on the heel*; products of two keep texture and part together.

    Source: Lin, RoyChowdhury and Maji 2015, "Bilinear CNN Models for Fine-grained Visual Recognition".
    """

    def build(self, shape):
        """Note where the upper triangle of the matrix lies: the lower one says the same."""
        channels = shape[-1]
        self.upper = np.ravel_multi_index(np.triu_indices(channels), (channels, channels)).astype(np.int32)

    def call(self, maps):
        """Multiply, average, take roots, normalise."""
        height, width, channels = maps.shape[1:]
        flat = ops.reshape(maps, (-1, height * width, channels))
        moments = ops.matmul(ops.transpose(flat, (0, 2, 1)), flat) / (height * width)
        moments = ops.take(ops.reshape(moments, (-1, channels * channels)), self.upper, axis=1)
        roots = ops.sign(moments) * ops.sqrt(ops.abs(moments) + 1e-12)
        return roots / ops.sqrt(ops.sum(ops.square(roots), axis=1, keepdims=True))

    def compute_output_shape(self, shape):
        """See above."""
        return shape[0], shape[-1] * (shape[-1] + 1) // 2


MOST_CHANNELS = 192  # of a map whose second moments are taken: 18,528 products


def second_order(backbone: keras.Model, labels: list[str]) -> keras.Model:
    """Put a linear head on the second moments of two late feature maps of a backbone.

    The maps are the last ones of the two smallest sizes; in residual networks the last sums, in which several layers
    have had their say. A map of more than 192 channels is first brought down to 192 directions, drawn by lot.

    Args:
        backbone: From `backbone()`; its layers are shared, not copied.
        labels: The classes, in the order of the answers.

    Raises:
        InputError: If the backbone has no two feature maps of different sizes.
    """
    maps = [layer for layer in backbone.layers if len(getattr(layer.output, "shape", ())) == 4]
    sums = [layer for layer in maps if isinstance(layer, layers.Add)]
    last = {layer.output.shape[1]: layer.output for layer in sums or maps}  # of each size the last
    sizes = sorted(size for size in last if size > 1)[:2]
    if len(sizes) < 2:
        raise InputError(f"{backbone.name} has no two feature maps of different sizes: use larger pictures")
    moments = []
    for size in sizes:
        x = last[size]
        if x.shape[-1] > MOST_CHANNELS:
            lot = keras.initializers.Orthogonal(seed=size)
            x = layers.Conv2D(
                MOST_CHANNELS, 1, use_bias=False, kernel_initializer=lot, trainable=False, name=f"directions_{size}"
            )(x)
        moments.append(SecondMoment(name=f"second_moment_{size}")(x))
    x = layers.Concatenate(name="second_moments")(moments)
    return keras.Model(backbone.input, layers.Dense(len(labels), name="logits")(x), name=backbone.name)


def features(model: keras.Model) -> keras.Model:
    """The part of a classifier before its head: pictures to feature vectors."""
    return keras.Model(model.input, model.get_layer("logits").input, name=f"{model.name}-features")


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
    answers = layers.Dense(1 if one_output else len(labels), name="logits")(x)
    if one_output:  # a sigmoid of z is a softmax of 0 and z
        answers = layers.ZeroPadding1D((1, 0), name="two_logits")(layers.Reshape((1, 1))(answers))
        answers = layers.Flatten()(answers)
    return keras.Model(inputs, answers, name="cnn")
