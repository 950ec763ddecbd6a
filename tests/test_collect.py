import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest
import requests
from PIL import Image
from servers import http, jpeg, jsonic, serve

from sneakerlib import InputError, catalog, cli
from sneakerlib.sample import dataset, loopback
from sneakerlib.scraping import collect, searchterms

SHIPPED = Path(__file__).parent.parent / "data/searchterms.csv"


def terms(*rows, source="urls", folder="."):
    """Search terms: rows of label, query and, if they matter, limit and split."""
    table = pd.DataFrame([dict(zip(("label", "query", "limit", "split"), row)) for row in rows]).fillna("")
    table = searchterms.check(table.assign(source=source))
    table.attrs["folder"] = str(folder)
    return table


def of_sample(shoes, out, label="aero", limit=100):
    with loopback.search_service(shoes) as service:
        return collect.collect(terms((label, label, limit), source="sample"), out, service=service, progress=False)


def from_urls(server, out, *rows, **options):
    """Collect from addresses: rows of label, paths and perhaps a split."""
    out.parent.mkdir(exist_ok=True, parents=True)
    for number, row in enumerate(rows):
        lines = "\n".join(server.address + path for path in row[1])
        (out.parent / f"{number}.txt").write_text(lines, encoding="utf-8")
    named = [(row[0], f"{number}.txt", 1000, *row[2:]) for number, row in enumerate(rows)]
    table = terms(*named, folder=out.parent)
    return collect.collect(table, out, allow=[server.host], progress=False, **options)


def pictures(path, query, server, socket):
    """One picture per number in the path."""
    digits = "".join(filter(str.isdigit, path))
    return http(jpeg(int(digits))) if digits else http(b"", 404)


def test_the_collector_does_what_notebook_01_does_by_hand(shoes, tmp_path):
    """A result that cannot be decoded by hand is not collected; any other with the same hash, size and origin."""
    by_hand = {}
    with loopback.search_service(shoes) as service:
        rows = [("aero", "aero", 1000)]
        found = collect.collect(terms(*rows, source="sample"), tmp_path, service=service, progress=False).catalog
        pages = [requests.get(f"{service}/search", params={"q": "aero", "page": page}, timeout=10) for page in (1, 2)]
        for result in [result for page in pages for result in page.json()["results"]]:
            content = requests.get(result["url"], timeout=10).content
            try:
                picture = Image.open(io.BytesIO(content))
                picture.load()
            except OSError:
                continue
            origin = (result["id"], result["licence"], result["creator"])
            by_hand.setdefault(hashlib.sha256(content).hexdigest(), (picture.width, picture.height, *origin))
    columns = ["width", "height", "source_url", "licence", "creator"]
    assert dict(zip(found.sha256, found[columns].itertuples(index=False, name=None), strict=True)) == by_hand


def test_collecting_keeps_content_and_origin(shoes, tmp_path):
    truth = dataset.truth(shoes).query("label == 'aero'")
    found, rejected, unfinished = of_sample(shoes, tmp_path / "out")
    broken = truth[truth.defect.isin(["truncated", "html", "empty"])]
    assert set(found.sha256) == set(truth.sha256) - set(broken.sha256)
    assert unfinished.empty
    assert found.licence.eq("cc0").all()
    assert found.retrieved.str.fullmatch(r"\d{4}-\d\d-\d\dT.*\+00:00").all()
    for row in found.itertuples():
        content = (tmp_path / "out" / row.path).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row.sha256
        assert row.path == f"aero/{row.sha256[:16]}{Path(row.path).suffix}"
    pd.testing.assert_frame_equal(catalog.load(tmp_path / "out/catalog.csv"), found)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out/rejected.csv"), rejected)


def test_every_planted_broken_file_is_rejected_and_says_why(shoes, tmp_path):
    truth = dataset.truth(shoes)
    rows = terms(*[(label, label) for label in truth.label.unique()], source="sample")
    with loopback.search_service(shoes) as service:
        found = collect.collect(rows.assign(limit=1000), tmp_path, service=service, progress=False)
    why = dict(zip(found.rejected.url, found.rejected.reason))
    for number, row in truth.iterrows():
        reason = {"truncated": "damaged", "html": "not a picture", "empty": "is empty"}.get(row.defect, "")
        reason = "the same picture as" if row.defect == "exact-duplicate" else reason
        said = why.get(f"sample-{number}", "")
        assert reason in said
        # Of an exact copy and its original, whichever comes first in the search is kept.
        assert bool(reason) == bool(said) or "the same picture as" in said, (row, said)


