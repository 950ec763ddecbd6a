"""Does a model know when it is unsure? Calibration, and the confidence below which it had better say "not sure"."""

import numpy as np
import pandas as pd
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, softmax
from sklearn.metrics import roc_auc_score

from sneakerlib.catalog import class_numbers

BINS = 15  # of confidence, all of one width, as in Guo et al. 2017, "On Calibration of Modern Neural Networks"
SIGNIFICANT = 3.84  # of twice the gain in log-likelihood: chi-squared with one degree of freedom, at 5 %
NEARLY = 1e-3  # of a log-likelihood: nothing, beside what is significant
WANTED = 0.98  # share of right answers among those that are given


def fit_temperature(logits: np.ndarray, targets: np.ndarray, noise: float = 0.0) -> float:
    """The number that logits have to be divided by for their softmax to be as sure as it is right.

    Args:
        logits: Array of shape (pictures, classes), of pictures that were not trained on. Logarithms of probabilities
            will do: then it is a factor to the temperature that these have been made at.
        targets: Class number of each picture.
        noise: Share of labels that are known to be drawn by lot; the model need not foresee these. Defaults to 0.

    If every picture is named right, no temperature would be low enough; each is then taken to be right with a chance of
    (n + 1) / (n + 2), which is what n successes in a row leave to believe in.

    Source: temperature scaling, Guo et al. 2017, "On Calibration of Modern Neural Networks"; Platt 1999, "Probabilistic
    Outputs for Support Vector Machines", for the second sentence.
    """
    count, classes = logits.shape
    slip = 1 / (count + 2) if (logits.argmax(axis=1) == targets).all() else 0.0

    def surprise(log_temperature: float) -> float:
        likely = log_softmax(logits / np.exp(log_temperature), axis=1)
        if noise:
            likely = np.log(allowing(np.exp(likely), noise))
        own = likely[np.arange(count), targets]
        return -((1 - slip) * own + slip * (likely.sum(axis=1) - own) / (classes - 1)).mean()

    return float(np.exp(minimize_scalar(surprise, bounds=(-7, 7), method="bounded").x))


