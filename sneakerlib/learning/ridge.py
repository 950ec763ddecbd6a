"""Linear heads in closed form: ridge regression, one class against the rest.

Targets are +1 for a picture's class and -1 for all others. Regression forgives a wrong label, where a support vector
machine or logistic regression bends to reach it. Two ways to the same weights: by the inner products of the pictures
(`Dual`), for few pictures with long vectors, and by those of the channels (`Primal`), whose memory does not grow with
the number of pictures. Vectors may lie in a file: only portions of them are in memory.
"""

from collections.abc import Callable

import numpy as np
from scipy.linalg import cho_factor, cho_solve, get_lapack_funcs
from sklearn.utils.class_weight import compute_sample_weight

PORTION = 1024  # pictures whose vectors are in memory at a time
# Of the penalty, tried on validation, as shares of the mean squared length of the vectors: so they mean the same for
# every network.
STRENGTHS = (0.025, 0.05, 0.1, 0.2, 0.4)


def gram(one: np.ndarray, other: np.ndarray | None = None) -> np.ndarray:
    """Inner products of vectors, worked out in portions.

    Args:
        one: Of shape (n, channels), of any precision.
        other: Of shape (m, channels). Defaults to `one`.

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


def solve(gram: np.ndarray, targets: np.ndarray, strength: float, counts: np.ndarray | float = 1) -> np.ndarray:
    """How much every picture weighs for every class: the dual coefficients, array of shape (n, classes).

    Args:
        gram: From `gram`, of the training pictures.
        targets: Class number of each picture.
        strength: Of the penalty, above 0.
        counts: How much each picture counts, above 0. Defaults to 1.
    """
    return cho_solve(_factor(gram, strength / counts), signs(targets))


def left_out(
    gram: np.ndarray,
    targets: np.ndarray,
    strength: float,
    counts: np.ndarray | float = 1,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """What is said of each picture by the head that was solved without it, exactly, for the price of one inverse.

    The residual, divided by one minus the leverage (Rifkin and Lippert 2007, "Notes on Regularized Least Squares").

    Args:
        gram: See `solve`.
        targets: See `solve`.
        strength: See `solve`.
        counts: See `solve`. Defaults to 1.
        groups: Pictures of one group, such as twins, are left out together. Defaults to each alone.

    Returns:
        Array of shape (n, classes): about +1 for the likeliest class, about -1 for the others.
    """
    inverse = _inverse(gram, strength / counts)
    wanted = signs(targets)
    dual = inverse @ wanted
    said = wanted - dual / np.diag(inverse)[:, None]
    for rows in _together(groups):
        said[rows] = wanted[rows] - np.linalg.solve(inverse[np.ix_(rows, rows)], dual[rows])
    return said


def strongest(left_out: Callable[[float], np.ndarray], targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Which of `STRENGTHS` names most pictures as they are labelled when they are left out; of equals the weakest.

    Args:
        left_out: From a strength, as a share of the mean squared length, to what is said of each picture left out.
        targets: Class number of each picture.

    Returns:
        The strength, and what is said with it.
    """
    found = {strength: left_out(strength) for strength in STRENGTHS}
    best = max(found, key=lambda strength: (found[strength].argmax(axis=1) == targets).sum())
    return best, found[best]


def _together(groups: np.ndarray | None) -> list[np.ndarray]:
    """The positions of each group that has more than one picture."""
    if groups is None:
        return []
    _, numbers, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(numbers, kind="stable")
    return [rows for rows in np.split(order, counts.cumsum()[:-1]) if len(rows) > 1]


class Dual:
    """The head by inner products of pictures: memory grows with their square, not with the length of the vectors.

    Args:
        features: Of shape (n, channels).
        targets: Class number of each picture.
        counts: How much each picture counts. Defaults to 1.
    """

    def __init__(self, features: np.ndarray, targets: np.ndarray, counts: np.ndarray | float = 1):
        self.features, self.targets, self.counts = features, targets, counts
        self.gram = gram(features)
        self.scale = float(np.diag(self.gram).mean())  # mean squared length

    def solve(self, *strengths: float) -> np.ndarray:
        """The weights of a Dense layer without bias.

        Args:
            *strengths: Of the penalty, as shares of the mean squared length.

        Returns:
            Array of shape (channels, classes); of several strengths side by side, for the vectors are read only once.
        """
        duals = [solve(self.gram, self.targets, strength * self.scale, self.counts) for strength in strengths]
        dual = np.concatenate(duals, axis=1).astype(np.float32)
        total = np.zeros((self.features.shape[1], dual.shape[1]), np.float32)
        for rows in _portions(len(dual)):
            total += np.asarray(self.features[rows], np.float32).T @ dual[rows]
        return total

    def left_out(self, strength: float, groups: np.ndarray | None = None) -> np.ndarray:
        """See `left_out`; `strength` is a share."""
        return left_out(self.gram, self.targets, strength * self.scale, self.counts, groups)