@pytest.mark.parametrize("limit", [1, 20, 21])
def test_the_limit_holds_over_pages(shoes, tmp_path, limit):
    found, rejected, _ = of_sample(shoes, tmp_path, "bolt", limit)  # 28 of these, 20 on a page
    assert len(found) + len(rejected) == limit


def test_a_second_run_downloads_nothing_twice_and_adds_what_is_new(tmp_path):
    out = tmp_path / "out"
    with serve(pictures) as server:
        first = from_urls(server, out, ("a", ["/1", "/2", "/1?copy", "/gone"]))
        times = {file: file.stat().st_mtime_ns for file in out.rglob("*.jpg")}
        second = from_urls(server, out, ("a", ["/1", "/2", "/1?copy", "/gone", "/3"]))
        assert server.asked["/2"] == 1
        assert server.asked["/1"] == 2  # once under either address
        assert server.asked["/gone"] == 2  # it may come back
    assert len(first.catalog) == 2
    assert len(second.catalog) == 3
    assert all(file.stat().st_mtime_ns == time for file, time in times.items())
    assert set(second.rejected.reason) == {f"the same picture as {server.address}/1", "answered 404"}


def test_what_an_earlier_search_found_stays_in_the_catalog(tmp_path):
    with serve(pictures) as server:
        from_urls(server, tmp_path / "out", ("a", ["/1", "/2"]))
        found = from_urls(server, tmp_path / "out", ("a", ["/3"]))
    assert sorted(found.catalog.source_url) == [f"{server.address}/{number}" for number in (1, 2, 3)]


def test_a_picture_that_was_lost_is_fetched_again(tmp_path):
    with serve(pictures) as server:
        found = from_urls(server, tmp_path / "out", ("a", ["/1", "/2"]))
        (tmp_path / "out" / found.catalog.path[0]).unlink()
        again = from_urls(server, tmp_path / "out", ("a", ["/1", "/2"]))
    pd.testing.assert_frame_equal(again.catalog.drop(columns="retrieved"), found.catalog.drop(columns="retrieved"))
    assert sum(server.asked[path] for path in ("/1", "/2")) == 3


def test_one_picture_under_two_labels_is_fetched_once_and_kept_twice(tmp_path):
    """Notebook 02 has to see the contradiction."""
    with serve(pictures) as server:
        found = from_urls(server, tmp_path / "out", ("a", ["/1", "/2"]), ("b", ["/2", "/3"]))
        assert server.asked["/2"] == 1
    assert list(found.catalog.label) == ["a", "a", "b", "b"]
    assert found.catalog.sha256.duplicated().sum() == 1
    assert all((tmp_path / "out" / path).is_file() for path in found.catalog.path)


def test_searches_with_the_same_result_fetch_it_once(tmp_path):
    with serve(pictures) as server:
        found = from_urls(server, tmp_path / "out", ("a", ["/1", "/gone"]), ("a", ["/1", "/gone"]))
        assert server.asked["/1"] == server.asked["/gone"] == 1
    assert len(found.catalog) == len(found.rejected) == 1


def test_a_split_asked_for_is_kept_when_the_folder_is_split(tmp_path):
    paths = [f"/{number}" for number in range(40)]
    with serve(pictures) as server:
        rows = ("a", paths[:10], "test"), ("a", paths[10:20]), ("b", paths[20:30], "train"), ("b", paths[30:])
        found = from_urls(server, tmp_path / "out", *rows)
    assert found.catalog.split.value_counts().to_dict() == {"": 20, "test": 10, "train": 10}
    assert cli.main(["split", str(tmp_path / "out"), "--out", str(tmp_path / "c.csv"), "--json"]) == 0
    after = catalog.load(tmp_path / "c.csv").set_index("source_url")
    for row in found.catalog[found.catalog.split.ne("")].itertuples():
        assert after.split[row.source_url] == row.split
    assert after.retrieved.ne("").all()  # the origin of a picture is not lost on the way


def openverse(licences):
    def answer(path, query, server, socket):
        if path != "/v1/images/":
            return pictures(path, query, server, socket)
        rows = [
            {"url": f"{server.address}/{number}", "license": licence, "license_version": "4.0", "width": width}
            | {"height": width, "title": "Shoe", "creator": "Jane", "foreign_landing_url": "https://example.org"}
            for number, (licence, width) in enumerate(licences)
        ]
        return jsonic({"results": rows, "page_count": 1})

    return answer


