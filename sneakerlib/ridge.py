"""Linear heads in closed form, for vectors that are longer than there are pictures: kernel ridge regression.

Targets are +1 for a picture's class and -1 for all others. Regression forgives a wrong label, where a support vector
machine or logistic regression bends to reach it.
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve

PORTION = 1024  # pictures whose vectors are in memory at a time
STRENGTHS = (0.05, 0.1, 0.2, 0.4, 0.8)  # of the penalty, tried on validation; vectors here have length sqrt(2)


def gram(one: np.ndarray, other: np.ndarray | None = None) -> np.ndarray:
    """Inner products of vectors, worked out in portions, so that they may lie in a file.

    Args:
        one: Array of shape (n, channels), of any precision.
        other: Array of shape (m, channels). Defaults to `one`.

    Returns:
        Array of shape (n, m), float32.
    """
    same = other is None
    other = one if same else other
    products = np.empty((len(one), len(other)), np.float32)
    for row in range(0, len(one), PORTION):
        left = np.asarray(one[row : row + PORTION], np.float32)
        for column in range(row if same else 0, len(other), PORTION):
            right = left if same and column == row else np.asarray(other[column : column + PORTION], np.float32)
            block = left @ right.T
            products[row : row + PORTION, column : column + PORTION] = block
            if same:
                products[column : column + PORTION, row : row + PORTION] = block.T
    return products


def solve(gram: np.ndarray, targets: np.ndarray, strength: float) -> np.ndarray:
    """How much every picture counts for every class: the dual coefficients, array of shape (n, classes).

    Args:
        gram: From `gram`, of the training pictures.
        targets: Class number of each picture.
        strength: Of the penalty, above 0.
    """
    return cho_solve(_factor(gram, strength), signs(targets))


def left_out(gram: np.ndarray, targets: np.ndarray, strength: float) -> np.ndarray:
    """What is said of each picture by the head that was solved without it, exactly, for the price of one inverse.

    The residual, divided by one minus the leverage (Rifkin and Lippert 2007, "Notes on Regularized Least Squares").

    Returns:
        Array of shape (n, classes): about +1 for the likeliest class, about -1 for the others.
    """
    inverse = cho_solve(_factor(gram, strength), np.eye(len(gram), dtype=gram.dtype))
    wanted = signs(targets)
    return wanted - inverse @ wanted / np.diag(inverse)[:, None]


def weights(features: np.ndarray, dual: np.ndarray) -> np.ndarray:
    """The head as the kernel of a Dense layer, array of shape (channels, classes)."""
    total = np.zeros((features.shape[1], dual.shape[1]), np.float32)
    for row in range(0, len(features), PORTION):
        total += np.asarray(features[row : row + PORTION], np.float32).T @ dual[row : row + PORTION].astype(np.float32)
    return total


def signs(targets: np.ndarray) -> np.ndarray:
    """+1 for each picture's class, -1 for the others: array of shape (n, classes)."""
    return 2 * np.eye(int(np.max(targets)) + 1, dtype=np.float32)[np.asarray(targets)] - 1


def _factor(gram: np.ndarray, strength: float):
    raised = gram.copy()
    raised[np.diag_indices_from(raised)] += strength
    return cho_factor(raised, overwrite_a=True, check_finite=False)