def fit_noisy(logits: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Temperature, and the share of labels that were drawn by lot: what makes the given labels likeliest.

    Wrong labels make a plain `fit_temperature` too timid: one surprise that was sure costs more than a hundred pictures
    that could have been named more surely. The share is nothing unless it is significant, and unless it leaves a best
    temperature: a handful of pictures, each named right or called wrong by lot, would be likelier the surer they are.

    Args:
        logits: See `fit_temperature`.
        targets: See `fit_temperature`.

    Source: the likelihood ratio test at 5 % (Wilks 1938) between the model with wrong labels and the one without.
    """
    plain = fit_temperature(logits, targets)
    likely = log_softmax(logits / plain, axis=1)[np.arange(len(targets)), targets].sum()
    noisy, share, noisy_likely = _by_lot(logits, targets, plain)
    if 2 * (noisy_likely - likely) <= SIGNIFICANT:
        return plain, 0.0
    surer = np.log(sum(_parts(logits, targets, noisy / 10, share))).sum()
    return (noisy, share) if surer < noisy_likely - NEARLY else (plain, 0.0)


def _by_lot(logits: np.ndarray, targets: np.ndarray, plain: float) -> tuple[float, float, float]:
    """Temperature and share of labels drawn by lot that make the labels likeliest, and the logarithm of how likely.

    The search begins at the `plain` temperature: far from it, it would not get away.
    """

    def surprise(parameters: np.ndarray) -> float:
        return -np.log(sum(_parts(logits, targets, np.exp(parameters[0]), expit(parameters[1])))).mean()

    start = np.array([np.log(plain), -3.0])
    simplex = np.add(start, [[0, 0], [-0.5, 0], [0, 1]])
    fitted = minimize(surprise, start, method="Nelder-Mead", options={"initial_simplex": simplex})
    return float(np.exp(fitted.x[0])), float(expit(fitted.x[1])), -float(fitted.fun) * len(targets)


def _parts(logits: np.ndarray, targets: np.ndarray, temperature: float, share: float) -> tuple[np.ndarray, float]:
    """How likely each given label is because it is right, and because it was drawn by lot."""
    right = softmax(logits / temperature, axis=1)[np.arange(len(targets)), targets]
    return (1 - share) * right, share / logits.shape[1]


def probabilities(predictions: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """The classes, and an array of shape (pictures, classes), out of a table from `evaluation.predictions`."""
    columns = [column for column in predictions if column.startswith("p_")]
    return [column[2:] for column in columns], predictions[columns].to_numpy()


def allowing(p: np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """Probabilities of what a picture is labelled, from those of what it is, if a share of labels is drawn by lot.

    Args:
        p: Of shape (pictures, classes).
        share: One for all, or of shape (pictures, 1).
    """
    return (1 - share) * p + share / p.shape[1]


def _as_sure(predictions: pd.DataFrame, labels: list[str], p: np.ndarray) -> pd.DataFrame:
    """The same answers with other probabilities."""
    columns = {f"p_{label}": p[:, at] for at, label in enumerate(labels)}
    return predictions.assign(confidence=p.max(axis=1), **columns)


def scaling(predictions: pd.DataFrame, noise: float | None = None) -> tuple[float, float]:
    """The factor to a model's temperature that makes it as sure as it is right, and the share of labels drawn by lot.

    Args:
        predictions: From `evaluation.predictions`, of the validation pictures.
        noise: The share, if it is known from more pictures (`label_noise`). Defaults to fitting it here.

    Returns:
        The factor, for `tempered`: 1 if the model is already as sure as it is right. The share, for `by_labels`: 0 if
        the labels can be trusted. See `fit_noisy`.
    """
    labels, p = probabilities(predictions)
    logits, targets = _logarithms(p), class_numbers(predictions.label, labels)
    return fit_noisy(logits, targets) if noise is None else (fit_temperature(logits, targets, noise), noise)


def label_noise(given: pd.Series, probabilities: pd.DataFrame) -> float:
    """The share of labels that look as if drawn by lot, which any model of the same pictures has to allow for.

    Args:
        given: The label of each picture.
        probabilities: One column per class, of models that have not seen the picture: see `review.leave_one_out`.

    Returns:
        0 if there is no clear sign of any; see `fit_noisy`.
    """
    return fit_noisy(_logarithms(probabilities.to_numpy()), class_numbers(given, list(probabilities)))[1]


def by_labels(predictions: pd.DataFrame, share: float) -> pd.DataFrame:
    """The same answers, as sure as one can be of what a picture is *labelled*, if some labels were drawn by lot.

    Args:
        predictions: From `evaluation.predictions`.
        share: Of the labels, from `scaling`.
    """
    labels, p = probabilities(predictions)
    return _as_sure(predictions, labels, allowing(p, share))


def tempered(predictions: pd.DataFrame, factor: float) -> pd.DataFrame:
    """The same answers, as a model of another temperature gives them: as right as before, but more or less sure.

    Args:
        predictions: From `evaluation.predictions`.
        factor: To the temperature; above 1 makes answers less sure.
    """
    labels, p = probabilities(predictions)
    p = softmax(_logarithms(p) / factor, axis=1)
    return _as_sure(predictions, labels, p)


def reliability(predictions: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by confidence: one row per bin that has any pictures.

    Returns:
        low and high (bounds of the bin), pictures, confidence (their mean), accuracy.
    """
    bins = np.minimum((predictions.confidence * BINS).astype(int), BINS - 1)
    table = predictions.groupby(bins).agg(
        pictures=("correct", "size"), confidence=("confidence", "mean"), accuracy=("correct", "mean")
    )
    bounds = {"low": table.index / BINS, "high": (table.index + 1) / BINS}
    return table.assign(**bounds).reset_index(drop=True)[["low", "high", "pictures", "confidence", "accuracy"]]


def expected_calibration_error(predictions: pd.DataFrame) -> float:
    """How far confidence and accuracy lie apart, averaged over 15 bins of confidence (Guo et al. 2017)."""
    table = reliability(predictions)
    return float(((table.confidence - table.accuracy).abs() * table.pictures).sum() / table.pictures.sum())


def chance_error(predictions: pd.DataFrame, seed: int = 0) -> tuple[float, float]:
    """The calibration error of a model that is exactly as right as it is sure: few pictures leave it above nothing.

    Args:
        predictions: From `evaluation.predictions`; only how sure they are counts.
        seed: Of 1,000 drawings of which answers are right. Defaults to 0.

    Returns:
        Between which bounds its expected calibration error lies in 95 % of the drawings.

    Source: consistency resampling, Bröcker and Smith 2007, "Increasing the Reliability of Reliability Diagrams".
    """
    rng, confidence = np.random.default_rng(seed), predictions.confidence.to_numpy()
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    surplus = (rng.random((1000, len(bins))) < confidence) - confidence  # accuracy less confidence, picture by picture
    errors = np.abs(surplus @ np.eye(BINS)[bins]).sum(axis=1) / len(bins)
    low, high = np.quantile(errors, [0.025, 0.975])
    return float(low), float(high)


def risk_coverage(predictions: pd.DataFrame, trust: np.ndarray | float = 1.0) -> pd.DataFrame:
    """How many answers are right if only the surest ones are given.

    Args:
        predictions: From `evaluation.predictions`.
        trust: How much each picture counts for the accuracy. Defaults to all alike.

    Returns:
        One row per threshold, the highest first: threshold (least confidence), coverage (share of the pictures that
        are answered), accuracy (of these).

    Source: Geifman and El-Yaniv 2017, "Selective Classification for Deep Neural Networks".
    """
    ordered = predictions.assign(trust=trust).sort_values("confidence", ascending=False, kind="stable")
    right = (ordered.correct * ordered.trust).cumsum() / ordered.trust.cumsum()
    table = pd.DataFrame(
        {
            "threshold": ordered.confidence.to_numpy(),
            "coverage": np.arange(1, len(ordered) + 1) / len(ordered),
            "accuracy": right.to_numpy(),
        }
    )
    return table.drop_duplicates("threshold", keep="last", ignore_index=True)  # equally sure: answered together


def sure_above(predictions: pd.DataFrame, wanted: float = WANTED) -> float:
    """The least confidence at which to give an answer, so that enough of the answers are right.

    Each label counts as much as it can be trusted (`label_trust`): a model cannot be so unsure that it agrees with
    labels that are wrong.

    Args:
        predictions: From `evaluation.predictions`, of the validation pictures.
        wanted: Share of right answers. Defaults to 0.98.

    Returns:
        The threshold; 1 if no threshold would do.
    """
    table = risk_coverage(predictions, label_trust(predictions))
    enough = table[table.accuracy.ge(wanted)]
    return float(enough.threshold.iloc[-1]) if len(enough) else 1.0


def label_trust(predictions: pd.DataFrame) -> np.ndarray:
    """How likely each label is right, if some of all labels were drawn by lot.

    A share of the labels is taken to have nothing to do with the picture; the others follow the model's probabilities
    at some temperature. Share and temperature are those that make the labels likeliest. If the model's errors are as
    many as its confidence admits, the share comes out as nothing, and every label is trusted.

    Args:
        predictions: From `evaluation.predictions`, of pictures that were not trained on.

    Returns:
        Array of shape (pictures): 1 for a label that is right for certain.
    """
    labels, p = probabilities(predictions)
    logits, targets = _logarithms(p), class_numbers(predictions.label, labels)
    sound, by_lot = _parts(logits, targets, *_by_lot(logits, targets, fit_temperature(logits, targets))[:2])
    return sound / (sound + by_lot)


def told_apart(known: pd.DataFrame, strange: pd.DataFrame) -> float:
    """How well confidence tells the model's classes from pictures of something else: the area under the ROC curve.

    Args:
        known: Predictions for pictures of the classes.
        strange: Predictions for others.

    Returns:
        1 if every strange picture is answered less surely than every known one, 0.5 if confidence says nothing; not a
        number if there are none.
    """
    if strange.empty or known.empty:
        return float("nan")
    is_known = np.repeat([1, 0], [len(known), len(strange)])
    return float(roc_auc_score(is_known, pd.concat([known.confidence, strange.confidence])))


def _logarithms(p: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(p, np.finfo(float).tiny))
