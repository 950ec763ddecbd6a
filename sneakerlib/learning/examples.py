"""Training pictures that a model folder carries, to show what a new picture is most like."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from sneakerlib import InputError
from sneakerlib.catalog import folder_of, usable
from sneakerlib.learning import networks
from sneakerlib.learning.engine import Keras, LiteRT, engine
from sneakerlib.learning.features import answers
from sneakerlib.pictures import as_seen, encoded, quietly
from sneakerlib.runs import replacing

FILE = "examples.npz"
WIDTH = 1024  # numbers that are kept of what the network says of a picture: cosines then err by about 0.03
THUMBNAIL, QUALITY = 128, 80  # pixels; of JPEG: 3 to 6 KB a picture


def sketch(vector: np.ndarray) -> np.ndarray:
    """A long vector brought down to 1,024 numbers, of length 1, that keep its cosines with others.

    Every number is added to one of 1,024 sums, or taken from it; which sum and which sign was drawn once.

    Args:
        vector: Array of one dimension; one of up to 1,024 numbers keeps them all.

    Source: Charikar, Chen and Farach-Colton 2002, "Finding Frequent Items in Data Streams" (count sketch); Weinberger
    et al. 2009, "Feature Hashing for Large Scale Multitask Learning", for the error of inner products.
    """
    vector = np.asarray(vector, float)
    if len(vector) > WIDTH:
        rng = np.random.default_rng(0)
        sums, signs = rng.integers(0, WIDTH, len(vector)), rng.choice([-1, 1], len(vector))
        vector = np.bincount(sums, signs * vector, WIDTH)
    return vector / max(np.linalg.norm(vector), 1e-12)


def describer(saved) -> LiteRT | Keras:
    """What a model says of a picture before its head, run fast.

    Args:
        saved: From `modelfolder.load`.
    """
    return engine(networks.before_head(saved.model), saved.folder)


def keep(saved, catalog: pd.DataFrame, progress: bool = True) -> Path:
    """Put small copies of the training pictures into the model folder, with what the model says of them.

    Whoever gets the folder, or may ask a server that runs it, can see them: keep only what may be shown.

    Args:
        saved: From `modelfolder.load`.
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
    folder, said, thumbnails = folder_of(rows), [], []
    with quietly():
        found = answers(describer(saved), saved.size, (folder / path for path in rows.path), len(rows) * progress)
        for path, answer in zip(rows.path, found, strict=True):
            said.append(sketch(answer))
            small = Image.fromarray(as_seen(folder / path, THUMBNAIL))
            thumbnails.append(encoded(small, format="JPEG", quality=QUALITY))
    with replacing(saved.folder / FILE) as beside:
        np.savez(
            beside,
            vectors=np.stack(said).astype(np.float16),
            labels=rows.label.to_numpy(str),
            ends=np.cumsum([len(one) for one in thumbnails]),
            thumbnails=np.frombuffer(b"".join(thumbnails), np.uint8),
        )
    return saved.folder / FILE


class Examples:
    """The training pictures that a model folder carries.

    Args:
        saved: From `modelfolder.load`, of a folder that has them.

    Raises:
        InputError: If the file is damaged.
    """

    def __init__(self, saved):
        file = saved.folder / FILE
        try:
            with np.load(file) as opened:
                self.vectors, self.labels = opened["vectors"].astype(np.float32), opened["labels"].tolist()
                pictures, ends = opened["thumbnails"].tobytes(), opened["ends"].tolist()
        except Exception as error:  # a broken zip, a missing array: each raises something else
            raise InputError(f"{file} is damaged: delete it, or train the model again with --examples") from error
        self.thumbnails = [pictures[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        self.describe = describer(saved)

    def nearest(self, picture: np.ndarray, count: int = 3) -> list[tuple[str, float, bytes]]:
        """The training pictures that are most like a picture to the model.

        Args:
            picture: From `pictures.as_seen`, of the model's size.
            count: At the most. Defaults to 3.

        Returns:
            Label, cosine similarity and JPEG of each, the most similar first.
        """
        likeness = self.vectors @ sketch(self.describe(picture)).astype(np.float32)
        best = np.argsort(-likeness, kind="stable")[:count]
        return [(self.labels[at], float(likeness[at]), self.thumbnails[at]) for at in best]
