"""Tables in files that people, spreadsheets and other programs may touch: CSV, one row per line, names in the first."""

import csv
import io
from pathlib import Path

import pandas as pd

from sneakerlib import InputError
from sneakerlib.runs import replacing


def write_csv(path: str | Path, table: pd.DataFrame, **how) -> None:
    """Write a table as CSV, in one step, with its index if that has a name; `how` goes to pandas."""
    how = {"index": table.index.name is not None, "lineterminator": "\n", **how}
    text = table.to_csv(**how)
    if "\r" in text:  # macOS has files called "Icon\r"; unquoted, that would end the row
        text = table.to_csv(quoting=csv.QUOTE_NONNUMERIC, **how)
    with replacing(path) as beside:
        beside.write_bytes(text.encode())


def read_csv(file: str | Path, **how) -> pd.DataFrame:
    """Read a table that people and spreadsheets may have touched: commas, semicolons or tabs; every cell as text.

    `how` goes to `csv.reader`.

    Raises:
        InputError: If it is missing, damaged, or a row has more cells than there are columns.
    """
    try:
        text = Path(file).read_bytes().decode("utf-8-sig")
        mark = max(",;\t", key=text.split("\n")[0].count)
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True, **how)
        columns, *rows = [row for row in lines if row] or [[]]
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}): check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not written in UTF-8: save it as `CSV UTF-8`") from error
    except (ValueError, csv.Error) as error:
        raise InputError(f"{file} is no table ({error}): mend it, or bring back an earlier one") from error
    if not columns:
        raise InputError(f"{file} is empty: give a table with a line of column names")
    for number, row in enumerate(rows, 2):
        if len(row) > len(columns):
            many = f"{len(row)} cells for {len(columns)} columns"
            raise InputError(f"{file}, row {number}: {many}: put quotes around a cell that holds a {mark!r}")
    table = pd.DataFrame([row + [""] * (len(columns) - len(row)) for row in rows], columns=columns, dtype=str)
    if not table.columns.is_unique:
        raise InputError(f"{file} names a column twice: {', '.join(table.columns[table.columns.duplicated()])}")
    return table
