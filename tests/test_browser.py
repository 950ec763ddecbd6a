"""A page that shows more when it is scrolled, and more again when its button is pressed, in a real browser."""

import pytest
from conftest import needs_chromium
from servers import http, jpeg, serve
from test_collect import terms

from sneakerlib import InputError
from sneakerlib.scraping import browser, collect, sources
from sneakerlib.scraping.web import FetchError, Web

PAGE = """<!doctype html><title>Results</title><style>img { display: block; width: 300px; height: 400px }</style>
<header><img id="logo" src="/logo.jpg" style="width:20px;height:20px"><a href="/elsewhere">Read more</a></header>
<main id="results"></main>
<button id="more" style="display:none" onclick="this.style.display = 'none'; batch(3)">Show more results</button>
<script>
let shown = 0, batches = 0
function batch(most) {  // eight pictures, at the most `most` batches until the button has to be pressed
    for (let n = 0; n < 8 && shown < TOTAL; n++, shown++) {
        const link = document.createElement("a"), image = document.createElement("img")
        link.href = "/shoe/" + shown
        image.loading = "lazy"
        image.src = "/picture/" + shown + ".jpg"
        image.alt = "Shoe " + shown
        link.append(image)
        results.append(link)
    }
    if (++batches == 3 && shown < TOTAL) more.style.display = "block"
}
batch()
addEventListener("scroll", () => {
    const end = innerHeight + scrollY >= document.body.scrollHeight - 200
    if (end && more.style.display == "none") setTimeout(batch, 50)
})
</script>"""


def lazy(total):
    def answer(path, query, server, socket):
        if path == "/":
            return http(PAGE.replace("TOTAL", str(total)).encode(), Content_Type="text/html")
        if path.startswith("/picture/"):
            return http(jpeg(int(path[9:-4]), size=128))
        return http(jpeg(999, size=16)) if path == "/logo.jpg" else http(b"", 404)

    return answer


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(browser, "PATIENCE", 2)


@pytest.mark.browser
@needs_chromium
def test_a_page_is_scrolled_and_its_button_pressed_until_nothing_new_comes(tmp_path):
    with serve(lazy(45)) as server:
        found = collect.collect(
            terms(("shoe", server.address, 400), source="page"), tmp_path, allow=[server.host], progress=False
        )
        assert server.asked["/elsewhere"] == 0  # "Read more" leads elsewhere
    table = found.catalog
    assert sorted(table.source_url) == sorted(f"{server.address}/picture/{number}.jpg" for number in range(45))
    first = table[table.source_url.eq(f"{server.address}/picture/0.jpg")].iloc[0]
    assert (first.page, first.title, first.width) == (f"{server.address}/shoe/0", "Shoe 0", 128)


@pytest.mark.browser
@needs_chromium
def test_no_more_is_scrolled_than_is_wanted():
    with serve(lazy(45)) as server, Web([server.host]) as web:
        found = list(sources.Page(web).search(server.address, 10))
        assert server.asked["/picture/44.jpg"] == 0
        assert any("Chrome/" in head and " sneakerlib" in head for head in server.heads)  # it says who is asking
    assert [candidate.url for candidate in found] == [f"{server.address}/picture/{number}.jpg" for number in range(10)]


def test_a_page_that_is_closed_to_programs_or_private_is_not_opened_in_the_browser(monkeypatch):
    monkeypatch.setattr(browser, "pictures", lambda *_: pytest.fail("the browser was started"))
    with serve(lambda *_: http(b"User-agent: *\nDisallow: /\n")) as server:
        with Web([server.host]) as web, pytest.raises(FetchError, match="closed to programs"):
            list(sources.Page(web).search(f"{server.address}/results", 5))
        with Web() as web, pytest.raises(FetchError, match="not a public address"):
            list(sources.Page(web).search(f"{server.address}/results", 5))


def test_without_chromium_one_line_says_what_to_install(monkeypatch):
    pytest.importorskip("selenium", reason="selenium is not installed: pip install 'sneakerlib[scrape]'")
    monkeypatch.setattr(browser.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="apt install chromium chromium-driver"), browser.chromium():
        pass


@pytest.mark.parametrize("text", ["More results", "Show more", "LOAD MORE", "» more «", "Mehr anzeigen", "Ver más"])
def test_buttons_that_promise_more(text):
    assert browser.MORE.fullmatch(text)


@pytest.mark.parametrize("text", ["Read more", "Learn more about shoes", "Sign in", "", "moreover"])
def test_buttons_that_lead_elsewhere(text):
    assert not browser.MORE.fullmatch(text)
