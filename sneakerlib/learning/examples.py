"""Training pictures that a model folder carries, to show what a new picture is most like."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from sneakerlib import InputError
from sneakerlib.catalog import folder_of, usable
from sneakerlib.learning import networks
from sneakerlib.learning.engine import Engine, engine
from sneakerlib.learning.features import LONG
from sneakerlib.learning.quiet import keras
from sneakerlib.pictures import quietly, standard
from sneakerlib.runs import replacing, watch

FILE = "examples.npz"
THUMBNAIL = 128  # pixels of a small copy's longer side: 5 to 10 KB


def describer(saved) -> Engine:
    """What a picture is like in the eyes of a model: what its head sees, or second moments of few channels; length 1.

    On the sample's test and validation pictures the nearest training picture shows the same shoe for 0.88 of them with
    25 channels (1,950 numbers), for 0.88 with all that the head of `second-order` sees (24,856, without regions), for
    0.82 with plain averages of the last map.
    """
    network = networks.before_head(saved.model)
    if network.output_shape[1] > LONG:
        network = networks.before_head(networks.second_order(saved.model, saved.labels, channels=25))
    return engine(keras.Model(network.input, keras.layers.UnitNormalization()(network.output)), saved.folder)


def keep(saved, catalog: pd.DataFrame, progress: bool = True) -> Path:
    """Put small copies of the training pictures into the model folder, with what the model says of them.

    Whoever gets the folder, or may ask a server that runs it, can see them: keep only what may be shown.

    Args:
        saved: From `model_folder.load`.
        catalog: The table; its usable training pictures of the model's classes are kept.
        progress: Show a bar. Defaults to True.

    Returns:
        The file, `examples.npz`.

    Raises:
        InputError: If there are none.
    """
    rows = usable(catalog, "train")
    rows = rows[rows.label.isin(saved.labels)]
    if rows.empty:
        raise InputError("no training pictures of the model's classes: see the catalog's columns label and split")
    describe, folder = describer(saved), folder_of(rows)

    def look(path: str) -> tuple[np.ndarray, bytes]:
        return describe(saved.look(folder / path)), standard(folder / path, THUMBNAIL)

    with quietly(), ThreadPoolExecutor() as pool:
        vectors, small = zip(*watch(pool.map(look, rows.path), len(rows), "describing", progress), strict=True)
    with replacing(saved.folder / FILE) as beside:
        # A JPEG never ends in a zero, so numpy gives back the very bytes that it filled up to one length.
        np.savez_compressed(beside, seen=np.stack(vectors), labels=rows.label.to_numpy(str), pictures=np.array(small))
    return saved.folder / FILE


class Examples:
    """The training pictures that a model folder carries; raises InputError if the file is damaged."""

    def __init__(self, saved):
        file = saved.folder / FILE
        try:
            with np.load(file) as opened:
                self.vectors, self.labels = opened["seen"], opened["labels"].tolist()
                self.pictures = opened["pictures"].tolist()
        except Exception as error:  # a broken zip, a missing array: each raises something else
            raise InputError(f"{file} is damaged: delete it, or train the model again with --examples") from error
        self.describe = describer(saved)

    def nearest(self, picture: np.ndarray, count: int = 3) -> list[tuple[str, float, bytes]]:
        """Label, cosine similarity and JPEG of the training pictures that are most like one as the model sees it."""
        likeness = self.vectors @ self.describe(picture)
        best = np.argsort(-likeness, kind="stable")[:count]
        return [(self.labels[at], float(likeness[at]), self.pictures[at]) for at in best]
