"""Heads that are solved, not trained: a linear model on what a network says of each picture.

What comes before the head stays as it is ("frozen"), so every picture is described once, through `engines.features`,
and the solution takes seconds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sneakerlib import evaluation
from sneakerlib.catalog import class_numbers, in_order, usable
from sneakerlib.learning import engines, model_folder, ridge
from sneakerlib.learning.cache import Vectors
from sneakerlib.learning.quiet import keras


@dataclass(frozen=True)
class Described:
    """Pictures as vectors: training pictures first, then validation pictures.

    Attributes:
        vectors: Of shape (pictures, channels); long ones stay in a file, of which only portions are read at a time.
        targets: Class number of each picture.
        learn: How many of them are training pictures.
    """

    vectors: np.ndarray | Vectors
    targets: np.ndarray
    learn: int

    @property
    def train(self) -> tuple[np.ndarray | Vectors, np.ndarray]:
        """Vectors and targets of the training pictures."""
        return self.vectors[: self.learn], self.targets[: self.learn]

    @property
    def val(self) -> tuple[np.ndarray | Vectors, np.ndarray]:
        """Vectors and targets of the validation pictures."""
        return self.vectors[self.learn :], self.targets[self.learn :]


def describe(
    catalog: pd.DataFrame,
    labels: list[str],
    network: keras.Model | str,
    size: int = engines.SIZE,
    cache: str | Path | None = None,
    progress: bool = True,
) -> Described:
    """Describe the pictures that a head is learned from and chosen by: training and validation, never the test.

    Args:
        catalog: The split catalog.
        labels: The classes, in the order of the class numbers.
        network: See `engines.features`.
        size: See `engines.features`. Defaults to 224.
        cache: See `engines.features`.
        progress: Show a bar. Defaults to True.
    """
    rows = pd.concat([usable(catalog, "train"), usable(catalog, "val")])
    rows.attrs = catalog.attrs
    found = engines.features(rows, network, size, cache, progress)
    return Described(found, class_numbers(rows.label, labels), int(rows.split.eq("train").sum()))


def solve_head(
    features: np.ndarray, targets: np.ndarray, strength: float = 0.01, balanced: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Logistic regression on feature vectors, as the weights of a Dense layer.

    Args:
        features: (pictures, channels).
        targets: Class number of each picture; every class occurs.
        strength: Inverse of the regularisation (scikit-learn's `C`), on features scaled to unit variance. Defaults to
            0.01, since there are more features than pictures; on ten real classes 0.003 to 0.01 were alike on
            validation (0.853 and 0.849).
        balanced: Let every class count alike, however many pictures it has. Defaults to False.

    Returns:
        Kernel (channels, classes) and bias (classes): `features @ kernel + bias` are the logits.
    """
    scaler = StandardScaler().fit(features)
    head = LogisticRegression(C=strength, max_iter=1000, class_weight="balanced" if balanced else None)
    head.fit(scaler.transform(features), targets)
    kernel, bias = head.coef_, head.intercept_
    if len(kernel) == 1:  # scikit-learn keeps one row for two classes
        kernel, bias = np.concatenate([-kernel, kernel]) / 2, np.concatenate([-bias, bias]) / 2
    kernel = kernel / scaler.scale_  # the scaling moves into the weights: the saved model needs no scaler
    return kernel.T, bias - kernel @ scaler.mean_


def fit_linear(
    model: keras.Model,
    described: Described,
    strength: float = 0.01,
    balanced: bool = False,
    final: bool = False,
) -> pd.DataFrame:
    """Solve a linear head with logistic regression and put it into a model.

    Args:
        model: Whose layer `logits` follows right after what `described` came from; changed in place.
        described: From `describe`.
        strength: See `solve_head`. Defaults to 0.01.
        balanced: See `solve_head`. Defaults to False.
        final: Once scored, solve again on training and validation pictures together. Defaults to False.

    Returns:
        History of one row: accuracy and val_accuracy of the head solved on training pictures only; kept, which is True.
    """
    (seen, targets), (unseen, wanted) = described.train, described.val
    kernel, bias = solve_head(seen, targets, strength, balanced)
    shares = [_share(seen @ kernel + bias, targets), _share(unseen @ kernel + bias, wanted)]
    if final:
        kernel, bias = solve_head(described.vectors, described.targets, strength, balanced)
    model.get_layer("logits").set_weights([kernel, bias])
    return pd.DataFrame(
        [[*shares, True]], columns=["accuracy", "val_accuracy", "kept"], index=pd.Index([1], name="epoch")
    )


