"""Each service imitated on the loopback address, with the fields that it documents."""

import pytest
from servers import http, jpeg, jsonic, serve

from sneakerlib import InputError
from sneakerlib.sample import dataset, loopback
from sneakerlib.scraping import sources
from sneakerlib.scraping.licences import licence
from sneakerlib.scraping.web import FetchError, Web


def openverse_result(number):
    return {
        "id": f"0aff3595-8168-440b-83ff-{number:012d}",
        "title": f"Air Jordan  {number}\n",
        "foreign_landing_url": f"https://example.org/photos/{number}",
        "url": f"https://live.example.org/{number}_b.jpg",
        "creator": None if number == 3 else "Jane Doe",
        "creator_url": "https://example.org/jane",
        "license": "by-sa",
        "license_version": "2.0",
        "license_url": "https://creativecommons.org/licenses/by-sa/2.0/",
        "attribution": "...",
        "width": 1024,
        "height": None if number == 3 else 683,
        "filetype": None,
        "mature": False,
    }


def openverse(total, seen=None):
    """`GET /v1/images/`, 20 a page for strangers, 50 for those with a token."""

    def answer(path, query, server, socket):
        if path == "/v1/auth_tokens/token/":
            return jsonic({"access_token": "T0K3N", "expires_in": 43200, "token_type": "Bearer", "scope": "read write"})
        if seen is not None:
            seen.append(query)
        known = "Authorization: Bearer T0K3N" in server.heads[-1]
        page, size = int(query["page"]), int(query["page_size"])
        if size > (50 if known else 20):
            return http(b'{"detail": "Authentication credentials were not provided."}', 401)
        rows = [openverse_result(number) for number in range(total)[(page - 1) * size : page * size]]
        body = {"result_count": total, "page_count": -(-total // size), "page_size": size, "page": page}
        return jsonic(body | {"results": rows})

    return answer


def at(source, address=""):
    """A service that is found elsewhere and never tires."""
    return type(source.__name__, (source,), {"address": address, "pause": 0})


def search(source, server, query, limit, **options):
    with Web([server.host]) as web:
        return list(at(source, server.address)(web, **options).search(query, limit))


def test_openverse_pages_and_fields():
    asked = []
    with serve(openverse(47, asked)) as server:
        found = search(sources.Openverse, server, "Air Jordan 1", 45, licences=["by", "by-sa"])
    assert [candidate.url for candidate in found] == [f"https://live.example.org/{n}_b.jpg" for n in range(45)]
    assert found[0] == sources.Candidate(
        "https://live.example.org/0_b.jpg",
        "https://example.org/photos/0",
        "Air Jordan 0",
        "by-sa 2.0",
        "Jane Doe",
        1024,
        683,
    )
    assert (found[3].creator, found[3].height) == ("", 0)
    assert [query["page"] for query in asked] == ["1", "2", "3"]
    assert {(query["q"], query["license"], query["page_size"]) for query in asked} == {
        ("Air Jordan 1", "by,by-sa", "20")
    }


def test_openverse_stops_at_the_depth_that_strangers_get():
    asked = []
    with serve(openverse(1000, asked)) as server:
        assert len(search(sources.Openverse, server, "x", 500)) == 240
    assert len(asked) == 12


def test_openverse_uses_a_key_from_the_environment_and_never_shows_it(monkeypatch):
    monkeypatch.setenv("OPENVERSE_CLIENT_ID", "me")
    monkeypatch.setenv("OPENVERSE_CLIENT_SECRET", "my-secret")
    asked = []
    with serve(openverse(120, asked)) as server:
        assert len(search(sources.Openverse, server, "x", 500)) == 120
        assert server.asked["/v1/auth_tokens/token/"] == 1
    assert [query["page_size"] for query in asked] == ["50", "50", "50"]
    with serve(lambda *_: http(b"no", 401)) as server, pytest.raises(FetchError) as caught:
        search(sources.Openverse, server, "x", 500)
    assert "my-secret" not in str(caught.value)


def commons(total):
    """`GET /w/api.php` with generator=search and prop=imageinfo; pages out of order, as the service sends them."""

    def answer(path, query, server, socket):
        assert path == "/w/api.php"
        assert (query["action"], query["generator"], query["gsrnamespace"]) == ("query", "search", "6")
        start, size = int(query.get("gsroffset", 0)), int(query["gsrlimit"])
        pages = [
            {
                "pageid": 100 + number,
                "ns": 6,
                "title": f"File:Air Jordan {number}.jpg",
                "index": number + 1,
                "imageinfo": [
                    {
                        "size": 5_000_000,
                        "width": 4000,
                        "height": 3000,
                        "thumburl": f"https://upload.example.org/thumb/{number}/960px-a.jpg",
                        "thumbwidth": 960,
                        "thumbheight": 720,
                        "url": f"https://upload.example.org/{number}.jpg",
                        "descriptionurl": f"https://commons.example.org/wiki/File:{number}.jpg",
                        "extmetadata": {
                            "Artist": {"value": '<a href="//x" title="User:J">J&amp;K</a>', "source": "commons"},
                            "License": {"value": "cc-by-sa-4.0", "source": "commons", "hidden": ""},
                            "LicenseShortName": {"value": "CC BY-SA 4.0", "source": "commons"},
                        },
                    }
                ],
            }
            for number in range(total)[start : start + size]
        ]
        del pages[0]["imageinfo"][0]["thumburl"]  # smaller than the thumbnail asked for
        body = {"batchcomplete": True, "query": {"pages": pages[::-1]}}
        if start + size < total:
            body["continue"] = {"gsroffset": start + size, "continue": "gsroffset||"}
        return jsonic(body)

    return answer


def test_commons_continues_in_order_and_takes_the_thumbnail_it_is_given():
    with serve(commons(120)) as server:
        found = search(sources.Commons, server, "Air Jordan", 70)
        assert server.asked["/w/api.php"] == 2
    assert [candidate.title for candidate in found] == [f"Air Jordan {number}" for number in range(70)]
    assert found[0].url == "https://upload.example.org/0.jpg"
    assert (found[0].width, found[1].width) == (4000, 960)
    assert found[1] == sources.Candidate(
        "https://upload.example.org/thumb/1/960px-a.jpg",
        "https://commons.example.org/wiki/File:1.jpg",
        "Air Jordan 1",
        "by-sa 4.0",
        "J&K",
        960,
        720,
    )


def test_commons_without_results_finds_nothing():
    with serve(lambda *_: jsonic({"batchcomplete": True})) as server:
        assert search(sources.Commons, server, "nothing", 5) == []


def test_an_error_of_commons_is_passed_on():
    error = {"error": {"code": "maxlag", "info": "Waiting for db1: 7 seconds lagged"}}
    with serve(lambda *_: jsonic(error)) as server, pytest.raises(FetchError, match="7 seconds lagged"):
        search(sources.Commons, server, "x", 5)


def test_an_answer_that_is_no_json_is_said_to_be_none():
    with serve(lambda *_: http(b"<html>")) as server, pytest.raises(FetchError, match="did not answer with JSON"):
        search(sources.Openverse, server, "x", 5)


def test_pauses_and_the_contact_that_the_services_ask_for():
    with Web() as web:
        services = [sources.Openverse(web), sources.Commons(web)]
        hosts = {name: (host.delay, host.free._value) for name, host in web._hosts.items()}
    assert hosts["api.openverse.org", 443] == (3.0, 1)  # 20 requests a minute
    assert hosts["commons.wikimedia.org", 443] == (1.0, 1)  # one after another
    assert hosts["upload.wikimedia.org", 443] == (0.1, 2)
    assert not any(service.robots for service in services)


def duckduckgo(total):
    def answer(path, query, server, socket):
        if path == "/":
            return http(b'<script>vqd="4-123456"</script>', Content_Type="text/html")
        assert path == "/i.js" and query["vqd"] == "4-123456"
        start = int(query.get("s", 0))
        rows = [
            {
                "image": f"https://example.org/{number}.jpg",
                "title": f"Shoe {number}",
                "url": f"https://example.org/page/{number}",
                "thumbnail": "https://example.org/t.jpg",
                "height": 600,
                "width": 800,
                "source": "Bing",
            }
            for number in range(total)[start : start + 100]
        ]
        return jsonic({"results": rows, "next": "i.js?s=100"})

    return answer


@pytest.fixture
def ddgs_at(monkeypatch):
    """Send what the library ddgs asks to a loopback server; nothing else of it is changed."""
    client = pytest.importorskip("ddgs.http_client", reason="ddgs is not installed: pip install 'sneakerlib[scrape]'")
    real = client.HttpClient.request

    def point(server):
        def request(self, method, url, **options):
            return real(self, method, url.replace("https://duckduckgo.com", server.address), **options)

        monkeypatch.setattr(client.HttpClient, "request", request)

    return point


def test_duckduckgo_pages_until_the_limit_or_the_end(ddgs_at):
    with serve(duckduckgo(130)) as server, Web() as web:
        ddgs_at(server)
        found = list(at(sources.DuckDuckGo)(web).search("air jordan", 110))
        assert [candidate.url for candidate in found] == [f"https://example.org/{number}.jpg" for number in range(110)]
        assert found[0] == sources.Candidate(
            "https://example.org/0.jpg", "https://example.org/page/0", "Shoe 0", "", "", 800, 600
        )
        assert len(list(at(sources.DuckDuckGo)(web).search("air jordan", 1000))) == 130


def test_duckduckgo_refusing_is_an_error_of_the_search(ddgs_at):
    with serve(lambda *_: http(b"forbidden", 403)) as server, Web() as web:
        ddgs_at(server)
        with pytest.raises(FetchError, match=r"duckduckgo\.com refused"):
            list(at(sources.DuckDuckGo)(web).search("air jordan", 5))


def test_addresses_come_from_the_query_or_a_file(tmp_path):
    (tmp_path / "list.txt").write_text("# mine\nhttp://a/1.jpg\n\n http://a/2.jpg \nhttp://a/1.jpg\nhttp://a/3.jpg\n")
    with Web() as web:
        urls = sources.Urls(web, folder=tmp_path)
        assert [candidate.url for candidate in urls.search("list.txt", 2)] == ["http://a/1.jpg", "http://a/2.jpg"]
        assert [candidate.url for candidate in urls.search("http://a/x.jpg", 9)] == ["http://a/x.jpg"]
        with pytest.raises(InputError, match=r"there is no file .*nowhere\.txt"):
            urls.check(["list.txt", "nowhere.txt"])


@pytest.mark.parametrize("query", ["bolt", "Air Jordan 2", "Nike Air Jordan II sneaker"])
def test_the_sample_answers_by_name_and_by_number(shoes, query):
    truth = dataset.truth(shoes)
    with loopback.search_service(shoes) as service, Web([service.partition("//")[2]]) as web:
        found = list(at(sources.Sample, service)(web).search(query, 1000))
        content = web.get(found[0].url)
    rows = truth[truth.label.eq("bolt")]
    assert [candidate.name for candidate in found] == [f"sample-{number}" for number in rows.index]
    assert content == (shoes / rows.path.iloc[0]).read_bytes()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("by-nc-sa 2.0", "by-nc-sa 2.0"),
        ("CC BY 4.0", "by 4.0"),
        ("cc-by-sa-3.0-de", "by-sa 3.0"),
        ("CC0", "cc0"),
        ("cc-zero", "cc0"),
        ("CC0 1.0", "cc0"),
        ("pdm 1.0", "pdm"),
        ("pd-old", "pdm"),
        ("Public domain", "pdm"),
        ("GFDL", "gfdl"),
        ("", ""),
    ],
)
def test_licences_have_one_spelling(text, expected):
    assert licence(text) == expected


def test_a_picture_of_noise_differs_by_seed():
    assert jpeg(1) == jpeg(1) != jpeg(2)
