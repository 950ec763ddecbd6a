"""Find the dirt in a catalog, decide what to do about it, and set it aside without deleting anything."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from sneakerlib import InputError
from sneakerlib import catalog as catalogs
from sneakerlib.cleaning import off_topic, twins
from sneakerlib.tables import read_csv

SMALLEST = 64  # pixels of the shorter side: what notebook 03 trains at; a smaller picture would have to be enlarged
# What is done about each issue. drop: left out, nothing can be learned from it; quarantine: left out until a person has
# looked at it; fix: put right whenever it is read; ignore: said and used. Twins are kept in one group in any case.
RULES = {
    **dict.fromkeys(["unreadable", "not-a-picture", "exact-duplicate"], "drop"),
    **dict.fromkeys(["contradictory-duplicate", "contradictory-near-duplicate", "off-topic"], "quarantine"),
    **dict.fromkeys(["animated", "colour-profile", "exif-rotated", "mode"], "fix"),
    **dict.fromkeys(["near-duplicate", "small", "odd-aspect", "dark", "bright", "blurry", "low-information"], "ignore"),
}
ACTIONS = ("keep", "drop", "quarantine")  # what a person may decide
COLUMNS = ["path", "label", "issue", "score", "evidence", "group"]


def audit(
    catalog: pd.DataFrame, cache: str | Path | None = None, progress: bool = True, features: bool = True
) -> pd.DataFrame:
    """Look at every picture and report what is wrong with it.

    Args:
        catalog: From `catalog.read`.
        cache: Folder of what is known of pictures seen before. Defaults to the user's cache folder.
        progress: Show a bar. Defaults to True.
        features: Look for pictures of something else as well, with a network that knows ImageNet; needs TensorFlow, and
            a minute for 9,000 new pictures on two cores. Defaults to True.

    Returns:
        Findings, one row per picture and issue: path, label, issue (a key of `RULES`), score (0 harmless to 1 certain),
        evidence (what was seen, or the path of the twin) and group (equal for all that are joined by twins).
    """
    from sneakerlib.cleaning import look  # late: cleanvision takes its time to load, and may not be needed

    rows = catalog[["path", "label", "sha256", "width", "height", "mode"]].join(look.looks(catalog, cache, progress))
    good = rows[rows.error.eq("")]
    distinct = good.drop_duplicates("sha256")
    found = [*_files(rows, good), *_copies(good), *_near(distinct)]
    odd = dict(look.odd(good))
    for issue, score in odd.items():
        found.append(_say(good.loc[score.index], issue, 1 - score, score.map("{:.2f}".format)))
    if features and len(distinct) >= off_topic.FEWEST:
        clear = good.drop(odd["dark"].index.union(odd["blurry"].index))  # what the others show, no network can say
        strange = clear.join(off_topic.find(catalog.loc[distinct.index], cache, progress), on="sha256", how="inner")
        evidence = [f"{row.score:.1f}, limit {row.limit:.1f}" for row in strange.itertuples()]
        found.append(_say(strange, "off-topic", 1 - strange.limit / (2 * strange.score), evidence))
    table = pd.DataFrame([finding for some in found for finding in some], columns=COLUMNS)
    table = table.assign(score=table.score.astype(float).round(3))
    order = {"issue": True, "score": False, "group": True, "path": True}  # ascending; twins stand side by side
    return table.sort_values(list(order), ascending=list(order.values()), ignore_index=True)


def _say(rows: pd.DataFrame, issue, score, evidence, group="") -> list[dict]:
    said = {"path": rows.path, "label": rows.label, "issue": issue, "score": score, "evidence": evidence}
    return pd.DataFrame(said | {"group": group}, index=rows.index).to_dict("records")


def _files(rows: pd.DataFrame, good: pd.DataFrame) -> Iterator[list[dict]]:
    """What is wrong with the files themselves."""
    bad, side = rows.drop(good.index), good[["width", "height"]].min(axis=1)
    yield _say(bad, np.where(bad.error.eq("not a picture"), "not-a-picture", "unreadable"), 1, bad.error)
    yield _say(good[good.animated.eq(True)], "animated", 0.1, "only its first picture is used")
    yield _say(good[good.profile.eq(True)], "colour-profile", 0.1, "broken")
    yield _say(good[good.turned.eq(True)], "exif-rotated", 0.1, "EXIF")
    yield _say(good[good["mode"].ne("RGB")], "mode", 0.1, good["mode"])
    size = good.width.astype(str) + " x " + good.height.astype(str)
    yield _say(good[side < SMALLEST], "small", 1 - side / SMALLEST, size)


def _copies(good: pd.DataFrame) -> Iterator[list[dict]]:
    """Files of one content: contradictory if their labels differ, all of them; else every one but the first."""
    copies = good[good.sha256.duplicated(keep=False)].assign(group=lambda rows: rows.sha256.str[:12], score=1.0)
    yield from _contradictions(copies, "contradictory-duplicate")
    same = copies.groupby("sha256")
    later = copies[same.label.transform("nunique").eq(1) & same.cumcount().gt(0)]
    yield _say(later, "exact-duplicate", 1, same.path.transform("first"), later.group)


def _contradictions(twins: pd.DataFrame, issue: str) -> Iterator[list[dict]]:
    """Twins under several labels, each with those that say otherwise."""
    for name, some in twins.groupby("group"):
        others = [", ".join(some.path[some.label.ne(label)]) for label in some.label]
        if any(others):
            yield _say(some, issue, some.score, others, name)


def _near(distinct: pd.DataFrame) -> Iterator[list[dict]]:
    """Pictures that look the same though their files differ; contradictory too if one group has two labels."""
    hashes, *others = (
        np.frombuffer(bytes.fromhex("".join(distinct[column])), kind).reshape(-1, width)
        for column, kind, width in (("hash", ">u8", 1), ("fine", np.uint8, 32), ("thumbnail", np.uint8, 192))
    )
    found = twins.find(hashes[:, 0].astype(np.uint64), *others).set_index(distinct.index)
    group = distinct.groupby(found.group).sha256.transform("min").str[:12]
    distinct = distinct.assign(group=group, twin=distinct.path.to_numpy()[found.nearest], score=1 - found.bits / 64)
    pairs = distinct[distinct.twin.ne(distinct.path)]
    yield _say(pairs, "near-duplicate", pairs.score, pairs.twin, pairs.group)
    yield from _contradictions(pairs, "contradictory-near-duplicate")


def apply(catalog: pd.DataFrame, findings: pd.DataFrame, decisions: pd.DataFrame | None = None) -> pd.DataFrame:
    """Mark what the audit found: set the hopeless aside by `RULES`, put twins into one group.

    Args:
        catalog: The audited catalog.
        findings: From `audit`.
        decisions: From `read_decisions`; they overrule the rules. Defaults to none.

    Returns:
        A copy with `issue` filled for pictures that are not to be used, and `group` shared by twins (transitively; a
        picture without a twin is a group of its own).
    """
    out = findings[findings.issue.map(RULES).isin(["drop", "quarantine"])]
    worst = out.sort_values("issue", key=lambda issues: issues.map(list(RULES).index)).drop_duplicates("path")
    named = dict(zip(worst.path, worst.issue, strict=True))  # of several issues, the first in the order of the rules
    for row in decisions.itertuples() if decisions is not None else ():
        named[row.path] = "" if row.action == "keep" else named.get(row.path) or "by-hand"
    near = findings[findings.issue.eq("near-duplicate")].merge(catalog[["path", "sha256"]], on="path")
    shared = dict(zip(near.sha256, near.group, strict=True))
    issue = pd.Series([named.get(path, "") for path in catalog.path], catalog.index, dtype=str)
    group = [shared.get(key, key[:12] or path) for key, path in zip(catalog.sha256, catalog.path, strict=True)]
    return catalog.assign(issue=issue, group=group, split=catalog.split.where(issue.eq(""), ""))


def read_decisions(file: str | Path, catalog: pd.DataFrame) -> pd.DataFrame:
    """Read what a person decided about single pictures; no audit ever changes this file.

    Args:
        file: CSV with the columns path, action (keep, drop or quarantine) and, for the reader, reason.
        catalog: The pictures that it may speak of.

    Raises:
        InputError: If a column is missing, or a row names no picture or no action.
    """
    if not Path(file).is_file():
        raise InputError(f"there is no file {file}: write a CSV with the columns path, action, reason")
    table = read_csv(file)
    if missing := [column for column in ("path", "action") if column not in table]:
        raise InputError(f"{file} has no column {', '.join(missing)}: path, action and reason are wanted")
    known = set(catalog.path)
    for number, row in enumerate(table.itertuples(), 2):
        if row.path not in known:
            raise InputError(f"{file}, row {number}: there is no picture {row.path!r}: correct the path")
        if row.action not in ACTIONS:
            raise InputError(f"{file}, row {number}: action {row.action!r} is unknown: use {', '.join(ACTIONS)}")
    return table


def summary(findings: pd.DataFrame) -> pd.DataFrame:
    """Count the findings: a row per issue with the number of pictures and what is done about them."""
    means = {"drop": "set aside", "quarantine": "set aside until you decide", "fix": "put right on reading"}
    counts = findings.groupby("issue").path.nunique().rename("pictures").reset_index()
    meaning = counts.issue.map(RULES).map(means).fillna("used all the same")
    return counts.assign(decision=meaning.where(counts.issue.ne("near-duplicate"), "kept together in one split"))


def prepare(
    source: str | Path,
    labels: list[str] | None = None,
    val: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    progress: bool = True,
    earlier: str | Path | None = None,
    decisions: str | Path | None = None,
    features: bool = True,
) -> pd.DataFrame:
    """Read, audit and split a picture folder; or load a catalog, audit it if nobody has, and split what has no split.

    Args:
        source: A folder with one sub-folder per class, or a catalog file.
        labels: Only these classes. Defaults to all.
        val: See `catalog.split`, also for `test` and `seed`. Defaults to 0.15, as `test` does.
        test: See `val`.
        seed: Defaults to 0.
        progress: Show a bar. Defaults to True.
        earlier: A catalog file whose splits are kept, if it exists. Defaults to none.
        decisions: A file for `read_decisions`. Defaults to none.
        features: See `audit`. Defaults to True.
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
    if table.group.eq("").all() or decisions:  # never audited, as `collect` leaves it; or decided anew
        by_hand = read_decisions(decisions, table) if decisions else None
        table = apply(table, audit(table, progress=progress, features=features), by_hand)
    table = table if known is None else catalogs.keep_splits(table, known)
    return catalogs.split(table, val, test, seed)