@pytest.fixture
def at_openverse(monkeypatch):
    """Collect from a loopback server that answers like Openverse."""

    def at(server, out, *rows, **options):
        monkeypatch.setattr("sneakerlib.scraping.sources.Openverse.address", server.address)
        monkeypatch.setattr("sneakerlib.scraping.sources.Openverse.pause", 0)
        found = terms(*rows or [("a", "shoe")], source="openverse")
        return collect.collect(found, out, allow=[server.host], progress=False, **options)

    return at


def test_only_wanted_licences_are_downloaded_and_credits_are_listed(at_openverse, tmp_path):
    rows = [("by", 64), ("by-nc", 64), ("cc0", 64), ("by-sa", 90_000), ("", 64)]
    with serve(openverse(rows)) as server:
        found = at_openverse(server, tmp_path, licences=["by", "by-sa", "cc0"])
        assert not server.asked["/1"] and not server.asked["/3"] and not server.asked["/robots.txt"]
    assert list(found.catalog.licence.sort_values()) == ["by 4.0", "cc0"]
    reasons = ["licence by-nc 4.0 is not wanted", "more than 25 million pixels", "licence 4.0 is not wanted"]
    assert list(found.rejected.reason) == reasons
    assert "by Jane" in (tmp_path / "attribution.md").read_text()


def test_a_search_that_fails_loses_nothing_and_is_gone_on_with(at_openverse, tmp_path):
    """The first search is not asked again, as its quota is precious; the second one is."""
    working = openverse([("by", 64)] * 3)
    state = {"broken": True}

    def answer(path, query, server, socket):
        if query.get("q") == "second" and state["broken"]:
            return http(b"", 429, Retry_After=86_400)
        return working(path, query, server, socket)

    rows = ("a", "first"), ("b", "second"), ("b", "third")
    with serve(answer) as server:
        found = at_openverse(server, tmp_path, *rows)
        assert len(found.catalog) == 3
        assert list(found.unfinished["query"]) == ["second", "third"]  # it has had enough for today
        assert "answered 429 and asks to wait 86400 s" in found.unfinished.reason[0]
        assert server.asked["/v1/images/"] == 2
        state["broken"] = False
        found = at_openverse(server, tmp_path, *rows)
        assert found.unfinished.empty
        assert server.asked["/v1/images/"] == 4
        assert set(found.catalog.label) == {"a", "b"}
        at_openverse(server, tmp_path, *rows)
        assert server.asked["/v1/images/"] == 7  # a finished collection asks anew, for what is new


@pytest.mark.parametrize("body", [{"results": [{"nothing": 1}], "page_count": 1}, {"other": 1}, [], {"results": None}])
def test_an_answer_of_another_form_is_a_failed_search(at_openverse, tmp_path, body):
    with serve(lambda *_: jsonic(body)) as server, pytest.raises(RuntimeError, match="answered in an unknown form"):
        at_openverse(server, tmp_path)


