"""Pictures that look alike to a network, by its features."""

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits


def nearest(
    features: np.ndarray,
    rows: pd.DataFrame,
    path: str,
    label: str,
    count: int = 2,
    among: np.ndarray | bool = True,
) -> pd.DataFrame:
    """The pictures of a class that are most like a picture; its twins are not among them.

    Args:
        features: Array of shape (pictures, channels), in the order of `rows`.
        rows: Catalog rows.
        path: Of the picture, which is among the rows.
        label: The class to look in.
        count: Pictures at the most. Defaults to 2.
        among: Bool per picture: which ones may be named. Defaults to all.

    Returns:
        Catalog rows, the most similar first (cosine similarity).
    """
    at = int(np.flatnonzero(rows.path.eq(path))[0])
    others = np.flatnonzero(rows.label.eq(label) & rows.group.ne(rows.group.iloc[at]) & among)
    some = np.asarray(features[others], float)
    likeness = some @ np.asarray(features[at], float) / np.linalg.norm(some, axis=1)
    return rows.iloc[others[np.argsort(-likeness, kind="stable")[:count]]]


def on_a_plane(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """A place for each picture, so that pictures that look alike lie side by side.

    By t-SNE (van der Maaten and Hinton 2008, "Visualizing Data using t-SNE").

    Args:
        features: Array of shape (pictures, channels), of four pictures or more.
        seed: For scikit-learn. Defaults to 0.

    Returns:
        Array of shape (pictures, 2), without a unit. The same on one core as on many.
    """
    from sklearn.manifold import TSNE  # a tenth of a second that a server, which asks for neighbours alone, is spared

    perplexity = min(30, len(features) // 4)  # scikit-learn's default; no more than there are neighbours
    with threadpool_limits(1):  # several threads add up in another order, and a map of 400 pictures comes out another
        return TSNE(perplexity=perplexity, random_state=seed).fit_transform(features)
