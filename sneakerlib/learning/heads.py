"""Heads that are solved, not trained: logistic regression, and ridge regression in closed form, one against the rest.

Ridge regression has targets of +1 for a picture's class and -1 for all others. It forgives a wrong label, where a
support vector machine or logistic regression bends to reach it; and it says what it would think of each picture had it
not seen it. Two ways to the same weights: by the inner products of the pictures where these are fewer than the numbers
in a vector, else by those of the numbers.
"""

import warnings

import numpy as np
from scipy.linalg import cho_factor, cho_solve, get_lapack_funcs
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from sneakerlib.learning.confidence import fit_temperature

PORTION = 256  # pictures whose vectors are in memory in full precision at a time
# Of the penalty, as shares of the mean squared length of the vectors: so they mean the same for every network.
STRENGTHS = (0.025, 0.05, 0.1, 0.2, 0.4)
STRENGTH = 0.01  # of logistic regression (`C`), on ten real classes: 0.003 to 0.01 were alike on validation


def logistic(
    features: np.ndarray, targets: np.ndarray, class_weights: bool = False, strength: float = STRENGTH
) -> tuple[np.ndarray, np.ndarray]:
    """`make_pipeline(StandardScaler(), LogisticRegression())`, as the weights of a Dense layer.

    Args:
        features: (pictures, channels).
        targets: Class number of each picture; every class occurs.
        class_weights: Let every class count alike, however many pictures it has. Defaults to False.
        strength: Inverse of the regularisation (scikit-learn's `C`). Defaults to 0.01: there are more features than
            pictures.

    Returns:
        Kernel (channels, classes) and bias (classes): `features @ kernel + bias` are the logits.
    """
    head = LogisticRegression(C=strength, max_iter=1000, class_weight="balanced" if class_weights else None)
    scaler, head = (step for _, step in make_pipeline(StandardScaler(), head).fit(features, targets).steps)
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
        signs = 2 * np.eye(int(self.targets.max()) + 1, dtype=np.float32)[self.targets] - 1
        counts = compute_sample_weight("balanced", targets) if class_weights else np.ones(len(self.targets))
        self.roots = np.sqrt(counts).astype(np.float32)[:, None]  # a picture that counts double is one times root 2
        self.by_pictures = len(features) <= features.shape[1]
        side = len(features) if self.by_pictures else features.shape[1]
        self.wanted = signs * self.roots
        self.products, self.scale = np.zeros((side, side), np.float32), 0.0  # scale: mean squared length
        self.sums = np.zeros((side, signs.shape[1]), np.float32)  # of the numbers, for each class
        for rows in _portions(len(features)):
            x = self._vectors(rows)
            self.scale += float(np.square(x / self.roots[rows]).sum()) / len(features)
            if self.by_pictures:
                for columns in _portions(rows.stop):
                    block = x @ self._vectors(columns).T
                    self.products[rows, columns] = block
                    self.products[columns, rows] = block.T
            else:
                self.products += x.T @ x
                self.sums += x.T @ self.wanted[rows]

    def _vectors(self, rows: slice | np.ndarray) -> np.ndarray:
        """Vectors as they count."""
        return np.asarray(self.features[rows], np.float32) * self.roots[rows]

    def _raised(self, strength: float) -> np.ndarray:
        raised = self.products.copy()
        raised[np.diag_indices_from(raised)] += strength * self.scale
        return raised

    def kernel(self, strength: float) -> np.ndarray:
        """The weights of a Dense layer without bias, array of shape (channels, classes).

        Args:
            strength: Of the penalty, as a share of the mean squared length.
        """
        factor = cho_factor(self._raised(strength), overwrite_a=True, check_finite=False)
        if not self.by_pictures:
            return cho_solve(factor, self.sums)
        dual = cho_solve(factor, self.wanted)
        return sum(self._vectors(rows).T @ dual[rows] for rows in _portions(len(dual)))

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
        inverse = _inverse(self._raised(strength))
        solved = inverse @ (self.wanted if self.by_pictures else self.sums)  # a weight per picture, or per number
        said = np.empty_like(self.wanted)
        for rows in _together(np.arange(len(said)) if groups is None else groups):
            if self.by_pictures:
                residual, leverage = solved[rows], inverse[np.ix_(rows, rows)]
            else:
                x = self._vectors(rows)
                residual, leverage = self.wanted[rows] - x @ solved, np.eye(len(rows)) - x @ inverse @ x.T
            said[rows] = self.wanted[rows] - np.linalg.solve(leverage, residual)
        return said / self.roots

    def chosen(self, groups: np.ndarray | None = None) -> tuple[float, np.ndarray]:
        """Which of `STRENGTHS` names most pictures as they are labelled when they are left out, and what it says.

        Args:
            groups: See `left_out`.

        Returns:
            The strength, of equals the weakest, and the answers to pictures left out.
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
    temperature = fit_temperature(logits, targets)
    return float(find_label_issues(targets, softmax(logits.astype(float) / temperature, axis=1), n_jobs=1).mean())


def _together(groups: np.ndarray) -> list[np.ndarray]:
    """The positions of each group."""
    _, numbers, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return np.split(np.argsort(numbers, kind="stable"), counts.cumsum()[:-1])


def _portions(count: int) -> list[slice]:
    return [slice(start, min(start + PORTION, count)) for start in range(0, count, PORTION)]


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """From its Cholesky factor: a third of the work of solving for every column of the identity."""
    factor, _ = cho_factor(matrix, overwrite_a=True, check_finite=False)  # in the upper triangle
    (invert,) = get_lapack_funcs(("potri",), (factor,))
    half, failed = invert(factor, overwrite_c=True)
    if failed:
        raise np.linalg.LinAlgError("the products cannot be inverted: the penalty is too small")
    half = np.triu(half)  # the other triangle still holds what it held
    half += np.triu(half, 1).T
    return half
