"""Backbones: networks with ImageNet weights, without their heads.

Every one takes RGB pictures of 0 to 255; what it wants done to its pixels is done inside, so that training and serving
cannot differ.
"""

import inspect
import math
import types

import numpy as np

from sneakerlib import InputError
from sneakerlib.learning import weights
from sneakerlib.learning.quiet import keras

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
# Its larger sisters: more filters, more repeats, and the pixels that they were trained at (the same source).
LITES = {
    "efficientnet-lite0": (1.0, 1.0, 224),
    "efficientnet-lite1": (1.0, 1.1, 240),
    "efficientnet-lite2": (1.1, 1.2, 260),
}
OWN = (*LITES, "resnet18")  # built here; all others are those of keras.applications


def backbone_names() -> dict[str, str]:
    """Every backbone by the name that commands and notebooks use: {lower-case name: keras.applications name}."""
    found = [name for name in dir(keras.applications) if inspect.isfunction(getattr(keras.applications, name))]
    return dict.fromkeys(OWN, "") | {name.lower(): name for name in sorted(found)}


def backbone(name: str = OFFLINE, size: int | None = 224, weights: str | None = "imagenet") -> keras.Model:
    """Build a network without its head.

    Args:
        name: `efficientnet-lite0` (needs no network), `efficientnet-lite1` and `-lite2` (packages of their own),
            `resnet18`, or any of keras.applications, such as `mobilenetv2`; capitals, `-` and `_` don't matter.
            Defaults to `efficientnet-lite0`.
        size: Height and width of the pictures in pixels; None for any. Defaults to 224.
        weights: `imagenet`, or None for random ones. Defaults to `imagenet`.

    Returns:
        A model from pictures (batch, size, size, 3), 0 to 255, to features (batch, channels), averaged over positions.

    Raises:
        InputError: If the name is unknown, or its weights cannot be had.
    """
    plain = name.lower().replace("-", "").replace("_", "")
    if lite := next((own for own in LITES if own.replace("-", "") == plain), None):
        return _lite(lite, size, weights)
    if plain == "resnet18":
        return _resnet18(size, weights)
    known = {lower: real for lower, real in backbone_names().items() if real}
    if plain not in known:
        raise InputError(f"there is no backbone {name!r}: use one of {', '.join((*OWN, *known))}")
    build = getattr(keras.applications, known[plain])
    inputs = keras.Input((size, size, 3), name="picture")
    try:
        prepared = _module_of(build).preprocess_input(inputs)
        network = build(
            include_top=False, weights=weights, input_tensor=prepared, input_shape=(size, size, 3), pooling="avg"
        )
    except Exception as error:
        raise _explained(known[plain], size, error) from error
    return keras.Model(inputs, network.output, name=known[plain].lower())


def _module_of(build) -> types.ModuleType:
    """The keras.applications module whose `preprocess_input` belongs to this network."""
    modules = [m for m in vars(keras.applications).values() if inspect.ismodule(m) and hasattr(m, "preprocess_input")]
    return next(module for module in modules if getattr(module, build.__name__, None) is build)


def _explained(name: str, size: int, error: Exception) -> InputError:
    """One sentence on why a network could not be had."""
    if "fetch" not in str(error).lower():
        return InputError(f"{name} cannot be built at {size} px: {str(error).splitlines()[0]}")
    return InputError(
        f"the weights of {name} could not be downloaded: connect to the internet, "
        f"or use the backbone {OFFLINE}, which needs no network"
    )


def _filters(count: int, width: float) -> int:
    """Filters of a wider network: the nearest multiple of 8, as in the reference code of EfficientNet."""
    return count if width == 1 else int(count * width + 4) // 8 * 8


