"""The catalog: one table, one row per picture, from the first download to the last correction."""

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from sneakerlib import InputError, check_number
from sneakerlib.pictures import folder_of, header, quietly
from sneakerlib.tables import read_csv, write_csv

SPLITS = ("train", "val", "test")
FACTS = ["path", "label", "sha256", "width", "height", "mode", "format"]
ORIGIN = ["source_url", "licence", "creator"]
COLUMNS = [*FACTS, *ORIGIN, "issue", "group", "split"]
COLLECTED = "catalog.csv"  # in the picture folder itself: what was collected from where
HERE = "folder"  # only in the file: where the pictures are, seen from the file


def read(folder: str | Path, labels: list[str] | None = None) -> pd.DataFrame:
    """Read a folder with one sub-folder per class into a catalog, sorted by path.

    Args:
        folder: The picture folder. Hidden files are passed over; no extension is expected, since extensions lie.
        labels: Only these classes. Defaults to all.

    Returns:
        A validated catalog. A file whose header cannot be read has width 0; `clean.audit` says why.

    Raises:
        InputError: If there are no pictures, or a wanted class has no sub-folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}: give the folder that holds one sub-folder per class")
    found = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if unknown := sorted(set(labels or []) - set(found)):
        raise InputError(f"no sub-folder {', '.join(unknown)} under {folder}: there are {', '.join(found) or 'none'}")
    wanted = [label for label in found if not labels or label in labels]
    files = [file for label in wanted for file in (folder / label).rglob("*") if _is_picture(file, folder)]
    if not files:
        example = folder / (wanted[0] if wanted else "air_jordan_1") / "*.jpg"
        raise InputError(f"no pictures under {folder}: expected one sub-folder per class, for example {example}")
    with quietly():  # in threads, so many small pieces of work would take twice as long
        rows = [facts(file, folder) for file in files]
    known = _collected(folder)
    rows = [known.get((row["path"], row["sha256"]), {}) | row for row in rows]
    return validate(blank(rows, folder), str(folder))


def _is_picture(file: Path, folder: Path) -> bool:
    """Whether somebody meant it to be a picture, as a link to nowhere too; hidden files are none."""
    there = file.is_file() or (file.is_symlink() and not file.exists())
    return there and "/." not in f"/{file.relative_to(folder).as_posix()}"


def _collected(folder: Path) -> dict[tuple[str, str], dict]:
    """What `collect` wrote down about the pictures of a folder, by path and content; empty if it never wrote there."""
    file = folder / COLLECTED
    try:
        if not set(COLUMNS) <= set(pd.read_csv(file, nrows=0)):  # the user's own, and happens to have this name
            return {}
    except (OSError, ValueError):
        return {}
    table = load(file)
    known = table.drop(columns=[*FACTS, "issue", "group"]).to_dict("records")
    return dict(zip(zip(table.path, table.sha256, strict=True), known, strict=True))


def blank(rows: list[dict], folder: str | Path) -> pd.DataFrame:
    """Make a catalog of these rows, sorted by path, with the columns that they lack left empty."""
    empty = dict.fromkeys(COLUMNS, "") | {"width": 0, "height": 0}
    catalog = pd.DataFrame([empty | row for row in rows]).fillna("").sort_values("path", ignore_index=True)
    catalog.attrs["folder"] = str(folder)
    return catalog


def facts(file: Path, folder: Path) -> dict:
    """What a catalog row says of a file itself: path, label, content hash, and what its header says.

    A file that cannot be opened has no hash, nor has one whose name is not UTF-8, as no table can hold that name: it is
    written with backslashes. The audit reports both.
    """
    name = file.relative_to(folder).as_posix()
    path = os.fsencode(name).decode("utf-8", "backslashreplace")
    row = {"path": path, "label": path.split("/")[0], "sha256": "", "width": 0, "height": 0, "mode": "", "format": ""}
    if path != name:
        return row
    try:
        digest = hashlib.sha256()
        with file.open("rb") as opened:
            while content := opened.read(1 << 20):  # `hashlib.file_digest` is four times slower on small files
                digest.update(content)
            row["sha256"] = digest.hexdigest()
            opened.seek(0)
            with quietly(), Image.open(opened) as image:
                return row | header(image)
    except Exception:  # no permission, a link to nowhere; and Pillow's readers raise whatever a damaged header says
        return row


def validate(catalog: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return the catalog if it keeps its contract; else raise an InputError that names source, row and cure."""

    def refuse(wrong: pd.Series, problem: str, cure: str) -> None:
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(f"{source}, row {row + 2}: {problem.format(**catalog.iloc[row])}: {cure}")

    if missing := [column for column in COLUMNS if column not in catalog]:
        raise InputError(f"{source} has no column {', '.join(missing)}: make the catalog anew with `sneakerlib split`")
    placed = catalog.split.ne("")
    parts = catalog[placed & catalog.group.ne("")].groupby("group").split.nunique()
    outside = catalog.path.str.contains(r"^$|^/|(?:^|/)\.\.(?:/|$)")
    refuse(outside, "path '{path}' leads out of the folder", "use a path inside it")
    refuse(catalog.path.duplicated(), "path '{path}' appears twice", "keep one of the rows")
    refuse(catalog.label.eq(""), "'{path}' has no label", "name its class or remove the row")
    refuse(~catalog.split.isin(["", *SPLITS]), "split '{split}' is unknown", "use train, val, test or leave it empty")
    refuse(placed & catalog.issue.ne(""), "'{path}' is set aside ({issue}) and has a split", "empty one of the two")
    torn = catalog.group.isin(parts.index[parts > 1])
    refuse(torn, "group {group} of '{path}' sits in two splits", "give its twins one split")
    return catalog


