"""Training pictures that a model folder carries, to show what a new picture is most like."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from sneakerlib import InputError
from sneakerlib.catalog import folder_of, usable
from sneakerlib.learning import networks
from sneakerlib.learning.engine import engine
from sneakerlib.pictures import quietly, standard
from sneakerlib.runs import replacing, watch

FILE = "examples.npz"
WIDTH = 1024  # numbers that are kept of what the network says of a picture: cosines then err by about 0.03
THUMBNAIL = 128  # pixels of a small copy's longer side: 5 to 10 KB


def sketch(vector: np.ndarray) -> np.ndarray:
    """A vector of length 1 with at most 1,024 numbers that keep its cosines with others: sums of numbers, by lot.

    Source: Charikar, Chen and Farach-Colton 2002, "Finding Frequent Items in Data Streams" (count sketch); Weinberger
    et al. 2009, "Feature Hashing for Large Scale Multitask Learning", for the error of inner products.
    """
    vector = np.asarray(vector, float)
    if len(vector) > WIDTH:
        rng = np.random.default_rng(0)
        sums, signs = rng.integers(0, WIDTH, len(vector)), rng.choice([-1, 1], len(vector))
        vector = np.bincount(sums, signs * vector, WIDTH)
    return vector / max(np.linalg.norm(vector), 1e-12)


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
    describe, folder = engine(networks.before_head(saved.model), saved.folder), folder_of(rows)

    def look(path: str) -> tuple[np.ndarray, bytes]:
        return sketch(describe(saved.look(folder / path))), standard(folder / path, THUMBNAIL)

    with quietly(), ThreadPoolExecutor() as pool:
        vectors, small = zip(*watch(pool.map(look, rows.path), len(rows), "describing", progress), strict=True)
    with replacing(saved.folder / FILE) as beside:
        # A JPEG never ends in a zero, so numpy gives back the very bytes that it filled up to one length.
        np.savez_compressed(
            beside, vectors=np.float16(vectors), labels=rows.label.to_numpy(str), pictures=np.array(small)
        )
    return saved.folder / FILE


class Examples:
    """The training pictures that a model folder carries; raises InputError if the file is damaged."""

    def __init__(self, saved):
        file = saved.folder / FILE
        try:
            with np.load(file) as opened:
                self.vectors, self.labels = opened["vectors"].astype(np.float32), opened["labels"].tolist()
                self.pictures = opened["pictures"].tolist()
        except Exception as error:  # a broken zip, a missing array: each raises something else
            raise InputError(f"{file} is damaged: delete it, or train the model again with --examples") from error
        self.describe = engine(networks.before_head(saved.model), saved.folder)

    def nearest(self, picture: np.ndarray, count: int = 3) -> list[tuple[str, float, bytes]]:
        """Label, cosine similarity and JPEG of the training pictures that are most like one as the model sees it."""
        likeness = self.vectors @ sketch(self.describe(picture)).astype(np.float32)
        best = np.argsort(-likeness, kind="stable")[:count]
        return [(self.labels[at], float(likeness[at]), self.pictures[at]) for at in best]
