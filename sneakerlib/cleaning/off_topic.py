"""Pictures of something else: far from their class, and from every class, in the space of a network's features."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import median_abs_deviation
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.neighbors import LocalOutlierFactor

from sneakerlib.learning.features import features

NEAREST, NEIGHBOURS = 10, 20  # a search may bring ten boxes of one kind: they must not vouch for each other
FEWEST = 100  # pictures: with fewer, nothing can be said of what is usual
REFERENCE = 1000  # pictures that all are compared with, as many at a time: the work grows as their number does
DIRECTIONS = 30  # of the features, in which the spread of the classes is measured
# Scores of ordinary pictures are taken to fall off exponentially from their median on, as fast as they do from there to
# the 90th percentile; the limit is what one of 500 ordinary pictures would exceed. The three signs and these numbers
# were picked on thirteen drawn samples (seeds 5 to 8, 15 to 17, 21 to 23), where 400 to 700 did as well, and by
# looking at the real photographs.
MEDIAN, HIGH, RARE = 0.5, 0.9, 1 / 500


def find(catalog: pd.DataFrame, cache: str | Path | None = None, progress: bool = True) -> pd.DataFrame:
    """The pictures of something else among these, which can be read, each content once: score and limit by sha256."""
    judged = judge(features(catalog, cache=cache, progress=progress), catalog.label, catalog.sha256)
    return judged.set_axis(catalog.sha256)[judged.wrong.to_numpy()]


def judge(features: np.ndarray, labels: pd.Series, keys: pd.Series) -> pd.DataFrame:
    """Say which pictures show something else than all the others do.

    Three signs are added up, each in robust standard deviations: the distance to the nearest pictures (Sun et al. 2022,
    "Out-of-Distribution Detection with Deep Nearest Neighbors"); how much emptier a picture's surroundings are than
    those of its neighbours (local outlier factor, Breunig et al. 2000); the distance to the nearest class, measured by
    the spread within classes (Mahalanobis distance, Lee et al. 2018, "A Simple Unified Framework for Detecting
    Out-of-Distribution Samples"). A picture near another class than its own is a wrong label, not another topic.

    Takes ReLU activations, averaged over positions, of shape (pictures, channels). The keys, such as hashes, decide
    which pictures are the reference, whatever the order. Gives, with the index of `keys`: score, limit (from which on a
    picture is off topic; the same for all) and wrong (bool).
    """
    chosen = np.argsort(keys.to_numpy(str), kind="stable")[:REFERENCE]  # hashes: as good as drawn by lot
    reference, parts = _unit(features[chosen]), []
    near = LocalOutlierFactor(NEIGHBOURS, algorithm="brute", novelty=True).fit(reference)
    space = PCA(min(DIRECTIONS, *reference.shape), random_state=0).fit(reference)
    for first in range(0, len(features), REFERENCE):  # in portions, or copies would take more memory than all features
        unit = _unit(features[first : first + REFERENCE])
        parts.append((near.kneighbors(unit, NEAREST)[0], -near.score_samples(unit), space.transform(unit)))
    distance, empty, place = map(np.concatenate, zip(*parts, strict=True))
    # Those of the reference are compared with the others of it, not with themselves.
    distance[chosen], empty[chosen] = near.kneighbors(n_neighbors=NEAREST)[0], -near.negative_outlier_factor_
    signs = np.square(distance).mean(axis=1), empty, _class_distance(pd.DataFrame(place), labels.to_numpy())
    spread = [max(median_abs_deviation(sign, scale="normal"), 1e-12) for sign in signs]
    score = sum((sign - np.median(sign)) / scale for sign, scale in zip(signs, spread, strict=True))
    median, high = np.quantile(score, [MEDIAN, HIGH])
    limit = median + (high - median) * np.log((1 - MEDIAN) / RARE) / np.log((1 - MEDIAN) / (1 - HIGH))
    return pd.DataFrame({"score": score, "limit": limit, "wrong": score >= limit}, index=keys.index)


def _unit(features: np.ndarray) -> np.ndarray:
    """Square roots, or a few loud channels would decide alone, of length 1, or pictures with many edges would."""
    unit = np.sqrt(np.maximum(features, 0))
    return unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)


def _class_distance(place: pd.DataFrame, labels: np.ndarray) -> np.ndarray:
    """Mahalanobis distance to the nearest class mean."""
    means = place.groupby(labels).mean()
    spread = LedoitWolf(assume_centered=True).fit(place - means.loc[labels].to_numpy())
    return np.sqrt(np.min([spread.mahalanobis(place.to_numpy() - mean) for mean in means.to_numpy()], axis=0))
