"""Find labels that are probably wrong, and carry a person's corrections back into the catalog."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sneakerlib import InputError, calibration, doubts, ridge
from sneakerlib.catalog import class_numbers
from sneakerlib.runs import replacing

ACTIONS = ("relabel", "drop", "keep")
COLUMNS = ["path", "label", "action", "new_label", "reason"]


def out_of_fold(
    features: np.ndarray, rows: pd.DataFrame, folds: int = 5, strength: float = 0.01, seed: int = 0
) -> pd.DataFrame:
    """Probabilities from models that have not seen the picture they judge, nor its twins.

    Args:
        features: Array (pictures, channels), in the order of `rows`.
        rows: Catalog rows with label and group.
        folds: Parts that the pictures are cut into. Defaults to 5.
        strength: scikit-learn's `C`, as in `heads.fit_linear`. Defaults to 0.01.
        seed: Of the cut. Defaults to 0.

    Returns:
        One column per class, sorted; the index of `rows`.
    """
    counts = rows.groupby("label").group.nunique()
    if counts.min() < folds:
        raise InputError(
            f"class {counts.idxmin()} has {counts.min()} picture groups, {folds} folds need as many: add pictures"
        )
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
    cut = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    p = cross_val_predict(model, features, rows.label, groups=rows.group, cv=cut, method="predict_proba")
    return pd.DataFrame(p, index=rows.index, columns=sorted(rows.label.unique()))


def leave_one_out(features: ridge.Features, rows: pd.DataFrame) -> pd.DataFrame:
    """Probabilities from a head in closed form that was solved without the picture and its twins: exact, in seconds.

    Args:
        features: Second moments, of shape (pictures, channels), in the order of `rows`; see `models.second_order`.
        rows: Catalog rows with label and group.

    Returns:
        One column per class, sorted; the index of `rows`. Strength and temperature are those that agree best with the
        given labels.
    """
    labels = sorted(rows.label.unique())
    targets = class_numbers(rows.label, labels)
    solver, groups = ridge.solver(features, targets), rows.group.to_numpy()
    tried = [solver.left_out(strength, groups) for strength in ridge.STRENGTHS]
    said = max(tried, key=lambda one: (one.argmax(axis=1) == targets).mean())
    return pd.DataFrame(calibration.as_probabilities(said, targets), index=rows.index, columns=labels)


def suspects(rows: pd.DataFrame, probabilities: pd.DataFrame, second: pd.DataFrame | None = None) -> pd.DataFrame:
    """Pictures whose label is contradicted by models that have not seen them, the worst first.

    Which ones: see `doubts.doubted`. In which order: by the probability of the given label.

    Args:
        rows: Catalog rows.
        probabilities: From `leave_one_out` or `out_of_fold`, of the same rows.
        second: Those of another kind of model, a second opinion. Defaults to none.

    Returns:
        path, label, proposed (the likeliest class), confidence (of the proposed), quality (of the label, 0 bad to 1),
        agreed (whether the second opinion proposes the same; True if there is none).
    """
    labels = list(probabilities)
    p = probabilities.to_numpy()
    table = pd.DataFrame(
        {
            "path": rows.path,
            "label": rows.label,
            "proposed": np.array(labels)[p.argmax(1)],
            "confidence": p.max(1),
            "agreed": True if second is None else second.idxmax(axis=1).eq(probabilities.idxmax(axis=1)),
            "quality": doubts.quality(rows.label, p, labels),
        }
    )
    table = table[doubts.doubted(rows.label, p, labels)]
    return table.sort_values(["quality", "path"], ignore_index=True)


def propose(suspects: pd.DataFrame, above: float = 0.9) -> pd.DataFrame:
    """Corrections for the suspects: relabel where models are confident and agree; else keep, for a person to decide.

    Args:
        suspects: From `suspects`.
        above: Confidence from which a label is replaced. Defaults to 0.9.

    Returns:
        path, label, action, new_label, reason: the contents of `corrections.csv`.
    """
    sure = suspects.confidence.ge(above) & suspects.agreed
    return pd.DataFrame(
        {
            "path": suspects.path,
            "label": suspects.label,
            "action": np.where(sure, "relabel", "keep"),
            "new_label": suspects.proposed.where(sure, ""),
            "reason": [f"unseen: {row.proposed} {row.confidence:.2f}" for row in suspects.itertuples()],
        }
    )


def save(corrections: pd.DataFrame, file: str | Path) -> None:
    """Write the corrections in one step."""
    with replacing(file) as beside:
        corrections[COLUMNS].to_csv(beside, index=False, lineterminator="\n")


def load(file: str | Path) -> pd.DataFrame:
    """Read corrections, made by `propose` or by hand.

    Raises:
        InputError: If a column is missing, an action unknown, or a relabelling names no label.
    """
    file = Path(file)
    if not file.is_file():
        raise InputError(f"there is no file {file}: notebook 06 writes it")
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    if missing := [column for column in COLUMNS if column not in table]:
        raise InputError(f"{file} has no column {', '.join(missing)}: it needs {', '.join(COLUMNS)}")
    for row, line in enumerate(table.itertuples(), start=2):
        if line.action not in ACTIONS:
            raise InputError(f"{file}, row {row}: action {line.action!r} is unknown: use {', '.join(ACTIONS)}")
        if line.action == "relabel" and not line.new_label:
            raise InputError(
                f"{file}, row {row}: {line.path} is to be relabelled, but new_label is empty: name the class"
            )
    return table


def apply(catalog: pd.DataFrame, corrections: pd.DataFrame) -> pd.DataFrame:
    """Correct the catalog: new labels, and issue `dropped` for pictures to leave out. No file is touched.

    Test pictures are left as they are: a test set cleaned with the model's own errors would flatter it.

    Raises:
        InputError: If a correction was made for another label than the catalog has.
    """
    table = corrections.set_index("path")
    mine = catalog[catalog.path.isin(table.index) & catalog.split.ne("test")]
    found = table.loc[mine.path].set_axis(mine.index)
    if (stale := mine.label.ne(found.label)).any():
        row = mine[stale].iloc[0]
        raise InputError(
            f"{row.path} was reviewed as {found.label[row.name]}, but the catalog says {row.label}: review it again"
        )
    relabel, drop = found.action.eq("relabel"), found.action.eq("drop")
    result = catalog.copy()
    result.loc[mine.index[relabel], "label"] = found.new_label[relabel]
    result.loc[mine.index[drop], ["issue", "split"]] = ["dropped", ""]
    return result
