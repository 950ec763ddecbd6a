"""Which labels are probably wrong, by what models say that have not seen the picture: confident learning."""

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues

from sneakerlib.catalog import class_numbers
from sneakerlib.review.corrections import ASIDE


def reviewable(catalog: pd.DataFrame) -> pd.DataFrame:
    """The pictures that a review may speak of: training and validation, never the test.

    After them come those that the audit set aside and a person may bring back: twins under two labels, and pictures of
    something else.
    """
    return pd.concat([catalog[catalog.split.isin(["train", "val"])], catalog[catalog.issue.isin(ASIDE)]])


def find(rows: pd.DataFrame, probabilities: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Pictures whose label is contradicted by a model that has not seen them, the worst first; then those set aside.

    A label is contradicted where the model is surer of another class than it usually is of that class.

    Args:
        rows: From `reviewable`.
        probabilities: One column per class, the index of `rows`: what a model says that did not learn from the picture.
        second: A second opinion, from another kind of model.

    Returns:
        path, label, why (`label`, or the audit's issue), proposed (the likeliest class), confidence (of the proposed),
        agreed (whether the second opinion proposes the same), quality (of the label: its probability, 0 bad to 1).

    Source: Northcutt, Jiang and Chuang 2021, "Confident Learning", as cleanlab does it.
    """
    p, given = probabilities.to_numpy(), class_numbers(rows.label, list(probabilities))
    used = rows.issue.eq("").to_numpy()
    listed = ~used
    listed[used] = find_label_issues(given[used], p[used], n_jobs=1) & (p[used].argmax(axis=1) != given[used])
    proposed = probabilities.idxmax(axis=1)
    table = rows[["path", "label"]].assign(why=rows.issue.where(~used, "label"), proposed=proposed)
    table["confidence"], table["agreed"] = p.max(axis=1), second.idxmax(axis=1).eq(proposed)
    table["quality"], table["aside"] = p[np.arange(len(p)), given], ~used
    return table[listed].sort_values(["aside", "quality", "path"], ignore_index=True).drop(columns="aside")


def propose(found: pd.DataFrame, above: float = 0.8) -> pd.DataFrame:
    """Corrections for the suspects where models are confident and agree; the rest stays as it is, for a person.

    A doubted label is replaced. Of twins under two labels, the one comes back whose label the models propose. All other
    pictures that were set aside stay there.

    Args:
        found: From `find`.
        above: Confidence from which a proposal is filled in. Defaults to 0.8.

    Returns:
        path, label, action, new_label, reason: the contents of `corrections.csv`.
    """
    sure, doubted = found.confidence.ge(above) & found.agreed, found.why.eq("label")
    back = found.why.str.startswith("contradictory") & found.proposed.eq(found.label) & sure
    action = np.select([doubted & sure, doubted | back], ["relabel", "keep"], "drop")
    said = found.proposed + found.confidence.map(" {:.2f}".format)
    table = found[["path", "label"]].assign(action=action, new_label=found.proposed.where(action == "relabel", ""))
    return table.assign(reason=found.why.replace("label", "unseen") + ": " + said)
