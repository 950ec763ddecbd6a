import json
import subprocess
import sys
import time

import pytest
from servers import HOSTILE, hostile, http, jpeg, redirect, serve

from sneakerlib import InputError
from sneakerlib.scraping.manners import is_public
from sneakerlib.scraping.web import FetchError, Web, content

MEASURED = """
import json, sys, pandas as pd
from PIL import Image
from sneakerlib.scraping import collect, searchterms

def most_memory():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024

Image.init()
terms = searchterms.check(pd.DataFrame({"label": ["a"], "query": [sys.argv[1]], "limit": [1000]}))
before = most_memory()
found = collect.collect(terms, sys.argv[2], "urls", allow=[sys.argv[3]], progress=False, seconds=3)
rejected = dict(zip(found.rejected.url, found.rejected.reason))
print(json.dumps({"kept": list(found.catalog.source_url), "rejected": rejected, "megabytes": most_memory() - before}))
"""


@pytest.fixture(scope="module")
def survived(tmp_path_factory):
    """Everything that `HOSTILE` can send, collected in one go by a process of its own."""
    folder = tmp_path_factory.mktemp("hostile")
    with serve(hostile) as server:
        (folder / "urls.txt").write_text("\n".join(server.address + path for path in HOSTILE), encoding="utf-8")
        begun = time.monotonic()
        command = [sys.executable, "-c", MEASURED, folder / "urls.txt", folder / "out", server.host]
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - begun
        assert shown.returncode == 0, shown.stderr
        yield json.loads(shown.stdout) | {"seconds": seconds, "folder": folder, "address": server.address}


@pytest.mark.parametrize("path", HOSTILE)
def test_a_hostile_server_harms_nothing_but_its_own_pictures(survived, path):
    expected = HOSTILE[path][1]
    url = survived["address"] + path
    assert expected in survived["rejected"].get(url, "") if expected else url in survived["kept"]
    assert (url in survived["kept"]) == (not expected)


def test_it_is_survived_in_little_memory_and_bounded_time(survived):
    assert survived["megabytes"] < 300
    assert survived["seconds"] < 30  # 3 s a try, at most three tries, one second's wait for a busy server


def test_nothing_is_written_outside_and_no_name_comes_from_the_server(survived):
    folder = survived["folder"]
    assert {path.name for path in folder.iterdir()} == {"urls.txt", "out"}
    files = list((folder / "out/a").iterdir())
    assert len(files) == len(survived["kept"])
    assert all(len(file.stem) == 16 and set(file.stem) <= set("0123456789abcdef") for file in files)
    assert not list((folder / "out").glob(".writing-*"))


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
    ],
)
def test_which_addresses_are_public(address, public):
    assert is_public(address) == public


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]"])
def test_loopback_is_refused_however_it_is_written(host):
    with serve(lambda *_: http(jpeg(0))) as server:
        with pytest.raises(FetchError, match=r"not a public address|against the rules|cannot be reached"):
            content(f"http://{host}:{server.server_address[1]}/a.jpg")
        assert not server.asked


def test_one_allowed_host_does_not_open_another():
    with serve(lambda *_: http(jpeg(0))) as one, serve(lambda *_: http(jpeg(0))) as two:
        assert content(f"{one.address}/a", [one.host]) == jpeg(0)
        with pytest.raises(FetchError, match=f"name it with --allow-host {two.host}"):
            content(f"{two.address}/a", [one.host])


def test_another_name_does_not_lead_to_an_allowed_host():
    """Somebody else's name may be given the address of one's own host at any time."""
    with serve(lambda *_: http(jpeg(0))) as server:
        with pytest.raises(FetchError, match=f"name it with --allow-host localhost:{server.server_address[1]}"):
            content(f"http://localhost:{server.server_address[1]}/a", [server.host])
        assert not server.asked
        assert content(f"http://localhost:{server.server_address[1]}/a", [f"localhost:{server.server_address[1]}"])


@pytest.mark.parametrize("name", ["127.0.0.1", "http://127.0.0.1:80", ":80", "host:port", "a b:80"])
def test_an_allowed_host_needs_a_port(name):
    with pytest.raises(InputError, match=r"--allow-host .*: write HOST:PORT"):
        Web([name])


