import pandas as pd

from sneakerlib.scraping.licences import attribution, kind


def rows(*licences, title="Shoe", creator="Jane", page="https://example.org/p"):
    table = pd.DataFrame({"licence": licences})
    return table.assign(
        path=[f"a/{number}.jpg" for number in range(len(licences))],
        title=title,
        creator=creator,
        page=page,
        source_url="https://example.org/i.jpg",
    )


def test_whoever_must_be_credited_is_named_with_title_page_and_deed():
    text = attribution(rows("by-sa 4.0", "cc0"))
    assert (
        "- `a/0.jpg`: [Shoe](<https://example.org/p>) by Jane, "
        "[CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/)" in text
    )
    assert "a/1.jpg" not in text
    assert "2 pictures, 1 of them free of conditions" in text


def test_an_unknown_licence_is_a_warning():
    text = attribution(rows("", "gfdl"))
    assert "Licence unknown" in text
    assert "`a/0.jpg`: https://example.org/p" in text
    assert "`a/1.jpg`" in text


def test_what_a_stranger_wrote_is_no_markup():
    text = attribution(rows("by 2.0", title="[x](javascript:alert)<b>", creator="*J* `k`", page="javascript:alert(1)"))
    assert "\\[x\\](javascript:alert)\\<b\\>" in text
    assert "](<javascript" not in text
    assert "\\*J\\* \\`k\\`" in text


def test_a_kind_is_a_licence_without_its_version():
    assert [kind(text) for text in ("by-nc-sa 2.0", "cc0", "")] == ["by-nc-sa", "cc0", ""]
