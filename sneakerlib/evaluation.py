"""What a model is worth: predictions as a table, scores with intervals, the confusion between classes."""

import math
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support, top_k_accuracy_score

from sneakerlib import InputError, calibration
from sneakerlib.catalog import class_numbers, usable
from sneakerlib.runs import replacing

RESAMPLES = 1000  # of the bootstrap: its bounds then vary by a few thousandths


def predictions(saved, catalog: pd.DataFrame, split: str | None = "test") -> pd.DataFrame:
    """See `model_folder.Saved.predictions`."""
    return saved.predictions(catalog, split)


def classify(saved, picture, **how) -> dict[str, float]:
    """See `model_folder.Saved.classify`."""
    return saved.classify(picture, **how)


def wilson_interval(correct: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval for an accuracy that stays inside [0, 1] even for few pictures.

    Args:
        correct: Number of pictures classified right.
        total: Number of pictures; at least 1.
        confidence: Coverage of the interval, between 0 and 1. Defaults to 0.95.

    Returns:
        Lower and upper bound, as fractions.

    Raises:
        InputError: If `total` is 0 or `correct` does not lie between 0 and `total`.

    Source: Wilson (1927); agrees with statsmodels' `proportion_confint(method="wilson")`.

    >>> [round(bound, 3) for bound in wilson_interval(90, 100)]
    [0.826, 0.945]
    """
    if total < 1 or not 0 <= correct <= total:
        raise InputError(f"{correct} of {total} is no share: give at least one picture")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = correct / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, centre - half), min(1.0, centre + half)


def scores(predictions: pd.DataFrame) -> dict:
    """The numbers that anyone would quote.

    Returns:
        n, accuracy, accuracy_interval (95 %, Wilson), macro_f1 (over the labels that occur), macro_f1_interval (95 %,
        bootstrap), top3_accuracy, ece.
    """
    labels, p = calibration.probabilities(predictions)
    targets, k = class_numbers(predictions.label, labels), min(3, len(labels))
    top = 1.0 if k == len(labels) else top_k_accuracy_score(targets, p, k=k, labels=range(len(labels)))
    return {
        "n": len(predictions),
        "accuracy": float(predictions.correct.mean()),
        "accuracy_interval": list(wilson_interval(int(predictions.correct.sum()), len(predictions))),
        "macro_f1": float(f1_score(predictions.label, predictions.predicted, average="macro", zero_division=0)),
        "macro_f1_interval": macro_f1_interval(predictions),
        "top3_accuracy": float(top),
        "ece": calibration.expected_calibration_error(predictions),
    }


def macro_f1_interval(predictions: pd.DataFrame, seed: int = 0) -> list[float]:
    """95 % interval of the macro F1: between which bounds it lies if the pictures are drawn again and again.

    Args:
        predictions: From `predictions`.
        seed: Of the 1,000 drawings. Defaults to 0.

    Source: the percentile bootstrap, Efron 1979.
    """
    numbers, names = pd.factorize(pd.concat([predictions.label, predictions.predicted]))
    classes, rng, found = len(names), np.random.default_rng(seed), []
    pairs = numbers[: len(predictions)] * classes + numbers[len(predictions) :]
    for _ in range(RESAMPLES):
        drawn = rng.choice(pairs, len(pairs))
        counts = np.bincount(drawn, minlength=classes**2).reshape(classes, classes)
        both = counts.sum(axis=0) + counts.sum(axis=1)
        found.append((2 * np.diag(counts)[both > 0] / both[both > 0]).mean())
    return np.quantile(found, [0.025, 0.975]).tolist()


def compare(one: pd.DataFrame, other: pd.DataFrame) -> dict:
    """Is one model better than the other, on the same pictures?

    Args:
        one: Its predictions.
        other: The other's, of the same pictures.

    Returns:
        difference (accuracy of `one` less that of `other`), difference_interval (95 %), only_one and only_other
        (pictures that only this one names right), p (McNemar's exact test: how often chance alone would set them this
        far apart).

    Raises:
        InputError: If the pictures are not the same.
    """
    if set(one.path) != set(other.path):
        raise InputError("the two models were asked about different pictures: compare them on the same split")
    right, its = one.set_index("path").correct, other.set_index("path").correct
    its, n = its[right.index], len(right)
    only_one, only_other = int((right & ~its).sum()), int((~right & its).sum())
    p = binomtest(only_one, only_one + only_other).pvalue if only_one + only_other else 1.0
    return {
        "difference": (only_one - only_other) / n,
        "difference_interval": _paired_interval(int((right & its).sum()), only_one, only_other, n),
        "only_one": only_one,
        "only_other": only_other,
        "p": float(p),
    }


def _paired_interval(both: int, only_one: int, only_other: int, n: int) -> list[float]:
    """From the Wilson intervals of both accuracies, less what the two have in common.

    Source: Newcombe 1998, "Improved confidence intervals for the difference between binomial proportions based on
    paired data", method 10.
    """
    neither = n - both - only_one - only_other
    one, other = (both + only_one) / n, (both + only_other) / n
    (low_1, high_1), (low_2, high_2) = (wilson_interval(both + only, n) for only in (only_one, only_other))
    product = (both + only_one) * (only_other + neither) * (both + only_other) * (only_one + neither)
    shared = both * neither - only_one * only_other
    shared = max(shared - n / 2, 0) if shared > 0 else shared
    phi = shared / math.sqrt(product) if product else 0.0

    def spread(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

    difference = one - other
    return [difference - spread(one - low_1, high_2 - other), difference + spread(high_1 - one, other - low_2)]


def similar_order(confusion: pd.DataFrame) -> list[str]:
    """The classes in an order in which those stand side by side that are mixed up: blocks show on the diagonal.

    Args:
        confusion: From `confusion`.

    Source: hierarchical clustering by the share of mutual mistakes, its leaves ordered as by Bar-Joseph et al. 2001.
    """
    if len(confusion) < 3:
        return list(confusion.index)
    shares = confusion.to_numpy() / np.maximum(confusion.to_numpy().sum(axis=1, keepdims=True), 1)
    apart = 1 - (shares + shares.T) / 2
    condensed = squareform(apart, checks=False)
    return list(confusion.index[leaves_list(linkage(condensed, "average", optimal_ordering=True))])


def per_class(predictions: pd.DataFrame) -> pd.DataFrame:
    """Precision, recall, F1 and number of pictures of every class, worst F1 first."""
    labels, _ = calibration.probabilities(predictions)
    values = precision_recall_fscore_support(predictions.label, predictions.predicted, labels=labels, zero_division=0)
    table = pd.DataFrame(
        dict(zip(("precision", "recall", "f1", "pictures"), values, strict=True)), index=pd.Index(labels, name="label")
    )
    return table.sort_values("f1", kind="stable")


def confusion(predictions: pd.DataFrame) -> pd.DataFrame:
    """Counts of pictures: one row per given label, one column per predicted class."""
    labels, _ = calibration.probabilities(predictions)
    counts = confusion_matrix(predictions.label, predictions.predicted, labels=labels)
    return pd.DataFrame(counts, index=pd.Index(labels, name="label"), columns=pd.Index(labels, name="predicted"))


def confused_pairs(predictions: pd.DataFrame) -> pd.DataFrame:
    """Which class is taken for which, most often first: label, predicted, pictures."""
    wrong = predictions[~predictions.correct]
    return (
        wrong.groupby(["label", "predicted"])
        .size()
        .rename("pictures")
        .reset_index()
        .sort_values("pictures", ascending=False, kind="stable")
    )


def write(predictions: pd.DataFrame, folder: str | Path) -> None:
    """Write `predictions.csv`, `per_class.csv` and `confusion.csv` into a folder."""
    tables = {
        "predictions": predictions.set_index("path"),
        "per_class": per_class(predictions),
        "confusion": confusion(predictions),
    }
    for name, table in tables.items():
        with replacing(Path(folder) / f"{name}.csv") as beside:
            table.to_csv(beside, lineterminator="\n")


def pictures_for(saved, source: str | Path, split: str = "test", labels: list[str] | None = None) -> pd.DataFrame:
    """The catalog rows of a folder or catalog file that a model may be judged on.

    Args:
        saved: From `modelfolder.load`; it remembers which picture was in which split.
        source: A picture folder, or a catalog file, whose own splits then count.
        split: `train`, `val` or `test`; `all` takes every picture, for a folder that the model has never seen.
        labels: Only these classes. Defaults to the model's.

    Raises:
        InputError: If none of the pictures is in that split.
    """
    from sneakerlib import catalog as catalogs
    from sneakerlib.cleaning import audit

    source = Path(source)
    if source.is_file():
        rows = catalogs.load(source)
    else:
        there = [label for label in saved.labels if (source / label).is_dir()] if source.is_dir() else None
        rows = catalogs.read(source, labels or there or None)
        if split == "all":
            rows = audit.apply(rows, audit.audit(rows, features=False))  # odd pictures count: the model will meet them
        else:
            known = saved.catalog.set_index("path")
            rows = rows[rows.path.isin(known.index)]
            rows = rows[rows.sha256.eq(rows.path.map(known.sha256))]
            rows = rows.assign(
                issue=rows.path.map(known.issue), group=rows.path.map(known.group), split=rows.path.map(known.split)
            )
    rows = rows[rows.label.isin(labels or saved.labels)]
    if usable(rows, None if split == "all" else split).empty:
        raise InputError(
            f"no picture under {source} was in the model's {split} split: use --split all for pictures new to it"
        )
    return rows