def _share(logits: np.ndarray, targets: np.ndarray) -> float:
    """How many are right; not a number if there are none, as when all pictures are trained on."""
    return float((logits.argmax(1) == targets).mean()) if len(targets) else float("nan")


def fit_second_order(
    model: keras.Model,
    described: Described,
    balanced: bool = False,
    final: bool = False,
) -> pd.DataFrame:
    """Solve the head of a second-order model in closed form, once for each of `ridge.STRENGTHS`.

    Validation decides which is kept, of equals the strongest; without validation pictures leaving one out decides.

    Args:
        model: From `models.second_order`, changed in place.
        described: From `describe`: training pictures are learned from, validation pictures decide.
        balanced: Let every class count alike, however many pictures it has. Defaults to False.
        final: Once all is decided, solve again on training and validation pictures together. Defaults to False.

    Returns:
        History with one row per strength: strength, accuracy and val_accuracy of heads solved on training pictures
        only, and whether it was kept.
    """
    (seen, targets), (unseen, wanted) = described.train, described.val
    strengths = ridge.STRENGTHS
    solver = ridge.solver(seen, targets, balanced)
    kernels = solver.solve(*strengths)  # all at once: reading the vectors takes longer than solving
    mine, others = (np.split(ridge.answers(part, kernels), len(strengths), axis=1) for part in (seen, unseen))
    history = pd.DataFrame({"strength": strengths})
    history["accuracy"] = [_share(said, targets) for said in mine]
    history["val_accuracy"] = [_share(said, wanted) for said in others]
    if len(wanted):
        chosen = max(history.index, key=lambda at: (history.val_accuracy[at], at))
        logits = others[chosen]
    else:
        strength, logits = ridge.strongest(solver.left_out, targets)
        chosen, wanted = strengths.index(strength), targets
    kernel = np.split(kernels, len(strengths), axis=1)[chosen]
    if final:
        solver, wanted = ridge.solver(described.vectors, described.targets, balanced), described.targets
        kernel, logits = solver.solve(strengths[chosen]), solver.left_out(strengths[chosen])
    # ridge answers from -1 to 1, which is too flat for probabilities
    scale = 1 / model_folder.fit_temperature(logits.astype(float), wanted)
    model.get_layer("logits").set_weights([scale * kernel, np.zeros(kernel.shape[1], np.float32)])
    history["kept"] = history.index == chosen
    return history.set_index(pd.RangeIndex(1, len(history) + 1, name="epoch"))


def ridge_head(features: np.ndarray, targets: np.ndarray, strength: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression as the weights of a Dense layer: see `ridge.solver`; the bias is 0."""
    kernel = ridge.solver(features, targets).solve(strength)
    return kernel, np.zeros(kernel.shape[1], np.float32)


def staged(
    described: Described,
    labels: list[str],
    counts: list[int],
    solve: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] = solve_head,
) -> pd.DataFrame:
    """How accuracy falls as classes are added: a head for the first few classes, for some more, and so on.

    Args:
        described: From `describe`.
        labels: The classes, in the order of the class numbers; they are added in the order of the numbers in their
            names (`air_jordan_2` before `air_jordan_10`).
        counts: How many classes, each at least 2.
        solve: Gives kernel and bias: `solve_head` or `ridge_head`. Defaults to `solve_head`.

    Returns:
        One row per count: classes, pictures (for validation), val_accuracy, low, high (95 % interval).
    """
    place = class_numbers(pd.Series(labels), in_order(labels))
    rows = []
    for count in counts:
        (seen, targets), (unseen, wanted) = (
            (x[place[y] < count], place[y][place[y] < count]) for x, y in (described.train, described.val)
        )
        kernel, bias = solve(seen, targets)
        right = int(((ridge.answers(unseen, kernel) + bias).argmax(1) == wanted).sum())
        rows.append((count, len(wanted), right / len(wanted), *evaluation.wilson_interval(right, len(wanted))))
    return pd.DataFrame(rows, columns=["classes", "pictures", "val_accuracy", "low", "high"])
