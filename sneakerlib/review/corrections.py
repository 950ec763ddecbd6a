"""What is to be done about doubtful pictures: `corrections.csv`, and how it comes back into the catalog."""

from pathlib import Path

import pandas as pd

from sneakerlib import InputError
from sneakerlib.tables import read_csv, write_csv

ACTIONS = ("relabel", "drop", "keep")
COLUMNS = ["path", "label", "action", "new_label", "reason"]
BY_HAND = "by hand"  # the reason of a line that a person has decided
# What the audit sets aside though only a person can tell whether it has to be: a decision may bring it back.
ASIDE = ("contradictory-duplicate", "contradictory-near-duplicate", "off-topic")


def save(corrections: pd.DataFrame, file: str | Path) -> None:
    """Write the corrections in one step."""
    write_csv(file, corrections[COLUMNS])


def load(file: str | Path) -> pd.DataFrame:
    """Read corrections, made by `suspects.propose`, in the review grid or in a spreadsheet; none if there is no file.

    Raises:
        InputError: If a column is missing, an action unknown, a picture named twice, or a relabelling names no label.
    """
    if not Path(file).exists():
        return pd.DataFrame(columns=COLUMNS, dtype=str)
    table = read_csv(file)
    if missing := [column for column in COLUMNS if column not in table]:
        raise InputError(f"{file} has no column {', '.join(missing)}: it needs {', '.join(COLUMNS)}")
    nameless = table.action.eq("relabel") & table.new_label.eq("")
    for wrong, problem in (
        (~table.action.isin(ACTIONS), "action '{action}' is unknown: use relabel, drop, keep"),
        (nameless, "{path} is to be relabelled, but new_label is empty: name the class"),
        (table.path.duplicated(), "{path} appears twice: keep one of the rows"),
    ):
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            raise InputError(f"{file}, row {row + 2}: {problem.format(**table.iloc[row])}")
    return table


def begin(proposed: pd.DataFrame, file: str | Path) -> pd.DataFrame:
    """Write proposals into a file of corrections, and return what it now says; a line that it has already wins.

    Args:
        proposed: From `suspects.propose`.
        file: The file, which need not be there.
    """
    mine = load(file)
    save(pd.concat([mine, proposed[~proposed.path.isin(mine.path)]]), file)
    return load(file)


def decide(file: str | Path, path: str, label: str, action: str, new_label: str = "") -> None:
    """Write down what a person decided about one picture, at once; all other lines stay as they are in the file."""
    table = load(file).set_index("path")
    table.loc[path, COLUMNS[1:]] = [label, action, new_label, BY_HAND]
    save(table.reset_index(), file)


def apply(catalog: pd.DataFrame, corrections: pd.DataFrame) -> pd.DataFrame:
    """Correct the catalog: new labels, and issue `dropped` for pictures to leave out. No file is touched.

    A picture that the audit set aside comes back if it is kept or relabelled: for training, or where its twins are.
    Test pictures and their twins are left as they are: a test set cleaned with the model's own errors would flatter it.

    Raises:
        InputError: If a correction was made for another label than the catalog has.
    """
    homes = catalog[catalog.split.ne("")].drop_duplicates("group").set_index("group").split
    home = catalog.split.where(catalog.split.ne(""), catalog.group.map(homes)).fillna("train")
    found = corrections.set_index("path").reindex(catalog.path).set_axis(catalog.index)
    meant = found.action.notna() & home.ne("test")
    if (stale := meant & found.label.ne(catalog.label)).any():
        row, was = catalog[stale].iloc[0], found[stale].label.iloc[0]
        raise InputError(f"{row.path} was reviewed as {was}, but the catalog says {row.label}: review it again")
    result, drop = catalog.copy(), meant & found.action.eq("drop")
    relabel, back = meant & found.action.eq("relabel"), meant & ~drop & catalog.issue.isin(ASIDE)
    result.loc[relabel, "label"] = found.new_label[relabel]
    result.loc[back, "issue"], result.loc[back, "split"] = "", home[back]
    result.loc[drop & catalog.issue.eq(""), ["issue", "split"]] = ["dropped", ""]  # others have a better reason already
    return result
