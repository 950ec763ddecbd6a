"""What may be done with a picture: licences in one spelling, and the list of those who must be credited."""

import re

import pandas as pd

from sneakerlib.scraping.manners import WEB

KINDS = ("cc0", "pdm", "by", "by-sa", "by-nc", "by-nd", "by-nc-sa", "by-nc-nd")
FREE = ("cc0", "pdm")  # nobody needs to be named
DEED = "https://creativecommons.org/licenses"


def licence(text: str) -> str:
    """A licence's short name in one spelling: `by-sa 4.0` for "CC BY-SA 4.0", `pdm` for "Public domain"."""
    words = re.sub(r"^cc[ -](?!zero)", "", text.strip().lower())
    if re.match(r"(cc.?zero|cc0)", words):
        return "cc0"
    if re.match(r"(pdm?\b|public domain)", words):
        return "pdm"
    parts = re.fullmatch(r"(by(?:-(?:nc|sa|nd))*)(?:[ -](\d\.\d))?.*", words)
    return " ".join(filter(None, parts.groups())) if parts else words


def kind(licence: str) -> str:
    """The licence without its version: `by-sa` of `by-sa 4.0`."""
    return licence.partition(" ")[0]


def attribution(catalog: pd.DataFrame) -> str:
    """What must stand beside pictures that are shown to anybody, as Markdown: credits, then what nobody knows."""
    kinds = catalog.licence.map(kind)
    credited, unknown = catalog[kinds.str.startswith("by")], catalog[~kinds.isin(KINDS)]
    lines = ["# Attribution", "", f"{len(catalog)} pictures, {int(kinds.isin(FREE).sum())} of them free of conditions."]
    if len(credited):
        lines += ["", "## To be credited", "", *map(_credit, credited.itertuples())]
    if len(unknown):
        lines += ["", "## Licence unknown", "", "Somebody's property until you know better: do not publish these.", ""]
        lines += [f"- `{row.path}`: {row.page or row.source_url}" for row in unknown.itertuples()]
    return "\n".join(lines) + "\n"


def _credit(row) -> str:
    name = _escaped(row.title) or "Untitled"
    link = f"[{name}](<{row.page}>)" if row.page.startswith(WEB) else name
    version = row.licence.partition(" ")[2]
    deed = f"[CC {row.licence.upper()}]({DEED}/{kind(row.licence)}/{version}/)" if version else row.licence.upper()
    return f"- `{row.path}`: {link} by {_escaped(row.creator) or 'an unnamed creator'}, {deed}"


def _escaped(text: str) -> str:
    """Keep what a stranger wrote from becoming markup."""
    return re.sub(r"([\\\[\]<>`*_|])", r"\\\1", text)
