"""What to look for: a table of search terms, one row per label and query."""

import re
from pathlib import Path

import pandas as pd

from sneakerlib import InputError, check_number
from sneakerlib.catalog import SPLITS
from sneakerlib.tables import read_csv

COLUMNS = ["label", "query", "limit", "split", "source"]
# Column names of an earlier project's files, which are still around.
EARLIER = {"search_term": "query", "number_imgs": "limit", "folder_name": "label", "train_val": "split"}
LIMIT = 40  # results of a query, where the table does not say


def read(file: str | Path, limit: int | None = None, labels: list[str] | None = None) -> pd.DataFrame:
    """Read a CSV of search terms.

    Args:
        file: With the columns label and query, and perhaps limit (results at the most), split and source; several rows
            may share a label.
        limit: Results of a query at the most, whatever the file says. Defaults to what the file says, or 40.
        labels: Only these. Defaults to all.

    Returns:
        A table of `COLUMNS`; file names in it start from `attrs["folder"]`, the folder of the file.

    Raises:
        InputError: If the file is no such table, or a row cannot be meant: with the row and what to do.
    """
    file = Path(file)
    if not file.is_file():
        raise InputError(f"there is no file {file}: give a CSV with the columns label, query, limit")
    table = check(read_csv(file, skipinitialspace=True), str(file), limit)
    if unknown := sorted(set(labels or []) - set(table.label)):
        raise InputError(f"{file} has no label {', '.join(unknown)}: check --labels")
    table = table[table.label.isin(labels or table.label)].reset_index(drop=True)
    table.attrs["folder"] = str(file.parent)
    return table


def check(table: pd.DataFrame, name: str = "the search terms", limit: int | None = None) -> pd.DataFrame:
    """Bring a table of search terms into form; arguments, result and errors as for `read`."""
    table = table.rename(columns=lambda column: EARLIER.get(str(column).strip(), str(column).strip()))
    if missing := [column for column in ("label", "query") if column not in table]:
        raise InputError(f"{name} has no column {', '.join(missing)}: label, query and limit are wanted")
    if limit is not None:
        check_number("limit", limit)
    if table.empty:
        raise InputError(f"{name} has no rows: write one per label and query")
    table = table.reindex(columns=COLUMNS, fill_value="").astype(str).map(str.strip)
    wrong = {
        "label {label!r} cannot name a folder: use letters, digits, - and _": ~table.label.map(_fits_a_folder),
        "label {label} has no query: say what to look for": table["query"].eq(""),
        "limit {limit!r} is not a number of pictures: use 1 or more": ~table.limit.str.fullmatch(r"|0*[1-9]\d*"),
        "split {split!r} is unknown: use train, val, test or leave it empty": ~table.split.isin(["", *SPLITS]),
    }
    for problem, rows in wrong.items():
        for row, term in table[rows].head(1).iterrows():
            raise InputError(f"{name}, row {row + 2}: {problem.format(**term)}")
    return table.assign(limit=table.limit.replace("", str(limit or LIMIT)).astype(int).clip(upper=limit))


def _fits_a_folder(label: str) -> bool:
    """Whether a label is the name of one folder, visible, on any system."""
    reserved = re.fullmatch(r"(con|prn|aux|nul|(com|lpt)\d)(\..*)?", label, re.IGNORECASE)
    harmless = label.isprintable() and not re.search(r'[/\\:*?"<>|]', label) and not label.endswith(".")
    return bool(label) and harmless and not label.startswith(".") and not reserved and len(label.encode()) <= 200