def _lite(name: str, size: int, pretrained: str | None) -> keras.Model:
    """EfficientNet-Lite, its layers named as in the file of weights, less the first underscore: LiteRT refuses it."""
    width, depth, _ = LITES[name]

    def conv(x, filters: int, kernel: int, stride: int, name: str):
        return layers.Conv2D(filters, kernel, stride, "same", use_bias=False, name=name)(x)

    def norm(x, name: str, active: bool = True):
        x = layers.BatchNormalization(epsilon=1e-3, name=name)(x)
        return layers.ReLU(6.0, name=name + ".relu6")(x) if active else x

    inputs = keras.Input((size, size, 3), name="picture")
    x = layers.Rescaling(1 / 128, offset=-127 / 128)(inputs)
    x = norm(conv(x, 32, 3, 2, "conv_stem"), "bn0")
    block, filters_in = 0, 32
    for stage, (repeats, kernel, stride, expansion, _, wanted) in enumerate(LITE_STAGES):
        filters_out, inner = _filters(wanted, width), 0 < stage < len(LITE_STAGES) - 1
        for repeat in range(math.ceil(repeats * depth) if inner else repeats):  # the ends keep their depth
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
        filters_in = filters_out
    x = norm(conv(x, 1280, 1, 1, "conv_head"), "bn1")
    model = keras.Model(inputs, layers.GlobalAveragePooling2D(name="features")(x), name=name)
    if pretrained:
        _fill(model, weights.efficientnet_lite(int(name[-1])), "_")
    return model


# What torchvision's networks want done to colours: the mean and spread of ImageNet's red, green and blue, of 1.
TORCH_MEAN, TORCH_SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _resnet18(size: int, pretrained: str | None) -> keras.Model:
    """ResNet18 (He et al. 2016) as torchvision builds it, its layers named as in the file of weights."""

    def conv(x, filters: int, kernel: int, stride: int, name: str):
        x = layers.ZeroPadding2D(kernel // 2)(x) if kernel > 1 else x  # on both sides, which "same" would not do
        return layers.Conv2D(filters, kernel, stride, use_bias=False, name=name)(x)

    def norm(x, name: str):
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)

    inputs = keras.Input((size, size, 3), name="picture")
    scale = [1 / (255 * spread) for spread in TORCH_SPREAD]
    x = layers.Rescaling(scale, offset=[-mean / spread for mean, spread in zip(TORCH_MEAN, TORCH_SPREAD)])(inputs)
    x = layers.ReLU()(norm(conv(x, 64, 7, 2, "conv1"), "bn1"))
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))  # zeros are no maximum among answers of a ReLU
    for stage, filters in enumerate((64, 128, 256, 512), 1):
        for block in range(2):
            name, stride = f"layer{stage}.{block}.", 2 if stage > 1 and block == 0 else 1
            skip = norm(conv(x, filters, 1, 2, name + "downsample.0"), name + "downsample.1") if stride == 2 else x
            x = layers.ReLU()(norm(conv(x, filters, 3, stride, name + "conv1"), name + "bn1"))
            x = norm(conv(x, filters, 3, 1, name + "conv2"), name + "bn2")
            x = layers.ReLU()(layers.Add(name=name + "add")([x, skip]))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D(name="features")(x), name="resnet18")
    if pretrained:
        try:
            state = weights.resnet18()
        except Exception as error:
            raise _explained("ResNet18", size, error) from error
        _fill(model, state, "")
    return model


def _fill(model: keras.Model, state: dict[str, np.ndarray], sign: str) -> None:
    """Put torch's arrays into the layers of the same names, in Keras' order of axes.

    Args:
        model: From here, with layers named as in the file.
        state: Array by name.
        sign: What every part of a name begins with in the file that is no number.
    """
    for layer in (layer for layer in model.layers if layer.weights):
        name = ".".join(part if part.isdigit() else sign + part for part in layer.name.split("."))
        kernel = state[name + ".weight"]
        if isinstance(layer, layers.DepthwiseConv2D):
            layer.set_weights([kernel.transpose(2, 3, 0, 1)])
        elif isinstance(layer, layers.Conv2D):
            layer.set_weights([kernel.transpose(2, 3, 1, 0)])
        else:
            parts = ("bias", "running_mean", "running_var")
            layer.set_weights([kernel, *(state[f"{name}.{part}"] for part in parts)])
