"""What a model is worth: scores with intervals, the confusion between classes, and whether it knows when it is unsure.

Every function here takes predictions as `Saved.predictions` of a model folder makes them: one row per picture with
path, label, predicted, confidence, correct and a `p_<class>` column per class.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import f1_score, top_k_accuracy_score

from sneakerlib import InputError
from sneakerlib import catalog as catalogs
from sneakerlib.tables import write_csv

BINS = 15  # of confidence, all of one width, as in Guo et al. 2017, "On Calibration of Modern Neural Networks"


def classes(predictions: pd.DataFrame) -> list[str]:
    """The classes, in the order of the `p_<class>` columns."""
    return [column[2:] for column in predictions if column.startswith("p_")]


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927): it stays inside [0, 1] and holds the share even for few pictures."""
    low, high = binomtest(correct, total).proportion_ci(method="wilson")
    return min(float(low), correct / total), max(float(high), correct / total)  # rounding may go past 0 or 1


def scores(predictions: pd.DataFrame) -> dict:
    """The numbers that anyone would quote.

    Returns:
        n, accuracy, accuracy_interval (95 %, Wilson), macro_f1 (over the labels that occur), top3_accuracy, and ece
        (expected calibration error).
    """
    labels = classes(predictions)
    numbers, p = catalogs.class_numbers(predictions.label, labels), predictions[[f"p_{label}" for label in labels]]
    top3 = top_k_accuracy_score(numbers, p.to_numpy(), k=3, labels=range(len(labels))) if len(labels) > 3 else 1.0
    return {
        "n": len(predictions),
        "accuracy": float(predictions.correct.mean()),
        "accuracy_interval": list(wilson_interval(int(predictions.correct.sum()), len(predictions))),
        "macro_f1": float(f1_score(predictions.label, predictions.predicted, average="macro", zero_division=0)),
        "top3_accuracy": float(top3),
        "ece": expected_calibration_error(predictions),
    }


def mcnemar(first: pd.DataFrame, second: pd.DataFrame) -> dict:
    """Is one model better than another on the same pictures? McNemar's exact test.

    Args:
        first: Its predictions.
        second: The other's, of the same pictures.

    Returns:
        difference (accuracy of the first less that of the second), difference_interval (95 %), only_first_correct and
        only_second_correct (pictures), p_value (how often chance alone would set them this far apart).

    Raises:
        InputError: If the pictures are not the same.

    Source: McNemar 1947; for the interval Bonett and Price 2012, "Adjusted Wald Confidence Interval for a Difference
    of Binomial Proportions Based on Paired Data".
    """
    if set(first.path) != set(second.path):
        raise InputError("the two models were asked about different pictures: compare them on the same split")
    both = first.merge(second, on="path")
    only_first, only_second = int((both.correct_x > both.correct_y).sum()), int((both.correct_x < both.correct_y).sum())
    n = len(both)
    a, b = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    spread = 1.96 * np.sqrt((a + b - (a - b) ** 2) / (n + 2))  # so many standard deviations hold 95 %
    return {
        "difference": (only_first - only_second) / n,
        "difference_interval": np.clip([a - b - spread, a - b + spread], -1, 1).tolist(),
        "only_first_correct": only_first,
        "only_second_correct": only_second,
        "p_value": float(binomtest(only_first, max(1, only_first + only_second)).pvalue),
    }


def confusion(predictions: pd.DataFrame) -> pd.DataFrame:
    """Counts of pictures: one row per given label, one column per predicted class."""
    labels = classes(predictions)
    counts = pd.crosstab(predictions.label, predictions.predicted)
    return counts.reindex(index=labels, columns=labels, fill_value=0)


def reliability(predictions: pd.DataFrame) -> pd.DataFrame:
    """Confidence (mean), accuracy and pictures in each of 15 bins of confidence that holds any."""
    accuracy, confidence = calibration_curve(predictions.correct, predictions.confidence, n_bins=BINS)
    pictures = pd.cut(predictions.confidence, np.linspace(0, 1, BINS + 1)).value_counts(sort=False)
    return pd.DataFrame({"confidence": confidence, "accuracy": accuracy, "pictures": pictures[pictures > 0].to_numpy()})


def expected_calibration_error(predictions: pd.DataFrame) -> float:
    """How far confidence and accuracy lie apart, averaged over 15 bins of confidence (Guo et al. 2017)."""
    table = reliability(predictions)
    return float(np.average((table.confidence - table.accuracy).abs(), weights=table.pictures))


def risk_coverage(predictions: pd.DataFrame) -> pd.DataFrame:
    """How many answers are right if only the surest ones are given (Geifman and El-Yaniv 2017).

    Returns:
        One row per threshold, the highest first: threshold (least confidence), coverage (share of the pictures that
        are answered), accuracy (of these). Equally sure answers are given together.
    """
    ordered = predictions.sort_values("confidence", ascending=False, kind="stable", ignore_index=True)
    table = pd.DataFrame({"threshold": ordered.confidence, "coverage": (ordered.index + 1) / len(ordered)})
    table["accuracy"] = ordered.correct.expanding().mean()
    return table.drop_duplicates("threshold", keep="last", ignore_index=True)


def write(predictions: pd.DataFrame, folder: str | Path) -> None:
    """Write `predictions.csv` and `confusion.csv` into a folder."""
    for name, table in {"predictions": predictions.set_index("path"), "confusion": confusion(predictions)}.items():
        write_csv(Path(folder) / f"{name}.csv", table)


def pictures_for(saved, source: str | Path, split: str = "test", labels: list[str] | None = None) -> pd.DataFrame:
    """The catalog rows of a folder or catalog file that a model may be judged on.

    Args:
        saved: From `model_folder.load`; it remembers which picture was in which split.
        source: A picture folder, or a catalog file, whose own splits then count.
        split: `train`, `val` or `test`; `all` takes every picture, for a folder that the model has never seen.
        labels: Only these classes. Defaults to the model's.

    Raises:
        InputError: If none of the pictures is in that split.
    """
    source = Path(source)
    if source.is_file():
        rows = catalogs.load(source)
    else:
        rows = catalogs.read(source, labels or [label for label in saved.labels if (source / label).is_dir()])
        if split != "all":
            known = saved.catalog.set_index("path")
            rows = rows[rows.sha256.eq(rows.path.map(known.sha256))]
            rows = rows.assign(**{name: rows.path.map(known[name]) for name in ("issue", "group", "split")})
    rows = rows[rows.label.isin(labels or saved.labels)]
    if catalogs.usable(rows, None if split == "all" else split).empty:
        raise InputError(
            f"no picture under {source} was in the model's {split} split: use --split all for pictures new to it"
        )
    return rows