def test_secrets_do_not_follow_a_redirect_to_another_host():
    with serve(lambda *_: http(b"x")) as other, serve(lambda *_: redirect(f"{other.address}/b")) as first:
        with Web([first.host, other.host]) as web:
            web.get(f"{first.address}/a", headers={"Authorization": "Bearer secret"})
        assert "secret" in first.heads[0]
        assert "secret" not in other.heads[0]


def test_it_says_who_it_is(monkeypatch):
    monkeypatch.setenv("SNEAKERLIB_CONTACT", "mailto:somebody@example.org")
    with serve(lambda *_: http(b"x")) as server:
        content(server.address, [server.host])
    assert "User-Agent: sneakerlib/" in server.heads[0]
    assert "; mailto:somebody@example.org)" in server.heads[0]


ROBOTS = b"User-agent: *\nDisallow: /private/\nAllow: /private/open\nDisallow: /*.gif$\n"


@pytest.mark.parametrize(
    ("path", "allowed"), [("/a.jpg", True), ("/private/a.jpg", False), ("/private/open.jpg", True), ("/a.gif", False)]
)
def test_robots_txt_is_obeyed(path, allowed):
    with serve(lambda path, *_: http(ROBOTS if path == "/robots.txt" else jpeg(0))) as server:
        with Web([server.host]) as web:
            if allowed:
                assert web.get(server.address + path, robots=True) == jpeg(0)
            else:
                with pytest.raises(FetchError, match=r"closed to programs by the robots\.txt of 127\.0\.0\.1"):
                    web.get(server.address + path, robots=True)
        assert server.asked[path] == allowed


@pytest.mark.parametrize(("status", "open_to_all"), [(404, True), (403, True), (503, False)])
def test_a_host_without_rules_is_open_and_one_that_cannot_say_is_closed(status, open_to_all, monkeypatch):
    """As RFC 9309 has it, of hosts that nobody vouches for."""
    monkeypatch.setattr("sneakerlib.scraping.manners.is_public", lambda address: True)
    with serve(lambda path, *_: http(b"", status) if path == "/robots.txt" else http(jpeg(0))) as server, Web() as web:
        if open_to_all:
            assert web.get(f"{server.address}/a.jpg", robots=True) == jpeg(0)
        else:
            with pytest.raises(FetchError, match=r"answered 503 \(asked for robots.txt\)"):
                web.get(f"{server.address}/a.jpg", robots=True)


def test_the_rules_are_read_once_and_crawl_delay_is_kept():
    rules = b"User-agent: sneakerlib\nCrawl-delay: 0.2\n"
    with serve(lambda path, *_: http(rules if path == "/robots.txt" else b"x")) as server:
        begun = time.monotonic()
        with Web([server.host]) as web:
            for number in range(4):
                web.get(f"{server.address}/{number}", robots=True)
        assert server.asked["/robots.txt"] == 1
        assert time.monotonic() - begun >= 0.6


def test_a_stranger_gets_few_connections_at_a_time(tmp_path):
    """Not more than `per_host`, and not faster than `delay`; counted by the server."""
    most, now = [0], [0]

    def answer(path, query, server, socket):
        with server.lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        server.closing.wait(0.05)
        with server.lock:
            now[0] -= 1
        return http(b"x")

    with serve(answer) as server:
        begun = time.monotonic()
        with Web([server.host]) as web:
            web.pace(server.address, 0.02, per_host=2)
            futures = [web.start(f"{server.address}/{n}", tmp_path / str(n), lambda: None, False) for n in range(10)]
            for future in futures:
                future.result()
    assert most[0] <= 2
    assert time.monotonic() - begun >= 0.18


def test_a_file_is_read_by_path_and_by_address_alike(tmp_path):
    (tmp_path / "a").write_bytes(jpeg(1, size=64))
    with serve(lambda path, *_: http(jpeg(1, size=64) if path == "/a.jpg" else b"no picture")) as server:
        assert content(str(tmp_path / "a")) == content(f"{server.address}/a.jpg", [server.host]) == jpeg(1, size=64)
        with pytest.raises(FetchError, match="not a public address"):
            content(f"{server.address}/a.jpg")
    with pytest.raises(InputError, match="there is no file"):
        content(str(tmp_path / "b"))
    with pytest.raises(InputError, match="cannot be read"):
        content(str(tmp_path))
