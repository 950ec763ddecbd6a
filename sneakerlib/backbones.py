"""Backbones: networks with ImageNet weights, without their heads.

Every one takes RGB pictures of 0 to 255; what it wants done to its pixels is done inside, so that training and serving
cannot differ.
"""

import inspect
import types

import numpy as np

from sneakerlib import InputError, weights
from sneakerlib.quiet import keras

layers = keras.layers

OFFLINE = "efficientnet-lite0"  # the backbone whose weights come with the installation

# EfficientNet-Lite0 (Tan and Le 2019; the "lite" variant drops squeeze-excite and uses ReLU6), one row per stage:
# repeats, kernel, stride, expansion, filters in, filters out
LITE0_STAGES = [
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
]


def backbone_names() -> dict[str, str]:
    """Every backbone by the name that commands and notebooks use: {lower-case name: keras.applications name}."""
    found = [name for name in dir(keras.applications) if inspect.isfunction(getattr(keras.applications, name))]
    return {OFFLINE: "", **{name.lower(): name for name in sorted(found)}}


def backbone(name: str = OFFLINE, size: int = 224, weights: str | None = "imagenet") -> keras.Model:
    """Build a network without its head.

    Args:
        name: `efficientnet-lite0` (needs no network) or any of keras.applications, such as `mobilenetv2`;
            capitals, `-` and `_` don't matter. Defaults to `efficientnet-lite0`.
        size: Height and width of the pictures in pixels. Defaults to 224.
        weights: `imagenet`, or None for random ones. Defaults to `imagenet`.

    Returns:
        A model from pictures (batch, size, size, 3), 0 to 255, to features (batch, channels), averaged over positions.

    Raises:
        InputError: If the name is unknown, or its weights cannot be downloaded.
    """
    plain = name.lower().replace("-", "").replace("_", "")
    if plain == OFFLINE.replace("-", ""):
        return _lite0(size, weights)
    known = {lower: real for lower, real in backbone_names().items() if real}
    if plain not in known:
        raise InputError(f"there is no backbone {name!r}: use {OFFLINE} or one of {', '.join(known)}")
    build = getattr(keras.applications, known[plain])
    inputs = keras.Input((size, size, 3), name="picture")
    try:
        prepared = _module_of(build).preprocess_input(inputs)
        network = build(
            include_top=False, weights=weights, input_tensor=prepared, input_shape=(size, size, 3), pooling="avg"
        )
    except Exception as error:
        if weights is None or "fetch" not in str(error).lower():
            raise InputError(f"{known[plain]} cannot be built at {size} px: {str(error).splitlines()[0]}") from error
        raise InputError(
            f"the weights of {known[plain]} could not be downloaded: connect to the internet, "
            f"or use the backbone {OFFLINE}, which needs no network"
        ) from error
    return keras.Model(inputs, network.output, name=known[plain].lower())


def _module_of(build) -> types.ModuleType:
    """The keras.applications module whose `preprocess_input` belongs to this network."""
    modules = [m for m in vars(keras.applications).values() if inspect.ismodule(m) and hasattr(m, "preprocess_input")]
    return next(module for module in modules if getattr(module, build.__name__, None) is build)


def _lite0(size: int, pretrained: str | None) -> keras.Model:
    """EfficientNet-Lite0, its layers named as in the file of weights, less the first underscore: LiteRT refuses it."""

    def conv(x, filters: int, kernel: int, stride: int, name: str):
        return layers.Conv2D(filters, kernel, stride, "same", use_bias=False, name=name)(x)

    def norm(x, name: str, active: bool = True):
        x = layers.BatchNormalization(epsilon=1e-3, name=name)(x)
        return layers.ReLU(6.0, name=name + ".relu6")(x) if active else x

    inputs = keras.Input((size, size, 3), name="picture")
    x = layers.Rescaling(1 / 128, offset=-127 / 128)(inputs)
    x = norm(conv(x, 32, 3, 2, "conv_stem"), "bn0")
    block = 0
    for repeats, kernel, stride, expansion, filters_in, filters_out in LITE0_STAGES:
        for repeat in range(repeats):
            skip, prefix = x, f"blocks.{block}."
            step, before = (stride, filters_in) if repeat == 0 else (1, filters_out)
            if expansion != 1:
                x = norm(conv(x, before * expansion, 1, 1, prefix + "expand_conv"), prefix + "bn0")
            x = layers.DepthwiseConv2D(kernel, step, "same", use_bias=False, name=prefix + "depthwise_conv")(x)
            x = norm(x, prefix + "bn1")
            x = norm(conv(x, filters_out, 1, 1, prefix + "project_conv"), prefix + "bn2", active=False)
            if repeat:
                x = layers.Add(name=prefix + "add")([x, skip])
            block += 1
    x = norm(conv(x, 1280, 1, 1, "conv_head"), "bn1")
    model = keras.Model(inputs, layers.GlobalAveragePooling2D(name="features")(x), name=OFFLINE)
    if pretrained:
        _fill(model, weights.efficientnet_lite0())
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
            parts = ("bias", "running_mean", "running_var")
            layer.set_weights([kernel, *(state[f"{name}.{part}"] for part in parts)])
