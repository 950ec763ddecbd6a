"""Which labels are probably wrong, by what models say that have not seen them: confident learning."""

import warnings

import numpy as np
import pandas as pd

from sneakerlib.catalog import class_numbers

with warnings.catch_warnings():  # its progress bars, not used here, ask for widgets
    warnings.filterwarnings("ignore", message="IProgress not found")
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores


def doubted(given: pd.Series, probabilities: np.ndarray, labels: list[str]) -> np.ndarray:
    """Where models contradict a label with more confidence than they usually have for that class.

    Args:
        given: The label of each picture.
        probabilities: Array of shape (pictures, classes), of models that did not learn from the picture.
        labels: The classes, in the order of the columns.

    Returns:
        Bool per picture.

    Source: Northcutt, Jiang and Chuang 2021, "Confident Learning", as cleanlab does it.
    """
    numbers = class_numbers(given, labels)
    flagged = find_label_issues(numbers, probabilities, n_jobs=1)
    return flagged & (probabilities.argmax(axis=1) != numbers)


def quality(given: pd.Series, probabilities: np.ndarray, labels: list[str]) -> np.ndarray:
    """How good each label is, from 0 (bad) to 1: the probability of the given label."""
    return get_label_quality_scores(class_numbers(given, labels), probabilities, method="self_confidence")
