"""What is to be done about doubtful pictures: `corrections.csv`, and how it comes back into the catalog."""

from pathlib import Path

import pandas as pd

from sneakerlib import InputError
from sneakerlib.runs import replacing

ACTIONS = ("relabel", "drop", "keep")
COLUMNS = ["path", "label", "action", "new_label", "reason"]
BY_HAND = "by hand"  # the reason of a line that a person has decided
# What the audit sets aside though only a person can tell whether it has to be: a decision may bring it back.
ASIDE = ("contradictory-duplicate", "contradictory-near-duplicate", "off-topic")


def save(corrections: pd.DataFrame, file: str | Path) -> None:
    """Write the corrections in one step."""
    with replacing(file) as beside:
        corrections[COLUMNS].to_csv(beside, index=False, lineterminator="\n")


def load(file: str | Path) -> pd.DataFrame:
    """Read corrections, made by `review.propose`, in the review grid or in a spreadsheet.

    Raises:
        InputError: If a column is missing, an action unknown, a picture named twice, or a relabelling names no label.
    """
    file = Path(file)
    if not file.is_file():
        raise InputError(f"there is no file {file}: notebook 06 writes it")
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    if missing := [column for column in COLUMNS if column not in table]:
        raise InputError(f"{file} has no column {', '.join(missing)}: it needs {', '.join(COLUMNS)}")
    seen = set()
    for row, line in enumerate(table.itertuples(), start=2):
        if line.action not in ACTIONS:
            raise InputError(f"{file}, row {row}: action {line.action!r} is unknown: use {', '.join(ACTIONS)}")
        if line.action == "relabel" and not line.new_label:
            raise InputError(
                f"{file}, row {row}: {line.path} is to be relabelled, but new_label is empty: name the class"
            )
        if line.path in seen:
            raise InputError(f"{file}, row {row}: {line.path} appears twice: keep one of the rows")
        seen.add(line.path)
    return table


def begin(proposed: pd.DataFrame, file: str | Path) -> pd.DataFrame:
    """Write proposals into a file of corrections; where it has a line already, that line wins.

    Args:
        proposed: From `review.propose`.
        file: The file, which need not be there.

    Returns:
        What the file now says.
    """
    if Path(file).exists():
        mine = load(file)
        proposed = pd.concat([mine, proposed[~proposed.path.isin(mine.path)]], ignore_index=True)
    save(proposed, file)
    return load(file)


def decide(file: str | Path, path: str, label: str, action: str, new_label: str = "") -> pd.DataFrame:
    """Write down what a person decided about one picture, at once; all other lines stay as they are in the file.

    Args:
        file: The file of corrections, which need not be there.
        path: Of the picture.
        label: That the picture has now.
        action: One of `ACTIONS`.
        new_label: Where it belongs, if it is relabelled.

    Returns:
        What the file now says.
    """
    table = load(file) if Path(file).exists() else pd.DataFrame(columns=COLUMNS, dtype=str)
    line = [path, label, action, new_label, BY_HAND]
    if table.path.eq(path).any():
        table.loc[table.path.eq(path), COLUMNS] = line
    else:
        table = pd.concat([table, pd.DataFrame([line], columns=COLUMNS)], ignore_index=True)
    save(table, file)
    return table


def apply(catalog: pd.DataFrame, corrections: pd.DataFrame) -> pd.DataFrame:
    """Correct the catalog: new labels, and issue `dropped` for pictures to leave out. No file is touched.

    A picture that the audit set aside comes back if it is kept or relabelled: for training, or where its twins are.
    Test pictures and their twins are left as they are: a test set cleaned with the model's own errors would flatter it;
    `reviewed` scores against corrected test labels.

    Raises:
        InputError: If a correction was made for another label than the catalog has.
    """
    splits = catalog[catalog.split.ne("")].drop_duplicates("group").set_index("group").split
    home = catalog.split.where(catalog.split.ne(""), catalog.group.map(splits)).fillna("train")
    found = _for(catalog[home.ne("test")], corrections)
    relabel, drop = found.index[found.action.eq("relabel")], found.index[found.action.eq("drop")]
    result = catalog.copy()
    result.loc[relabel, "label"] = found.new_label[relabel]
    back = found.index[found.action.ne("drop") & catalog.issue[found.index].isin(ASIDE)]
    result.loc[back, "issue"], result.loc[back, "split"] = "", home[back]
    used = drop[catalog.issue[drop].eq("")]  # others have a better reason already
    result.loc[used, ["issue", "split"]] = ["dropped", ""]
    return result


def reviewed(predictions: pd.DataFrame, corrections: pd.DataFrame) -> pd.DataFrame:
    """The same answers, judged by corrected labels; dropped pictures are left out. Say so wherever you quote a score.

    Args:
        predictions: From `evaluation.predictions`.
        corrections: Of the pictures that were predicted.

    Raises:
        InputError: If a correction was made for another label than the predictions have.
    """
    found = _for(predictions, corrections)
    relabel, drop = found.index[found.action.eq("relabel")], found.index[found.action.eq("drop")]
    result = predictions.copy()
    result.loc[relabel, "label"] = found.new_label[relabel]
    result["correct"] = result.predicted.eq(result.label)
    return result.drop(index=drop).reset_index(drop=True)


def _for(table: pd.DataFrame, corrections: pd.DataFrame) -> pd.DataFrame:
    """The corrections of the pictures in a table, with its index."""
    mine = table[table.path.isin(corrections.path)]
    found = corrections.set_index("path").loc[mine.path].set_axis(mine.index)
    if (stale := mine.label.ne(found.label)).any():
        row = mine[stale].iloc[0]
        raise InputError(
            f"{row.path} was reviewed as {found.label[row.name]}, but the catalog says {row.label}: review it again"
        )
    return found
