"""How sure a model may be: its temperature, and the confidence below which it had better say nothing."""

import warnings

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax


def as_predictions(rows: pd.DataFrame, labels: list[str], probabilities: np.ndarray) -> pd.DataFrame:
    """The table that `Saved.predictions` returns.

    Args:
        rows: Catalog rows.
        labels: The classes, in the order of the columns.
        probabilities: Array of shape (pictures, classes), in the order of the rows.
    """
    table = rows[["path", "label"]].reset_index(drop=True)
    table["predicted"] = np.array(labels)[probabilities.argmax(1)]
    table["confidence"] = probabilities.max(1)
    table["correct"] = table.predicted.eq(table.label)
    table = table.join(pd.DataFrame(probabilities, columns=[f"p_{label}" for label in labels]))
    table.attrs = dict(rows.attrs)
    return table


def log_probabilities(predictions: pd.DataFrame, labels: list[str]) -> np.ndarray:
    """What may stand in for logits: array of shape (pictures, classes)."""
    return np.log(np.maximum(predictions[[f"p_{label}" for label in labels]].to_numpy(), np.finfo(float).tiny))


def temperature_scaled(predictions: pd.DataFrame, factor: float) -> pd.DataFrame:
    """The same answers, as a model of another temperature gives them: as right as before, but more or less sure.

    Args:
        predictions: From `Saved.predictions`.
        factor: To the temperature; above 1 makes answers less sure.
    """
    labels = [column[2:] for column in predictions if column.startswith("p_")]
    p = softmax(log_probabilities(predictions, labels) / factor, axis=1)
    return predictions.assign(confidence=p.max(axis=1), **{f"p_{label}": p[:, at] for at, label in enumerate(labels)})


def fit_temperature(logits: np.ndarray, targets: np.ndarray, noise: float = 0.0) -> float:
    """The number that logits have to be divided by for their softmax to be as sure as it is right.

    Args:
        logits: Array of shape (pictures, classes), of pictures that were not trained on. Logarithms of probabilities
            will do: then it is a factor to the temperature that these have been made at.
        targets: Class number of each picture.
        noise: Share of labels that are taken to be drawn by lot; the model need not foresee these. Defaults to 0.

    One picture more is reckoned with, which is named wrongly: with every picture named right, or every error put down
    to the labels, no temperature would be low enough.

    Source: temperature scaling, Guo et al. 2017, "On Calibration of Modern Neural Networks"; Platt 1999, "Probabilistic
    Outputs for Support Vector Machines", for the picture more.
    """
    count, classes = logits.shape

    def surprise(log_temperature: float) -> float:
        likely = log_softmax(logits / np.exp(log_temperature), axis=1)
        own = likely[np.arange(count), targets]
        if noise:
            own = np.log((1 - noise) * np.exp(own) + noise / classes)
        wrong = np.log(np.maximum(-np.expm1(likely.max(axis=1)), np.finfo(float).tiny))
        return -own.mean() - wrong.mean() / count

    return float(np.exp(minimize_scalar(surprise, bounds=(-7, 7), method="bounded").x))


def label_noise(logits: np.ndarray, targets: np.ndarray) -> float:
    """The share of labels that look wrong to a model that has not seen the pictures: confident learning.

    Args:
        logits: Array of shape (pictures, classes).
        targets: Class number of each picture.

    Source: Northcutt, Jiang and Chuang 2021, "Confident Learning", as cleanlab does it.
    """
    with warnings.catch_warnings():  # its progress bars, not used here, ask for widgets
        warnings.filterwarnings("ignore", message="IProgress not found")
        from cleanlab.filter import find_label_issues
    p = softmax(logits.astype(float) / fit_temperature(logits, targets), axis=1)
    return float(find_label_issues(targets, p, n_jobs=1).mean())


def fit_threshold(predictions: pd.DataFrame, wanted: float = 0.98, noise: float = 0.0) -> float:
    """The least confidence at which to give an answer, so that enough of the answers are right.

    Args:
        predictions: From `Saved.predictions`, of the validation pictures.
        wanted: Share of right answers. Defaults to 0.98.
        noise: Share of labels that are taken to be drawn by lot: no model agrees with these more often than chance.
            Defaults to 0.

    Returns:
        The threshold; 1 if no threshold would do.

    Source: Geifman and El-Yaniv 2017, "Selective Classification for Deep Neural Networks".
    """
    ordered = predictions.sort_values("confidence", ascending=False, kind="stable")
    right = ordered.correct.expanding().mean().groupby(ordered.confidence).last()  # equally sure: answered together
    classes = sum(column.startswith("p_") for column in predictions)
    enough = right.index[right >= (1 - noise) * wanted + noise / classes]
    return float(enough.min()) if len(enough) else 1.0
