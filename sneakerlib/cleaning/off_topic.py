"""Pictures of something else: far from their class, and from every class, in the space of a network's features."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.neighbors import LocalOutlierFactor

from sneakerlib.cleaning.look import Remembered
from sneakerlib.learning.features import features
from sneakerlib.runs import cache_folder

VERSION = 1  # of the judgement; raise it when anything here changes
NEAREST, NEIGHBOURS = 10, 20  # a search may bring ten boxes of one kind: they must not vouch for each other
FEWEST = 100  # pictures: with fewer, nothing can be said of what is usual
REFERENCE = 1000  # pictures that the others are compared with: the work grows with their number, not with its square
PORTION = 4096  # pictures worked on at a time: memory stays flat
DIRECTIONS = 30  # of the features, in which the spread of the classes is measured
# Scores of ordinary pictures are taken to fall off exponentially from their median on, as fast as they do from there to
# the 90th percentile; the limit is what one of 500 ordinary pictures would exceed. The three signs and these numbers
# were picked on thirteen drawn samples (seeds 5 to 8, 15 to 17, 21 to 23), where 400 to 700 did as well, and by
# looking at the real photographs.
MEDIAN, HIGH, RARE = 0.5, 0.9, 1 / 500


def find(
    catalog: pd.DataFrame, cache: str | Path | None = None, progress: bool = True
) -> dict[str, tuple[float, float]]:
    """Look for pictures of something else.

    Args:
        catalog: Rows of pictures that can be read, each content once.
        cache: Folder of features and earlier judgements. Defaults to the user's cache folder.
        progress: Show a bar. Defaults to True.

    Returns:
        Score and limit of each picture that is off topic, by its content's hash; empty for fewer than 100 pictures.
    """
    if len(catalog) < FEWEST:
        return {}
    memory = Remembered(Path(cache or cache_folder()) / "offtopic.sqlite", VERSION)
    whole = hashlib.sha256("".join(sorted(catalog.sha256 + catalog.label)).encode()).hexdigest()
    known = memory.get([whole])
    if not known:
        judged = judge(features(catalog, cache=cache, progress=progress), catalog.label, catalog.sha256)
        wrong = judged[judged.wrong]
        known = {whole: dict(zip(catalog.sha256[judged.wrong], zip(wrong.score, wrong.limit)))}
        memory.put(known)
    return known[whole]


def judge(features: np.ndarray, labels: pd.Series, keys: pd.Series) -> pd.DataFrame:
    """Say which pictures show something else than all the others do.

    Three signs are added up, each in robust standard deviations: the distance to the nearest pictures (Sun et al. 2022,
    "Out-of-Distribution Detection with Deep Nearest Neighbors"); how much emptier a picture's surroundings are than
    those of its neighbours (local outlier factor, Breunig et al. 2000); the distance to the nearest class, measured by
    the spread within classes (Mahalanobis distance, Lee et al. 2018, "A Simple Unified Framework for Detecting
    Out-of-Distribution Samples"). A picture near another class than its own is a wrong label, not another topic.

    Args:
        features: Array of shape (pictures, channels): ReLU activations, averaged over positions.
        labels: The class of each picture.
        keys: One per picture, such as its hash. They decide, whatever the order, which pictures are the reference.

    Returns:
        One row per picture, with the index of `keys`: score, limit (the score from which on a picture is off topic; the
        same for all) and wrong (bool).
    """
    if len(features) < FEWEST:
        return pd.DataFrame({"score": 0.0, "limit": np.inf, "wrong": False}, index=keys.index)
    reference = np.argsort(keys.to_numpy(str), kind="stable")[:REFERENCE]  # hashes: as good as drawn by lot
    signs = [*_neighbours(features, reference), _class_distance(features, labels.to_numpy(), reference)]
    score = sum(_standard(sign) for sign in signs)
    median, high = np.quantile(score, [MEDIAN, HIGH])
    decay = (high - median) / np.log((1 - MEDIAN) / (1 - HIGH))
    limit = median + decay * np.log((1 - MEDIAN) / RARE)
    return pd.DataFrame({"score": score, "limit": limit, "wrong": score >= limit}, index=keys.index)


def _unit(features: np.ndarray) -> np.ndarray:
    """Square roots, or a few loud channels would decide alone; of length 1, or the pictures with many edges would."""
    roots = np.sqrt(np.maximum(features, 0))
    return roots / np.maximum(np.linalg.norm(roots, axis=1, keepdims=True), 1e-12)


def _portions(rows: np.ndarray) -> list[np.ndarray]:
    return np.array_split(rows, -(-len(rows) // PORTION))


def _neighbours(features: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean squared distance of every picture to the nearest of the reference, and its local outlier factor there."""
    near = LocalOutlierFactor(NEIGHBOURS, algorithm="brute", novelty=True).fit(_unit(features[reference]))
    distance, factor = np.empty((2, len(features)))
    factor[reference] = -near.negative_outlier_factor_
    distance[reference] = np.square(near.kneighbors(n_neighbors=NEAREST)[0]).mean(axis=1)
    others = np.setdiff1d(np.arange(len(features)), reference)
    for rows in _portions(others) if len(others) else ():
        unit = _unit(features[rows])
        factor[rows] = -near.score_samples(unit)
        distance[rows] = np.square(near.kneighbors(unit, NEAREST)[0]).mean(axis=1)
    return distance, factor


def _class_distance(features: np.ndarray, labels: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Mahalanobis distance to the nearest class mean."""
    directions = min(DIRECTIONS, len(reference), features.shape[1])
    space = PCA(directions, random_state=0).fit(_unit(features[reference]))
    rows = np.arange(len(features))
    place = pd.DataFrame(np.concatenate([space.transform(_unit(features[portion])) for portion in _portions(rows)]))
    means = place.groupby(labels).mean()
    spread = LedoitWolf(assume_centered=True).fit(place - means.loc[labels].to_numpy())
    nearest = np.full(len(features), np.inf)
    for mean in means.to_numpy():
        nearest = np.minimum(nearest, spread.mahalanobis(place.to_numpy() - mean))
    return np.sqrt(nearest)


def _standard(values: np.ndarray) -> np.ndarray:
    """In robust standard deviations (1.4826 median absolute deviations) from the median."""
    away = values - np.median(values)
    return away / max(1.4826 * np.median(np.abs(away)), 1e-12)
