"""Which labels are probably wrong: what models say that have not seen the picture."""

import numpy as np
import pandas as pd
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sneakerlib import InputError
from sneakerlib.catalog import class_numbers
from sneakerlib.learning import heads, model_folder
from sneakerlib.review import doubts
from sneakerlib.review.corrections import ASIDE


def reviewable(catalog: pd.DataFrame) -> pd.DataFrame:
    """The pictures that a review may speak of: never the test.

    Returns:
        Training and validation pictures, then those that the audit set aside and a person may bring back: twins under
        two labels, and pictures of something else.
    """
    used = catalog[catalog.split.isin(["train", "val"])]
    rows = pd.concat([used, catalog[catalog.issue.isin(ASIDE)]])
    rows.attrs = dict(catalog.attrs)
    return rows


def out_of_fold(
    features: np.ndarray, rows: pd.DataFrame, folds: int = 5, strength: float = 0.01, seed: int = 0
) -> pd.DataFrame:
    """Probabilities from models that have not seen the picture they judge, nor its twins.

    Args:
        features: Array (pictures, channels), in the order of `rows`.
        rows: Catalog rows with label, group and issue. Nothing is learned from those that have an issue.
        folds: Parts that the pictures are cut into. Defaults to 5.
        strength: scikit-learn's `C`, as in `heads.logistic`. Defaults to 0.01.
        seed: Of the cut. Defaults to 0.

    Returns:
        One column per class, sorted; the index of `rows`.
    """
    used = rows.issue.eq("").to_numpy()
    known = rows[used]
    counts = known.groupby("label").group.nunique()
    if counts.min() < folds:
        raise InputError(
            f"class {counts.idxmin()} has {counts.min()} picture groups, {folds} folds need as many: add pictures"
        )
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
    cut = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    p = np.zeros((len(rows), known.label.nunique()))
    p[used] = cross_val_predict(model, features[used], known.label, groups=known.group, cv=cut, method="predict_proba")
    if not used.all():
        p[~used] = model.fit(features[used], known.label).predict_proba(features[~used])
    return pd.DataFrame(p, index=rows.index, columns=sorted(known.label.unique()))


def leave_one_out(features: np.ndarray, rows: pd.DataFrame) -> pd.DataFrame:
    """Probabilities from a head in closed form that was solved without the picture and its twins: exact, in seconds.

    Args:
        features: Second moments, of shape (pictures, channels), in the order of `rows`; see `models.second_order`.
        rows: Catalog rows with label, group and issue. Nothing is learned from those that have an issue.

    Returns:
        One column per class, sorted; the index of `rows`. Strength and temperature are those that agree best with the
        given labels.
    """
    used = rows.issue.eq("").to_numpy()
    known = rows[used]
    labels = sorted(known.label.unique())
    targets = class_numbers(known.label, labels)
    solver = heads.Ridge(features[used], targets)
    said = np.zeros((len(rows), len(labels)))
    groups = known.group.to_numpy()
    strength, said[used] = solver.chosen(groups)
    if not used.all():
        said[~used] = heads.answers(features[~used], solver.kernel(strength))
    p = softmax(said / model_folder.fit_temperature(said[used], targets), axis=1)
    return pd.DataFrame(p, index=rows.index, columns=labels)


def told(rows: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """The probabilities in a table of predictions, for pictures that the model has not learned from anyway.

    Args:
        rows: Catalog rows, all of them predicted.
        predictions: From `evaluation.predictions`.

    Returns:
        As `leave_one_out`.
    """
    p = predictions.set_index("path").loc[rows.path].filter(regex="^p_")
    return p.set_axis(rows.index).rename(columns=lambda name: name.removeprefix("p_"))


def suspects(rows: pd.DataFrame, probabilities: pd.DataFrame, second: pd.DataFrame | None = None) -> pd.DataFrame:
    """Pictures whose label is contradicted by models that have not seen them, the worst first; then those set aside.

    Which labels are doubted: see `doubts.doubted`. In which order: by the probability of the given label.

    Args:
        rows: Catalog rows.
        probabilities: From `leave_one_out` or `out_of_fold`, of the same rows.
        second: Those of another kind of model, a second opinion. Defaults to none.

    Returns:
        path, label, why (`label`, or the audit's issue), proposed (the likeliest class), confidence (of the proposed),
        agreed (whether the second opinion proposes the same; True if there is none), quality (of the label, 0 bad to
        1).
    """
    labels = list(probabilities)
    p = probabilities.to_numpy()
    used = rows.issue.eq("").to_numpy()
    listed = ~used
    listed[used] = doubts.doubted(rows.label[used], p[used], labels)
    table = pd.DataFrame(
        {
            "path": rows.path,
            "label": rows.label,
            "why": rows.issue.where(~used, "label"),
            "proposed": np.array(labels)[p.argmax(1)],
            "confidence": p.max(1),
            "agreed": True if second is None else second.idxmax(axis=1).eq(probabilities.idxmax(axis=1)),
            "quality": doubts.quality(rows.label, p, labels),
        }
    )
    table = table[listed].assign(aside=~used[listed])
    table = table.sort_values(["aside", "quality", "path"], ignore_index=True).drop(columns="aside")
    table.attrs = dict(rows.attrs)
    return table


def propose(suspects: pd.DataFrame, above: float = 0.9) -> pd.DataFrame:
    """Corrections for the suspects where models are confident and agree; the rest stays as it is, for a person.

    A doubted label is replaced. Of twins under two labels, the one comes back whose label the models propose. All other
    pictures that were set aside stay there.

    Args:
        suspects: From `suspects`.
        above: Confidence from which a proposal is filled in. Defaults to 0.9.

    Returns:
        path, label, action, new_label, reason: the contents of `corrections.csv`.
    """
    sure = suspects.confidence.ge(above) & suspects.agreed
    doubted = suspects.why.eq("label")
    back = suspects.why.str.startswith("contradictory") & suspects.proposed.eq(suspects.label) & sure
    action = np.select([doubted & sure, doubted | back], ["relabel", "keep"], "drop")
    why = suspects.why.map(lambda why: "unseen" if why == "label" else why)
    said = [f"{row.proposed} {row.confidence:.2f}" for row in suspects.itertuples()]
    return pd.DataFrame(
        {
            "path": suspects.path,
            "label": suspects.label,
            "action": action,
            "new_label": suspects.proposed.where(action == "relabel", ""),
            "reason": why + ": " + said,
        }
    )
