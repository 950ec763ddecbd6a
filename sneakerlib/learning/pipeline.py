"""From catalog and split to batches: every picture is decoded once, into one packed file that is memory-mapped."""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sneakerlib import InputError
from sneakerlib.catalog import class_numbers, folder_of, usable
from sneakerlib.learning.quiet import keras
from sneakerlib.pictures import as_seen, quietly
from sneakerlib.runs import cache_folder, replacing, watch

CHUNK = 256  # pictures decoded before they are written: memory stays flat however many there are
VERSION = 1  # of the packed format and of `pictures.as_seen`; raise it when either changes


@dataclass(frozen=True)
class Pixels:
    """Decoded pictures on disk: `array` (pictures, size, size, 3), uint8; `row` finds a picture by its path."""

    array: np.ndarray
    row: dict[str, int]
    size: int


def pack(catalog: pd.DataFrame, size: int, cache: str | Path | None = None, progress: bool = True) -> Pixels:
    """Decode the catalog's usable pictures into one packed file, or open it if it still fits.

    Args:
        catalog: The pictures.
        size: Height and width in pixels that they are brought to.
        cache: Folder of the packed file. Defaults to `cache_folder()`.
        progress: Show a bar. Defaults to True.

    Returns:
        The pictures, memory-mapped: an epoch reads them from the file and decodes nothing.

    Raises:
        InputError: If a picture cannot be read.
    """
    folder, cache = folder_of(catalog), Path(cache or cache_folder())
    paths = usable(catalog).path.tolist()
    stats = [(folder / path).stat() if (folder / path).exists() else None for path in paths]
    stamps = [[path, stat and stat.st_size, stat and stat.st_mtime_ns] for path, stat in zip(paths, stats, strict=True)]
    fingerprint = _digest([VERSION, size, stamps])
    packed = cache / f"pixels-{size}-{_digest([str(folder.resolve()), sorted(catalog.label.unique())])[:12]}"
    row = {path: index for index, path in enumerate(paths)}
    try:
        if json.loads((packed / "fingerprint.json").read_text()) == fingerprint:
            return Pixels(np.load(packed / "pixels.npy", mmap_mode="r"), row, size)
    except (OSError, ValueError):
        pass  # not there, or not whole: make it
    with replacing(packed) as beside, quietly(), ThreadPoolExecutor() as pool:
        beside.mkdir()
        array = np.lib.format.open_memmap(beside / "pixels.npy", "w+", np.uint8, (len(paths), size, size, 3))
        chunks = (paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK))
        decoded = (pixels for chunk in chunks for pixels in pool.map(lambda path: as_seen(folder / path, size), chunk))
        for index, pixels in enumerate(watch(decoded, len(paths), "decoding", progress)):
            array[index] = pixels
        array.flush()
        del array  # Windows cannot rename an open file
        (beside / "fingerprint.json").write_text(json.dumps(fingerprint))
    return Pixels(np.load(packed / "pixels.npy", mmap_mode="r"), row, size)


def _digest(content: list) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


class Batches(keras.utils.PyDataset):
    """Batches of pictures and one-hot targets for `model.fit`, drawn in an order that the seed decides.

    Args:
        catalog: The rows to draw from, all usable.
        pixels: From `pack`, of the same pictures.
        labels: The classes, in the order of the class numbers.
        batch_size: Pictures per batch. Defaults to 32.
        shuffle: Draw a new order for each epoch. Defaults to False.
        seed: Of that order. Defaults to 0.
    """

    def __init__(self, catalog: pd.DataFrame, pixels: Pixels, labels: list[str], batch_size=32, shuffle=False, seed=0):
        super().__init__()
        if unknown := sorted(set(catalog.label) - set(labels)):
            raise InputError(f"the model does not know {', '.join(unknown)}: it knows {', '.join(labels)}")
        self.catalog, self.pixels, self.labels = catalog, pixels, list(labels)
        self.rows = np.array([pixels.row[path] for path in catalog.path], int)
        self.targets = class_numbers(catalog.label, labels)
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.restart()

    def restart(self, epoch: int = 0) -> None:
        """Let the next epoch be this one, by default the first: a training must not depend on the one before it."""
        self.next = epoch
        self._draw(epoch)

    def _draw(self, epoch: int) -> None:
        self.epoch, order = epoch, np.arange(len(self.rows))
        self.order = np.random.default_rng([self.seed, epoch]).permutation(order) if self.shuffle else order

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        pictures = self.pixels.array[self.rows[chosen]].astype(np.float32)
        return pictures, np.eye(len(self.labels), dtype=np.float32)[self.targets[chosen]]

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return (self[index] for index in range(len(self)))

    def on_epoch_begin(self) -> None:
        """Draw the epoch's order; at the end would be too often, for Keras says so once before the first epoch."""
        self._draw(self.next)
        self.next += 1


def batches(
    catalog: pd.DataFrame, pixels: Pixels, split: str | None = None, *, labels: list[str] | None = None, **options
) -> Batches:
    """Batches of one split; training pictures are shuffled, the others keep the catalog's order.

    Args:
        catalog: The table.
        pixels: From `pack`.
        split: `train`, `val`, `test`, or None for every usable row.
        labels: Class order. Defaults to the catalog's labels, sorted.
        **options: `batch_size`, `shuffle`, `seed`: see `Batches`.

    Raises:
        InputError: If the split is empty.
    """
    rows = usable(catalog, split)
    if rows.empty:
        raise InputError(f"no usable pictures in split {split}: run `sneakerlib split` first")
    labels = labels or sorted(usable(catalog).label.unique())
    return Batches(rows, pixels, labels, **{"shuffle": split == "train"} | options)


def learned_and_judged(
    catalog: pd.DataFrame, pixels: Pixels, labels: list[str], seed: int, kind: type[Batches] = Batches
) -> tuple[Batches, Batches | None]:
    """Training batches and validation batches; None for these if the catalog has no validation pictures.

    Args:
        catalog: The table.
        pixels: What `kind` draws from.
        labels: Class order.
        seed: Of the order of the training pictures.
        kind: `Batches`, or a class derived from it. Defaults to `Batches`.
    """
    val = usable(catalog, "val")
    judged = kind(val, pixels, labels) if len(val) else None
    return kind(usable(catalog, "train"), pixels, labels, shuffle=True, seed=seed), judged