def save(catalog: pd.DataFrame, file: str | Path, home: str | Path | None = None) -> Path:
    """Write the catalog as CSV, in one step, with the way to its picture folder.

    Args:
        catalog: The table.
        file: Where to.
        home: The folder that the file will lie in, if it is moved there later. Defaults to the folder of `file`.
    """
    file, folder = Path(file), folder_of(catalog).resolve()
    try:
        way = Path(os.path.relpath(folder, Path(home or file.parent).resolve())).as_posix()
    except ValueError:  # another drive on Windows
        way = folder.as_posix()
    write_csv(file, validate(catalog, str(file)).assign(**{HERE: way}))
    return file


def load(file: str | Path) -> pd.DataFrame:
    """Read and validate a catalog that `save` wrote; its pictures are found from the file's own place."""
    file = Path(file)
    if not file.is_file():
        raise InputError(f"there is no catalog {file}: make one with `sneakerlib split IMAGES --out {file}`")
    catalog = read_csv(file)
    try:
        for column in {"width", "height"} & set(catalog):  # a spreadsheet may have made 254.0 of 254
            catalog[column] = catalog[column].str.removesuffix(".0").astype(int)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{file} is not a catalog ({reason}): make it anew with `sneakerlib split`") from error
    way = catalog.pop(HERE).iloc[0] if HERE in catalog and len(catalog) else "."
    catalog.attrs["folder"] = str((file.parent / way).resolve())
    return validate(catalog, str(file))


def in_order(labels: Iterable[str]) -> list[str]:
    """The classes, each once, in the order of the numbers in their names: `air_jordan_2` before `air_jordan_10`."""
    return sorted(set(labels), key=lambda name: ([int(part) for part in re.findall(r"\d+", name)], name))


def class_numbers(given: pd.Series, labels: list[str]) -> np.ndarray:
    """The place of each label among the classes: integers."""
    return given.map({label: number for number, label in enumerate(labels)}).to_numpy(int)


def usable(catalog: pd.DataFrame, split: str | None = None) -> pd.DataFrame:
    """The rows without an issue, of one split if it is named."""
    rows = catalog[catalog.issue.eq("")]
    return rows if split is None else rows[rows.split.eq(split)]


def keep_splits(catalog: pd.DataFrame, earlier: pd.DataFrame) -> pd.DataFrame:
    """Give each picture the split that it had in an earlier catalog: a test picture stays a test picture."""
    known = dict(zip(earlier.sha256, earlier.split))
    splits = [(known.get(row.sha256) or row.split) if row.issue == "" else "" for row in catalog.itertuples()]
    return catalog.assign(split=splits)


def split(catalog: pd.DataFrame, val: float = 0.15, test: float = 0.15, seed: int = 0) -> pd.DataFrame:
    """Share the pictures out to train, val and test: whole groups, every label in every split, reproducible.

    Args:
        catalog: The pictures. Rows that have a split keep it, rows with an issue get none, and twins (rows of one
            group, or of one content) always stay together.
        val: Fraction of each label's pictures for validation, 0 to 1. Defaults to 0.15.
        test: Fraction of each label's pictures for the final test, 0 to 1. Defaults to 0.15.
        seed: Decides which groups go where, independent of the order of the rows. Defaults to 0.

    Returns:
        A copy of the catalog with `split` filled in.

    Raises:
        InputError: If the fractions leave nothing to train on, or a label has too few groups for them.
    """
    shares = {"test": test, "val": val, "train": 1 - val - test}
    for name, value in {"val": val, "test": test, "seed": seed}.items():
        check_number(name, value)
    if shares["train"] <= 0:
        raise InputError(f"val {val} and test {test} leave nothing to train on: they have to add up to less than 1")
    good = usable(catalog)
    if good.empty:
        raise InputError("no usable pictures to split: see the column `issue` for why each was set aside")
    good = good.assign(group=good.group.where(good.group.ne(""), good.sha256))
    units = good.groupby("group").agg(
        label=("label", lambda labels: labels.mode()[0]), size=("label", "size"), split=("split", _strictest)
    )
    units["order"] = [hashlib.sha256(f"{seed}:{name}".encode()).hexdigest() for name in units.index]
    wanted = [name for name, share in shares.items() if share > 0]
    for label, members in units.sort_values("order").groupby("label"):
        if len(members) < len(wanted):
            raise InputError(
                f"class {label} has {len(members)} usable picture groups, too few for {' + '.join(wanted)}: "
                "add pictures, leave the class out with --labels, or set --val or --test to 0"
            )
        total = members["size"].sum()
        held = {name: members["size"][members.split.eq(name)].sum() for name in wanted}
        for name, size in members["size"][members.split.eq("")].items():
            empty = [part for part in wanted if not held[part]]
            place = max(empty or wanted, key=lambda part: shares[part] * total - held[part])
            units.loc[name, "split"] = place
            held[place] += size
    return catalog.assign(split=good.group.map(units.split).reindex(catalog.index).fillna(catalog.split))


def _strictest(splits: pd.Series) -> str:
    """The split of twins that had several: a picture may leave training for the test, never the other way."""
    return max(splits, key=["", "train", "val", "test"].index)
