"""Find the dirt in a catalog, decide what to do about it, and set it aside without deleting anything."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sneakerlib import InputError
from sneakerlib import catalog as catalogs
from sneakerlib.cleaning import off_topic, twins

SMALLEST = 64  # pixels of the shorter side: what notebook 03 trains at; a smaller picture would have to be enlarged
# What is done about each issue. drop: left out, nothing can be learned from it; quarantine: left out until a person has
# looked at it; fix: put right whenever it is read; ignore: said and used. Twins are kept in one group in any case.
RULES = {
    "unreadable": "drop",
    "not-a-picture": "drop",
    "exact-duplicate": "drop",
    "contradictory-duplicate": "quarantine",
    "contradictory-near-duplicate": "quarantine",
    "off-topic": "quarantine",
    "animated": "fix",
    "colour-profile": "fix",
    "exif-rotated": "fix",
    "mode": "fix",
    "near-duplicate": "ignore",
    "small": "ignore",
    "odd-aspect": "ignore",
    "dark": "ignore",
    "bright": "ignore",
    "blurry": "ignore",
    "low-information": "ignore",
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
    from sneakerlib.cleaning.look import (
        looks,  # late: cleanvision takes its time to load, and a catalog may be audited already
    )

    seen = looks(catalog, cache, progress)
    found = [*_files(catalog, seen), *_copies(catalog, seen), *_near(catalog, seen), *_appearance(catalog, seen)]
    if features:
        found += _off_topic(catalog, seen, cache, progress)
    table = pd.DataFrame(found, columns=COLUMNS)
    pair = [min(row.path, row.evidence or row.path) for row in table.itertuples()]  # twins side by side
    order = table.assign(pair=pair).sort_values(
        ["issue", "score", "pair", "path"], ascending=[True, False, True, True], kind="stable"
    )
    return order.drop(columns="pair").reset_index(drop=True)


def _finding(row, issue: str, score: float, evidence: str, group: str = "") -> dict:
    fields = {"path": row.path, "label": row.label, "issue": issue, "score": round(float(score), 3)}
    return fields | {"evidence": evidence, "group": group}


def _files(catalog: pd.DataFrame, seen: pd.DataFrame):
    """What is wrong with the files themselves."""
    for row, look in zip(catalog.itertuples(), seen.itertuples(), strict=True):
        if look.error:
            yield _finding(row, "not-a-picture" if look.error == "not a picture" else "unreadable", 1, look.error)
            continue
        if look.animated:
            yield _finding(row, "animated", 0.1, "only its first picture is used")
        if look.profile == "broken":
            yield _finding(row, "colour-profile", 0.1, "broken")
        if look.turned:
            yield _finding(row, "exif-rotated", 0.1, "EXIF")
        if row.mode != "RGB":
            yield _finding(row, "mode", 0.1, row.mode)
        if min(row.width, row.height) < SMALLEST:
            yield _finding(row, "small", 1 - min(row.width, row.height) / SMALLEST, f"{row.width} x {row.height}")


def _copies(catalog: pd.DataFrame, seen: pd.DataFrame):
    """Files of one content: contradictory if their labels differ, all of them; else every one but the first."""
    good = catalog[seen.error.eq("")]
    for sha256, copies in good[good.sha256.duplicated(keep=False)].groupby("sha256"):
        if len(set(copies.label)) > 1:
            for row in copies.itertuples():
                others = ", ".join(copies.path[copies.path.ne(row.path)])
                yield _finding(row, "contradictory-duplicate", 1, others, sha256[:12])
        else:
            for row in copies.iloc[1:].itertuples():
                yield _finding(row, "exact-duplicate", 1, copies.path.iloc[0], sha256[:12])


def _near(catalog: pd.DataFrame, seen: pd.DataFrame):
    """Pictures that look the same though their files differ; contradictory too if one group has two labels."""
    distinct = catalog[seen.error.eq("")].drop_duplicates("sha256")
    if distinct.empty:
        return
    hash_, fine, thumbnail = (_bytes(seen[column][distinct.index]) for column in ("hash", "fine", "thumbnail"))
    found = twins.find(hash_.view(">u8").ravel(), fine, thumbnail)
    name = _first(distinct.sha256, found.group)
    mixed = distinct.assign(group=name)[distinct.groupby(name).label.transform("nunique").gt(1)]
    for at in np.flatnonzero(found.nearest != np.arange(len(distinct))):
        row, twin = distinct.iloc[at], distinct.iloc[found.nearest[at]]
        group, score = name.iloc[at], 1 - found.bits[at] / 64
        yield _finding(row, "near-duplicate", score, twin.path, group)
        if row.name in mixed.index:
            others = mixed.path[mixed.group.eq(group) & mixed.label.ne(row.label)]
            yield _finding(row, "contradictory-near-duplicate", score, ", ".join(others), group)


def _bytes(digits: pd.Series) -> np.ndarray:
    """One row of bytes per string of hex digits."""
    return np.frombuffer(bytes.fromhex("".join(digits)), np.uint8).reshape(len(digits), -1)


def _appearance(catalog: pd.DataFrame, seen: pd.DataFrame):
    """What cleanvision makes of brightness, sharpness, content and shape."""
    from sneakerlib.cleaning.look import scores

    good = seen.error.eq("")
    for issue, table in scores(catalog[good], seen[good]).items():
        for at, row in table[table.wrong].iterrows():
            yield _finding(catalog.loc[at], issue, 1 - row.score, f"{row.score:.2f}")


def _off_topic(catalog: pd.DataFrame, seen: pd.DataFrame, cache: str | Path | None, progress: bool):
    """Pictures of something else than all the others."""
    good = catalog[seen.error.eq("")]
    distinct = good.drop_duplicates("sha256")
    strange = off_topic.find(distinct, cache, progress)
    for row in good[good.sha256.isin(strange)].itertuples():
        score, limit = strange[row.sha256]
        yield _finding(row, "off-topic", 1 - limit / (2 * score), f"{score:.1f}, limit {limit:.1f}")


def apply(
    catalog: pd.DataFrame,
    findings: pd.DataFrame,
    decisions: pd.DataFrame | None = None,
    rules: Mapping[str, str] = RULES,
) -> pd.DataFrame:
    """Mark what the audit found: set the hopeless aside, put twins into one group.

    Args:
        catalog: The audited catalog.
        findings: From `audit`.
        decisions: From `read_decisions`; they overrule the rules. Defaults to none.
        rules: What is done about each issue. Defaults to `RULES`.

    Returns:
        A copy with `issue` filled for pictures that are not to be used, and `group` shared by twins (transitively; a
        picture without a twin is a group of its own).
    """
    order = list(rules)  # of several issues, the first is named
    out = findings[findings.issue.map(rules).isin(["drop", "quarantine"])]
    worst = out.sort_values("issue", key=lambda issues: issues.map(order.index)).drop_duplicates("path")
    named = dict(zip(worst.path, worst.issue, strict=True))
    for row in decisions.itertuples() if decisions is not None else ():
        named[row.path] = "" if row.action == "keep" else named.get(row.path) or "by-hand"
    issue = pd.Series([named.get(path, "") for path in catalog.path], catalog.index, dtype=str)
    return catalog.assign(issue=issue, group=_groups(catalog, findings), split=catalog.split.where(issue.eq(""), ""))


def _groups(catalog: pd.DataFrame, findings: pd.DataFrame) -> pd.Series:
    """One name per chain of twins: rows of one content, and rows that the audit put into one group."""
    twins_of = findings[findings.issue.eq("near-duplicate")].set_index("path").group.to_dict()
    content = catalog.sha256.where(catalog.sha256.ne(""), catalog.path)
    look = [twins_of.get(path, own) for path, own in zip(catalog.path, content, strict=True)]
    one, other, size = pd.factorize(content)[0], pd.factorize(np.array(look, object))[0], len(catalog)
    links = coo_array((np.ones(size, bool), (one, size + other)), shape=(2 * size, 2 * size))
    component = connected_components(links, directed=False)[1][one]
    return _first(content, component)


def _first(keys: pd.Series, group: np.ndarray) -> pd.Series:
    """A name for each group: the beginning of its first key."""
    names = pd.DataFrame({"key": keys, "group": group}).sort_values("key").drop_duplicates("group").set_index("group")
    return pd.Series(group, keys.index).map(names.key.str[:12])


def read_decisions(file: str | Path, catalog: pd.DataFrame) -> pd.DataFrame:
    """Read what a person decided about single pictures; no audit ever changes this file.

    Args:
        file: CSV with the columns path, action (keep, drop or quarantine) and, for the reader, reason.
        catalog: The pictures that it may speak of.

    Raises:
        InputError: If a column is missing, or a row names no picture or no action.
    """
    file = Path(file)
    if not file.is_file():
        raise InputError(f"there is no file {file}: write a CSV with the columns path, action, reason")
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    if missing := [column for column in ("path", "action") if column not in table]:
        raise InputError(f"{file} has no column {', '.join(missing)}: path, action and reason are wanted")
    known = set(catalog.path)
    for number, row in enumerate(table.itertuples(), 2):
        if row.path not in known:
            raise InputError(f"{file}, row {number}: there is no picture {row.path!r}: correct the path")
        if row.action not in ACTIONS:
            raise InputError(f"{file}, row {number}: action {row.action!r} is unknown: use {', '.join(ACTIONS)}")
    return table


def summary(findings: pd.DataFrame, rules: Mapping[str, str] = RULES) -> pd.DataFrame:
    """Count the findings: one row per issue with the number of pictures, what is done about them and what it means."""
    means = {"drop": "set aside", "quarantine": "set aside until you decide", "fix": "put right on reading"}
    counts = findings.groupby("issue").path.nunique().rename("pictures").reset_index()
    action = counts.issue.map(rules)
    meaning = action.map(means).fillna("used all the same")
    meaning = meaning.where(counts.issue.ne("near-duplicate"), "kept together in one split")
    return counts.assign(action=action, decision=meaning)


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
        val: See `catalog.split`. Defaults to 0.15.
        test: See `catalog.split`. Defaults to 0.15.
        seed: See `catalog.split`. Defaults to 0.
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