def test_a_disk_that_is_full_stops_the_work(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sneakerlib.pictures.screen", full)
    with serve(pictures) as server, pytest.raises(OSError, match="No space left"):
        from_urls(server, tmp_path / "out", ("a", ["/1", "/2"]))


@pytest.fixture
def interruptible():
    """Ctrl-C interrupts, also where the tests were started in the background and it would be ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_keeps_what_is_there_and_the_same_call_goes_on(tmp_path, interruptible):
    paths = [f"/{number}" for number in range(30)]
    out = tmp_path / "out"

    def interrupting(path, query, server, socket):
        if server.asked.total() == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return pictures(path, query, server, socket)

    with serve(interrupting) as server:
        with pytest.raises(KeyboardInterrupt):
            from_urls(server, out, ("a", paths), connections=2)
        kept = catalog.load(out / "catalog.csv")
        assert 0 < len(kept) < 30
        assert len(list(out.rglob("*.jpg"))) == len(kept)
        server.asked["/"] = 1000
        found = from_urls(server, out, ("a", paths))
    assert len(found.catalog) == 30
    assert all(server.asked[row.source_url.removeprefix(server.address)] == 1 for row in kept.itertuples())


def test_nothing_found_is_an_error_with_a_cure(shoes, tmp_path):
    with pytest.raises(InputError, match="the sample has no 'sandal'"):
        collect.collect(terms(("sandal", "sandal"), source="sample"), tmp_path, progress=False)
    with (
        serve(pictures) as server,
        pytest.raises(InputError, match=r"all 1 results were rejected, see .*rejected\.csv"),
    ):
        from_urls(server, tmp_path / "out", ("a", ["/gone"]))
    assert (tmp_path / "out/rejected.csv").is_file()


def test_the_sample_draws_what_the_shipped_terms_ask_for(tmp_path):
    table = searchterms.read(SHIPPED, limit=12, labels=["air_jordan_1", "air_jordan_3"])
    found = collect.collect(table, tmp_path, "sample", progress=False)
    assert set(found.catalog.label) == {"air_jordan_1", "air_jordan_3"}
    assert len(catalog.read(tmp_path)) == len(found.catalog)


def test_a_second_program_that_collects_into_the_same_folder_ends_with_one_line(tmp_path, capsys):
    out, answers = tmp_path / "out", []

    def answer(path, query, server, socket):
        if path == "/1":  # while the first program is under way
            answers.append(cli.main([*command, "--allow-host", server.host]))
        return pictures(path, query, server, socket)

    with serve(answer) as server:
        (tmp_path / "terms.csv").write_text(f"label,query\na,{server.address}/2\n")
        command = ["collect", str(tmp_path / "terms.csv"), str(out), "--source", "urls"]
        found = from_urls(server, out, ("a", ["/1"]))
        assert server.asked["/2"] == 0
    assert (answers, len(found.catalog)) == ([2], 1)
    assert capsys.readouterr().err.startswith(f"sneakerlib: another run is writing to {out}: wait for its end")


def test_a_line_torn_by_a_kill_costs_nothing_but_itself(tmp_path):
    with serve(pictures) as server:
        from_urls(server, tmp_path / "out", ("a", ["/1", "/2"]))
        file = tmp_path / "out/.known.jsonl"
        file.write_bytes(file.read_bytes() + b'\n{"http://x": {"pa')
        for _ in range(2):
            found = from_urls(server, tmp_path / "out", ("a", ["/1", "/2", "/3"]))
        assert [server.asked[path] for path in ("/1", "/2", "/3")] == [1, 1, 1]
    assert len(found.catalog) == 3


def throttled(path, query, server, socket):
    """Two at a time, 10 ms each, so that a kill always meets something under way."""
    with server.two_at_a_time:
        server.closing.wait(0.01)
    return pictures(path, query, server, socket)


def test_killed_ten_times_and_nothing_is_lost_or_fetched_twice(tmp_path):
    paths = [f"/{number}" for number in range(500)]
    rng = random.Random(0)
    with serve(throttled) as server:
        server.two_at_a_time = threading.Semaphore(2)
        lines = "\n".join(server.address + path for path in paths)
        for name in ("killed", "whole"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "urls.txt").write_text(lines)
            (tmp_path / name / "terms.csv").write_text("label,query,limit\nshoe,urls.txt,1000\n")

        def start(name):
            arguments = ["collect", tmp_path / name / "terms.csv", tmp_path / name / "out", "--source", "urls"]
            command = [sys.executable, "-m", "sneakerlib.cli", *arguments, "--allow-host", server.host]
            return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

        out = tmp_path / "killed/out"
        for _ in range(10):
            there, more = files(out / "shoe"), rng.randint(1, 45)
            process = start("killed")
            while len(files(out / "shoe")) < len(there) + more:
                assert process.poll() is None, process.stderr.read()
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert there <= files(out / "shoe")
            assert all((out / "shoe" / name).read_bytes().endswith(b"\xff\xd9") for name in files(out / "shoe"))
        noted = [json.loads(line) for line in (out / ".known.jsonl").read_text().splitlines()[1:-1]]
        kept = [url for row in noted for url, said in row.items() if (out / said["path"]).is_file()]
        before = server.asked.copy()
        process = start("killed")
        assert process.wait() == 0, process.stderr.read()
        assert 0 < len(kept) < 500
        assert all(server.asked[path] == before[path] for path in (url.removeprefix(server.address) for url in kept))
        whole = start("whole")
        assert whole.wait() == 0, whole.stderr.read()

    tables = [catalog.load(tmp_path / name / "out/catalog.csv") for name in ("killed", "whole")]
    pd.testing.assert_frame_equal(*[table.drop(columns="retrieved") for table in tables])
    assert len(tables[0]) == 500
    everything = [sorted(file.name for file in (tmp_path / name / "out").rglob("*")) for name in ("killed", "whole")]
    assert everything[0] == everything[1]


def files(folder):
    return {file.name for file in folder.iterdir()} if folder.is_dir() else set()
