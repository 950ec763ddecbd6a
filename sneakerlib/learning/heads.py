"""Heads that are solved, not trained: logistic regression, and ridge regression in closed form, one against the rest.

Ridge regression has targets of +1 for a picture's class and -1 for all others. It forgives a wrong label, where a
support vector machine or logistic regression bends to reach it; and it says what it would think of each picture had it
not seen it. Two ways to the same weights: by the inner products of the pictures where these are fewer than the numbers
in a vector, else by those of the numbers.
"""

import numpy as np
from scipy.linalg import blas, cho_factor, cho_solve
from scipy.linalg.lapack import spotri
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

PORTION = 256  # pictures whose vectors are in memory in full precision at a time, or eight times as many numbers of all
# Of the penalty, as shares of the mean squared length of the vectors: so they mean the same for every network.
STRENGTHS = (0.025, 0.05, 0.1, 0.2, 0.4)
STRENGTH = 0.01  # of logistic regression (`C`): on validation pictures of ten real classes 0.003 to 0.01 were alike


def logistic(features: np.ndarray, targets: np.ndarray, class_weights: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """`make_pipeline(StandardScaler(), LogisticRegression(C=0.01))`, as the weights of a Dense layer.

    Args:
        features: (pictures, channels).
        targets: Class number of each picture; every class occurs.
        class_weights: Let every class count alike, however many pictures it has. Defaults to False.

    Returns:
        Kernel (channels, classes) and bias (classes): `features @ kernel + bias` are the logits.
    """
    scaler = StandardScaler().fit(features)
    head = LogisticRegression(C=STRENGTH, max_iter=1000, class_weight="balanced" if class_weights else None)
    head.fit(scaler.transform(features), targets)
    kernel, bias = head.coef_, head.intercept_
    if len(kernel) == 1:  # scikit-learn keeps one row for two classes
        kernel, bias = np.concatenate([-kernel, kernel]) / 2, np.concatenate([-bias, bias]) / 2
    kernel = kernel / scaler.scale_  # the scaling moves into the weights: the saved model needs no scaler
    return kernel.T, bias - kernel @ scaler.mean_


class Ridge:
    """Ridge regression on long vectors, with exact answers for each picture from a head that has not seen it.

    Args:
        features: Of shape (pictures, channels), of any precision.
        targets: Class number of each picture.
        class_weights: Let every class count alike. Defaults to False.
    """

    def __init__(self, features: np.ndarray, targets: np.ndarray, class_weights: bool = False):
        self.features, self.targets = features, np.asarray(targets)
        counts = compute_sample_weight("balanced" if class_weights else None, targets)
        self.roots = np.sqrt(counts).astype(np.float32)[:, None]  # a picture that counts double is one times root 2
        self.wanted = (2 * np.eye(self.targets.max() + 1, dtype=np.float32)[self.targets] - 1) * self.roots
        self.by_pictures = len(features) <= features.shape[1]
        side = min(features.shape)
        self.scale, everything = 0.0, slice(None)  # scale: mean squared length
        self.products = np.zeros((side, side), np.float32, order="F")  # the upper triangle: the lower one says the same
        self.sums = np.zeros((side, self.wanted.shape[1]), np.float32)  # of the numbers, for each class
        by_numbers = [(everything, columns) for columns in _portions(features.shape[1], 8 * PORTION)]
        for piece in by_numbers if self.by_pictures else [(rows, everything) for rows in _portions(len(features))]:
            x = self._vectors(*piece)
            self.scale += float(np.square(x / self.roots[piece[0]]).sum()) / len(features)
            # plus x @ x.T, or x.T @ x: half the work of multiplying
            self.products = blas.ssyrk(1.0, x.T, trans=self.by_pictures, beta=1.0, c=self.products, overwrite_c=True)
            if not self.by_pictures:
                self.sums += x.T @ self.wanted[piece[0]]

    def _vectors(self, rows: slice | np.ndarray, columns: slice = slice(None)) -> np.ndarray:
        """Vectors as they count."""
        return np.asarray(self.features[rows, columns], np.float32) * self.roots[rows]

    def _factor(self, strength: float) -> tuple[np.ndarray, bool]:
        """Cholesky's, of the products with the penalty on their diagonal."""
        raised = self.products.copy("F")
        raised[np.diag_indices_from(raised)] += strength * self.scale
        return cho_factor(raised, overwrite_a=True, check_finite=False)

    def kernel(self, strength: float) -> np.ndarray:
        """The weights of a Dense layer without bias, (channels, classes).

        Args:
            strength: Of the penalty, as a share of the mean squared length of the vectors.
        """
        solved = cho_solve(self._factor(strength), self.wanted if self.by_pictures else self.sums)
        if not self.by_pictures:
            return solved
        return sum(self._vectors(rows).T @ solved[rows] for rows in _portions(len(solved)))

    def left_out(self, strength: float, groups: np.ndarray | None = None) -> np.ndarray:
        """What is said of each picture by the head that was solved without it, exactly, for the price of one inverse.

        Args:
            strength: See `kernel`.
            groups: Pictures of one group, such as twins, are left out together. Defaults to each alone.

        Returns:
            Array of shape (pictures, classes): about +1 for the likeliest class, about -1 for the others.

        Source: the residual, divided by one minus the leverage (Rifkin and Lippert 2007, "Notes on Regularized Least
        Squares"); for groups the block form of the same identity (Golub, Heath and Wahba 1979).
        """
        inverse, failed = spotri(self._factor(strength)[0], overwrite_c=True)  # a third of the work of solving for it
        if failed:
            raise np.linalg.LinAlgError("the products cannot be inverted: the penalty is too small")
        # a weight per picture, or per number; of the inverse only the upper triangle holds what it should
        solved = blas.ssymm(1.0, inverse, self.wanted if self.by_pictures else self.sums)
        said = np.empty_like(self.wanted)
        together = _together(np.arange(len(said)) if groups is None else groups)
        for some in (together[portion] for portion in _portions(len(together))):
            rows = np.concatenate(some)
            if self.by_pictures:
                residual, leverage = solved[rows], inverse[np.ix_(rows, rows)]
            else:
                x = self._vectors(rows)
                residual = self.wanted[rows] - x @ solved
                leverage = np.eye(len(rows)) - x @ blas.ssymm(1.0, inverse, x.T)
            for own in np.split(np.arange(len(rows)), np.cumsum([len(group) for group in some])[:-1]):
                upper = np.triu(leverage[np.ix_(own, own)])
                said[rows[own]] = self.wanted[rows[own]] - np.linalg.solve(upper + np.triu(upper, 1).T, residual[own])
        return said / self.roots

    def chosen(self, groups: np.ndarray | None = None) -> tuple[float, np.ndarray]:
        """Which of `STRENGTHS` names most pictures as labelled when they are left out, of equals the weakest.

        Also what it says of them; for `groups` see `left_out`.
        """
        found = {strength: self.left_out(strength, groups) for strength in STRENGTHS}
        best = max(found, key=lambda strength: (found[strength].argmax(axis=1) == self.targets).sum())
        return best, found[best]


def leave_one_out(features: np.ndarray, targets: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """What a ridge head would say of each picture had it seen neither the picture nor its twins.

    Args:
        features: (pictures, channels).
        targets: Class number of each picture.
        groups: Twins share a value; they are left out together. Defaults to each alone.

    Returns:
        Scores of shape (pictures, classes); exact, not cross-validated. The penalty is the one that names most of the
        pictures as they are labelled.
    """
    return Ridge(features, targets).chosen(groups)[1]


def answers(features: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """What a head says of pictures: `features @ kernel`, in portions."""
    said = np.zeros((len(features), kernel.shape[1]), np.float32)
    for rows in _portions(len(said)):
        said[rows] = np.asarray(features[rows], np.float32) @ kernel
    return said


def _together(groups: np.ndarray) -> list[np.ndarray]:
    """The positions of each group."""
    _, numbers, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return np.split(np.argsort(numbers, kind="stable"), counts.cumsum()[:-1])


def _portions(count: int, most: int | None = None) -> list[slice]:
    return [slice(start, start + (most or PORTION)) for start in range(0, count, most or PORTION)]
