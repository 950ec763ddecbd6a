"""Find the dirt in a catalog, and set it aside without deleting anything."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sneakerlib import InputError
from sneakerlib import catalog as catalogs
from sneakerlib.catalog import folder_of
from sneakerlib.pictures import EXIF_ORIENTATION, open_rgb
from sneakerlib.progress import watch

# Left out of every split; the files stay where they are.
SET_ASIDE = ("unreadable", "exact-duplicate", "contradictory-duplicate")
# Bits of 64 in which the perceptual hashes of twins may differ. On the sample, twins (cropped by 1 %, shrunk,
# compressed again) differ by at most 4; at 6, pictures of different models begin to pass for twins.
TWIN_BITS = 4


def audit(catalog: pd.DataFrame, progress: bool = True) -> pd.DataFrame:
    """Look at every picture and report what is wrong with it.

    Args:
        catalog: From `catalog.read`.
        progress: Show a bar. Defaults to True.

    Returns:
        Findings, one row per picture and issue: path, label, issue, score (0 harmless to 1 certain), evidence.
        Issues: `unreadable`, `exact-duplicate` (a further copy under the same label), `contradictory-duplicate` (the
        same content under two labels, every copy), `near-duplicate` (looks the same), `mode` (not RGB) and
        `exif-rotated` (both are put right on reading).
    """
    folder = folder_of(catalog)
    with ThreadPoolExecutor() as pool:
        looks = pool.map(_look, [folder / path for path in catalog.path])
        seen = list(watch(looks, len(catalog), "auditing", progress))
    seen = pd.DataFrame(seen, index=catalog.index, columns=["error", "turned", "hash"])
    findings = [_finding(catalog.loc[at], "unreadable", 1.0, seen.error[at]) for at in seen.index[seen.error.ne("")]]
    good = catalog[seen.error.eq("")]
    for _, copies in good.groupby("sha256"):
        if len(set(copies.label)) > 1:
            findings += [
                _finding(row, "contradictory-duplicate", 1.0, _others(copies, row)) for _, row in copies.iterrows()
            ]
        else:
            findings += [
                _finding(row, "exact-duplicate", 1.0, copies.path.iloc[0]) for _, row in copies.iloc[1:].iterrows()
            ]
    distinct = good.drop_duplicates("sha256")
    for first, second, bits in _twins(seen.hash[distinct.index].to_list()):
        pair = distinct.iloc[first], distinct.iloc[second]
        score = 1 - bits / 64
        findings += [_finding(row, "near-duplicate", score, twin.path) for row, twin in (pair, pair[::-1])]
    findings += [_finding(row, "mode", 0.1, row["mode"]) for _, row in good[good["mode"].ne("RGB")].iterrows()]
    findings += [
        _finding(row, "exif-rotated", 0.1, "EXIF") for _, row in good[seen.turned[good.index].astype(bool)].iterrows()
    ]
    table = pd.DataFrame(findings, columns=["path", "label", "issue", "score", "evidence"])
    order = table.assign(
        pair=[min(row.path, row.evidence or row.path) for row in table.itertuples()]
    )  # twins side by side
    order = order.sort_values(["issue", "score", "pair", "path"], ascending=[True, False, True, True])
    return order.drop(columns="pair").reset_index(drop=True)


def _finding(row: pd.Series, issue: str, score: float, evidence: str) -> dict:
    return {"path": row.path, "label": row.label, "issue": issue, "score": round(score, 3), "evidence": evidence}


def _others(copies: pd.DataFrame, row: pd.Series) -> str:
    return ", ".join(copies.path[copies.path.ne(row.path)])


def _look(file: Path) -> tuple[str, bool, int]:
    """Decode a file in full: (why it can't be read or "", turned by EXIF, perceptual hash)."""
    try:
        picture = open_rgb(file, longest=64)
        with Image.open(file) as image:
            turned = image.getexif().get(EXIF_ORIENTATION, 1) != 1
    except InputError as error:
        return str(error).partition("(")[2].rpartition(")")[0] or str(error), False, 0
    bits = imagehash.phash(picture).hash.ravel()
    return "", turned, int(np.packbits(bits).view(">u8")[0])


def _twins(hashes: list[int]) -> list[tuple[int, int, int]]:
    """Pairs whose hashes differ in at most `TWIN_BITS` bits: (first, second, bits)."""
    codes = np.array(hashes, np.uint64)
    pairs = []
    for at in range(len(codes) - 1):
        bits = np.bitwise_count(codes[at + 1 :] ^ codes[at])
        pairs += [(at, at + 1 + int(other), int(bits[other])) for other in np.flatnonzero(bits <= TWIN_BITS)]
    return pairs


def apply(catalog: pd.DataFrame, findings: pd.DataFrame) -> pd.DataFrame:
    """Mark what the audit found: set the hopeless aside, put twins into one group.

    Args:
        catalog: The audited catalog.
        findings: From `audit`.

    Returns:
        A copy with `issue` filled for pictures that must not be used, and `group` shared by twins (transitively; a
        picture without a twin is a group of its own).
    """
    worst = findings[findings.issue.isin(SET_ASIDE)].drop_duplicates("path").set_index("path").issue.to_dict()
    issue = pd.Series([worst.get(path, "") for path in catalog.path], catalog.index, dtype=str)
    row = {path: number for number, path in enumerate(catalog.path)}
    near = findings[findings.issue.eq("near-duplicate")]
    same = catalog.drop_duplicates("sha256").set_index("sha256").path
    first = [row[path] for path in [*near.path, *catalog.path]]
    second = [row[path] for path in [*near.evidence, *same[catalog.sha256]]]
    links = coo_array((np.ones(len(first)), (first, second)), shape=(len(row), len(row)))
    _, component = connected_components(links, directed=False)
    group = catalog.groupby(component).sha256.transform("min").str[:12]
    return catalog.assign(issue=issue, group=group, split=catalog.split.where(issue.eq(""), ""))


def summary(findings: pd.DataFrame) -> pd.DataFrame:
    """Count the findings: one row per issue with the number of pictures and what is done about them."""
    cure = {
        "near-duplicate": "kept together in one split",
        "mode": "converted on reading",
        "exif-rotated": "turned on reading",
    }
    counts = findings.groupby("issue").path.nunique().rename("pictures").reset_index()
    return counts.assign(decision=counts.issue.map(lambda issue: cure.get(issue, "set aside")))


def prepare(
    source: str | Path,
    labels: list[str] | None = None,
    val: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    progress: bool = True,
    earlier: str | Path | None = None,
) -> pd.DataFrame:
    """Read, audit and split a picture folder; or load a catalog, and split what has no split yet.

    Args:
        source: A folder with one sub-folder per class, or a catalog file.
        labels: Only these classes. Defaults to all.
        val: See `catalog.split`. Defaults to 0.15.
        test: See `catalog.split`. Defaults to 0.15.
        seed: See `catalog.split`. Defaults to 0.
        progress: Show a bar. Defaults to True.
        earlier: A catalog file whose splits are kept, if it exists. Defaults to none.
    """
    source = Path(source)
    known = catalogs.load(earlier) if earlier and Path(earlier).exists() else None
    if source.is_file():
        table = catalogs.load(source)
        if unknown := sorted(set(labels or []) - set(table.label)):
            raise InputError(f"{source} has no pictures of {', '.join(unknown)}: check --labels")
        table = table[table.label.isin(labels)] if labels else table
    else:
        table = catalogs.read(source, labels)
        table = apply(table, audit(table, progress))
    table = table if known is None else catalogs.keep_splits(table, known)
    return catalogs.split(table, val, test, seed)