class Primal:
    """The same head by inner products of channels: one pass over the pictures, and memory that they do not raise.

    Args:
        features: Of shape (n, channels).
        targets: Class number of each picture.
        counts: How much each picture counts. Defaults to 1.
    """

    def __init__(self, features: np.ndarray, targets: np.ndarray, counts: np.ndarray | float = 1):
        self.features, self.targets = features, targets
        self.counts = np.broadcast_to(np.asarray(counts, np.float32), len(features))
        wanted, channels, squares = signs(targets), features.shape[1], 0.0
        self.products = np.zeros((channels, channels), np.float32)
        self.sums = np.zeros((channels, wanted.shape[1]), np.float32)
        for rows in _portions(len(features)):
            x = np.asarray(features[rows], np.float32)
            weighted = x * self.counts[rows, None]
            self.products += weighted.T @ x
            self.sums += weighted.T @ wanted[rows]
            squares += float(np.einsum("ij,ij->", x, x))
        self.scale = squares / len(features)  # mean squared length

    def solve(self, *strengths: float) -> np.ndarray:
        """See `Dual.solve`."""
        factors = (_factor(self.products, strength * self.scale) for strength in strengths)
        return np.concatenate([cho_solve(factor, self.sums) for factor in factors], axis=1)

    def left_out(self, strength: float, groups: np.ndarray | None = None) -> np.ndarray:
        """See `left_out`: the same numbers, from the leverage of each picture; `strength` is a share."""
        factor = _factor(self.products, strength * self.scale)
        kernel, wanted = cho_solve(factor, self.sums), signs(self.targets)
        said = np.empty_like(wanted)
        for rows in _portions(len(said)):
            x = np.asarray(self.features[rows], np.float32)
            leverage = self.counts[rows] * np.einsum("ij,ji->i", x, cho_solve(factor, x.T))
            said[rows] = wanted[rows] - (wanted[rows] - x @ kernel) / (1 - leverage)[:, None]
        for rows in _together(groups):
            x = np.asarray(self.features[rows], np.float32)
            leverage = x @ cho_solve(factor, x.T) * self.counts[rows]
            said[rows] = wanted[rows] - np.linalg.solve(np.eye(len(rows)) - leverage, wanted[rows] - x @ kernel)
        return said


def solver(features: np.ndarray, targets: np.ndarray, balanced: bool = False) -> Dual | Primal:
    """The way to the head that needs less memory.

    Args:
        features: Of shape (n, channels).
        targets: Class number of each picture.
        balanced: Let every class count alike, however many pictures it has. Defaults to False.
    """
    counts = compute_sample_weight("balanced", targets).astype(np.float32) if balanced else 1
    return (Dual if len(features) <= features.shape[1] else Primal)(features, targets, counts)


def answers(features: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """What a head says of pictures: `features @ kernel`, in portions."""
    said = np.zeros((len(features), kernel.shape[1]), np.float32)
    for rows in _portions(len(said)):
        said[rows] = np.asarray(features[rows], np.float32) @ kernel
    return said


def signs(targets: np.ndarray) -> np.ndarray:
    """+1 for each picture's class, -1 for the others: array of shape (n, classes)."""
    return 2 * np.eye(int(np.max(targets)) + 1, dtype=np.float32)[np.asarray(targets)] - 1


def _portions(count: int) -> list[slice]:
    return [slice(start, start + PORTION) for start in range(0, count, PORTION)]


def _inverse(gram: np.ndarray, penalty: np.ndarray | float) -> np.ndarray:
    """Of the raised products, from their factor: a third of the work of solving for every column of the identity."""
    factor, _ = _factor(gram, penalty)  # in the upper triangle
    (invert,) = get_lapack_funcs(("potri",), (factor,))
    half, failed = invert(factor, overwrite_c=True)
    if failed:
        raise np.linalg.LinAlgError("the products cannot be inverted: the penalty is too small")
    half = np.triu(half)  # the other triangle still holds what it held
    half += half.T
    half[np.diag_indices_from(half)] /= 2
    return half


def _factor(products: np.ndarray, penalty: np.ndarray | float):
    raised = products.copy()
    raised[np.diag_indices_from(raised)] += penalty
    return cho_factor(raised, overwrite_a=True, check_finite=False)
