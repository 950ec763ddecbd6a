"""The API, asked over a real socket on the loopback address."""

import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from asking import ask, classify, connect, form, head, heard, png
from conftest import save
from PIL import Image
from servers import http, jpeg
from servers import serve as serve_files

from sneakerlib import cli
from sneakerlib.deployment import desk, gate, serving
from sneakerlib.learning import model_folder

pytest.importorskip("fastapi", reason="serving is not installed: pip install 'sneakerlib[serve]'")


@pytest.fixture(scope="module")
def saved(served):
    return model_folder.load(served)


@pytest.fixture(scope="module")
def server(saved):
    with serving.Server(saved) as running:
        running.desk.explaining.pool.submit(int).result()  # heat maps are compiled: on a busy machine that takes time
        yield running


@pytest.fixture
def limited(saved, monkeypatch):
    """Starts servers with other limits."""
    with ExitStack() as stack:

        def start(**limits):
            for name, limit in limits.items():
                monkeypatch.setattr(gate, name, limit)
            return stack.enter_context(serving.Server(saved))

        yield start


@pytest.mark.parametrize("field", ["img", "image"])
def test_a_picture_is_answered_with_all_classes_the_likeliest_first(server, saved, field):
    status, said = classify(server.address, png(1), field)
    assert status == 200
    assert classify(server.address, png(1), field, name=None) == (status, said)
    assert said["success"] is True
    expected = saved.classify(png(1))
    assert {row["label"]: row["probability"] for row in said["predictions"]} == expected
    probabilities = [row["probability"] for row in said["predictions"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert said["sure"] == saved.sure(expected)
    assert said["model"] == {
        "name": "model",
        "recipe": "second-order",
        "backbone": "efficientnet-lite0",
        "fingerprint": server.desk.model["fingerprint"],
    }


def variants():
    """(name, size, mode, how it is saved): what cameras, shops and graphics programs write."""
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        yield f"{mode.replace(';', '')}.png", (60, 40), mode, {}
    for mode in ("L", "RGB", "CMYK"):
        yield f"{mode}.jpg", (60, 40), mode, {}
    for mode in ("L", "RGBA", "CMYK", "YCbCr", "F", "I;16"):
        yield f"{mode.replace(';', '')}.tif", (60, 40), mode, {}
    yield "palette.gif", (60, 40), "P", {}
    yield "clear.gif", (60, 40), "P", {"transparency": 0}
    yield "plain.bmp", (60, 40), "RGB", {}
    yield "alpha.webp", (60, 40), "RGBA", {}
    yield "large.jpg", (1100, 700), "RGB", {}  # decoded at a fraction of its size
    yield "progressive.jpg", (500, 900), "RGB", {"progressive": True}
    turned = Image.Exif()
    turned[0x0112] = 6
    yield "turned.jpg", (60, 40), "RGB", {"exif": turned}
    yield "clear.png", (60, 40), "P", {"transparency": 3}
    yield "small.png", (7, 5), "RGB", {}


def noise(rng, size, mode):
    pixels = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize(size, Image.BICUBIC)
    if mode in ("I;16", "F"):
        grey = np.asarray(pixels.convert("L")).astype(np.uint16 if mode == "I;16" else np.float32)
        return Image.fromarray(grey * 257 if mode == "I;16" else grey)
    pixels = pixels.convert(mode)
    if mode in ("LA", "RGBA"):
        pixels.putalpha(Image.fromarray(rng.integers(0, 256, (size[1], size[0]), np.uint8)))
    return pixels


def test_everybody_sees_the_same_picture(server, saved, served, tmp_path, capsys):
    """200 pictures of every mode: the API, the command, the notebooks' function and `evaluate` say the same numbers."""
    rng, kinds = np.random.default_rng(0), list(variants())
    for number in range(200):
        name, size, mode, how = kinds[number % len(kinds)]
        path = tmp_path / "all" / saved.labels[number % len(saved.labels)] / f"{number}-{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(rng, size, mode).save(path, **how)
    files = sorted((tmp_path / "all").glob("*/*"))
    assert len(files) == 200

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda file: classify(server.address, file.read_bytes()), files))
    assert {status for status, _ in answers} == {200}
    api = {
        file: {row["label"]: row["probability"] for row in said["predictions"]}
        for file, (_, said) in zip(files, answers, strict=True)
    }
    assert cli.main(["classify", str(served), *map(str, files), "--json"]) == 0
    command = {Path(name): row for name, row in json.loads(capsys.readouterr().out).items()}
    function = {file: saved.classify(file) for file in files}
    out = tmp_path / "out"
    assert cli.main(["evaluate", str(served), str(tmp_path / "all"), "--split", "all", "--out", str(out)]) == 0
    table = pd.read_csv(out / "predictions.csv", float_precision="round_trip")
    evaluated = {
        tmp_path / "all" / row["path"]: {label: row[f"p_{label}"] for label in saved.labels}
        for row in table.to_dict("records")
    }
    assert api == command == function == evaluated
    assert len({tuple(sorted(row.items())) for row in api.values()}) == 200  # they are not all alike


def test_the_ten_lines_of_notebook_09_give_the_same_numbers(server, saved):
    from fastapi import FastAPI, UploadFile
    from fastapi.testclient import TestClient

    book = json.loads((Path(__file__).parents[1] / "notebooks" / "09_deployment.ipynb").read_text(encoding="utf-8"))
    (code,) = ["".join(cell["source"]) for cell in book["cells"] if "app = FastAPI(" in "".join(cell["source"])]
    names = {"saved": saved, "FastAPI": FastAPI, "UploadFile": UploadFile}
    exec(code, names)
    for content in (png(1), jpeg(2)):
        mine = TestClient(names["app"]).post("/classify", files={"img": content}).json()
        theirs = classify(server.address, content)[1]["predictions"]
        assert list(mine["probabilities"].items()) == [(row["label"], row["probability"]) for row in theirs]
        assert mine["label"] == theirs[0]["label"]


REFUSED = [
    (422, form(("img", None, b"text")), None, "this file cannot be read as a picture (not a picture)"),
    (400, form(("file", "a.png", png())), None, "found none"),
    (400, form(("img", "a.png", png()), ("image", "b.png", png())), None, "found 2"),
    (400, form(("img", "a.png", b"")), None, "found an empty one"),
    (400, form(*[("x", "a.png", b"x")] * 9, ("img", "a.png", png())), None, "Too many files"),
    (400, form(("img", "a.png", png()))[:-60], None, "found none"),
    (400, png(), "multipart/form-data", "the form cannot be read"),
    (400, b"no form at all", "multipart/form-data; boundary=x", "the form cannot be read"),
    (400, b"no form at all" * 500_000, "multipart/form-data; boundary=x", "the form cannot be read"),
    (
        422,
        form(("img", None, "靴".encode()), boundary='"x; charset=latin-1'),
        'multipart/form-data; boundary="x',
        "not a p",
    ),
    (415, png(), "image/png", "send the picture as multipart/form-data"),
    (415, b'{"url": "http://127.0.0.1/a.jpg"}', "application/json", "send the picture as multipart/form-data"),
    (422, form(("img", "a.png", b"no picture")), None, "this file cannot be read as a picture (not a picture)"),
    (422, form(("img", "a.png", png()[:-30])), None, "this file cannot be read as a picture"),
    (422, form(("img", "a.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")), None, "not a picture"),
    (422, form(("img", "a.svg", b'<svg xmlns="http://www.w3.org/2000/svg"/>')), None, "not a picture"),
]


@pytest.mark.parametrize(("status", "body", "kind", "reason"), REFUSED)
@pytest.mark.parametrize("path", ["/classify", "/explain"])
def test_what_is_wrong_is_said_in_one_line(server, status, body, kind, reason, path):
    given = {"kind": kind} if kind else {}
    got, headers, said = ask(server.address + path, body, **given)
    assert (got, said["success"]) == (status, False)
    assert reason in said["error"]
    assert "\n" not in said["error"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_bombs_are_refused_before_they_are_decoded(server):
    wide = io.BytesIO()
    Image.new("1", (6000, 5000)).save(wide, "PNG")
    plain = io.BytesIO()
    Image.new("L", (64, 64)).save(plain, "JPEG", progressive=True)
    scan = plain.getvalue().index(b"\xff\xda")
    scans = plain.getvalue()[:scan] + plain.getvalue()[scan:-2] * 70 + plain.getvalue()[-2:]
    for content, reason in ((wide.getvalue(), "more than 25 million pixels"), (scans, "a JPEG in very many scans")):
        status, said = classify(server.address, content)
        assert (status, said["success"]) == (422, False)
        assert reason in said["error"]


def test_a_large_request_is_refused_from_its_head_and_while_it_comes(limited):
    server = limited(MOST_BYTES=100_000)
    body = form(("img", "a.bmp", bytes(30_000_000)))
    assert ask(server.address + "/classify", body)[0] == 413
    with connect(server.address) as opened:  # it does not say how much is to come
        opened.sendall(head(body).replace(b"Content-Length: ", b"Transfer-Encoding: chunked\r\nX: "))
        opened.sendall(b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
        opened.shutdown(socket.SHUT_WR)
        said = heard(opened)
    assert said.startswith(b"HTTP/1.1 413")
    assert b"larger than 0.1 MB: send a smaller one" in said
    assert classify(server.address, png())[0] == 200


def test_more_than_can_be_held_at_a_time_is_put_off(limited):
    server = limited(MOST_HELD=50_000)
    body = form(("img", "a.bmp", bytes(60_000)))
    status, headers, said = ask(server.address + "/classify", body)
    assert (status, headers["Retry-After"]) == (503, "1")
    assert "try again" in said["error"]
    assert classify(server.address, png())[0] == 200  # what was held is free again


def test_a_request_that_does_not_end_is_told_so(limited):
    server = limited(SENDING=0.3)
    body = form(("img", "a.png", png()))
    with connect(server.address) as opened:
        opened.sendall(head(body) + body[:50])
        said = heard(opened)
    assert said.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in said.lower()


def test_elsewhere_and_otherwise(server):
    status, headers, said = ask(server.address + "/nowhere")
    assert (status, said["success"]) == (404, False)
    assert "the page is at /" in said["error"]
    status, headers, said = ask(server.address + "/classify")
    assert (status, headers["Allow"], said["success"]) == (405, "POST", False)


def test_what_happens_inside_stays_inside(server, monkeypatch):
    monkeypatch.setattr(server.desk, "answer", lambda content: 1 / 0)
    status, headers, said = ask(server.address + "/classify", form(("img", "a.png", png())))
    assert (status, said["success"]) == (500, False)
    assert "division" not in str(said)
    assert headers["Content-Security-Policy"]
    assert headers["X-Request-ID"]


def test_no_file_is_written_and_no_name_is_trusted(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written, watching = [], True

    def watch(event, given):
        if watching and event == "open" and isinstance(given[1], str) and set(given[1]) & set("wxa+"):
            written.append(given[0])

    sys.addaudithook(watch)  # for good: there is no way to remove one
    large = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (1200, 1000, 3), np.uint8)).save(large, "BMP")
    assert len(large.getvalue()) > 3_000_000  # form parsers like to put this much into a file
    for name in ("../../evil.png", "/etc/passwd", "a\0b.png", "CON", "x" * 3000, "靴.png"):
        status, _ = classify(server.address, large.getvalue(), name=name)
        assert status in (200, 400), name
    watching = False
    assert written == []
    assert list(tmp_path.iterdir()) == []


def test_headers_that_keep_browsers_safe(server):
    for path in ("/", "/docs", "/healthz", "/nowhere"):
        _, headers, _ = ask(server.address + path)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Origin" not in headers


def test_a_page_may_be_framed_only_by_whom_the_server_names(served):
    with serving.Server(served, framed_by=["https://*.example.org", "https://example.com"]) as framed:
        for path in ("/", "/docs"):
            policy = ask(framed.address + path)[1]["Content-Security-Policy"]
            assert policy.endswith("frame-ancestors https://*.example.org https://example.com")
        assert framed.address == f"http://127.0.0.1:{framed.port}"


def test_pages_ask_nobody_else(server):
    for path in ("/", "/docs"):
        _, _, html = ask(server.address + path)
        assert re.findall(r"""(?:src|href)=["'](?:https?:)?//""", html) == []
        assert re.findall(r"\son\w+=|style=", html) == []  # the policy would not run or wear them


def test_health_labels_and_numbers(server, saved):
    assert ask(server.address + "/healthz")[2] == {"status": "ok"}
    said = ask(server.address + "/labels")[2]
    assert said["labels"] == saved.labels
    assert said["most_bytes"] == gate.MOST_BYTES
    assert {"JPEG", "PNG", "WEBP"} <= set(said["formats"])

    def count(line):
        found = re.search(rf"^{re.escape(line)} (\S+)$", ask(server.address + "/metrics")[2], re.MULTILINE)
        return float(found[1]) if found else 0

    line = 'sneakerlib_requests_total{path="/classify",status="200"}'
    before = count(line)
    classify(server.address, png())
    ask(server.address + "/a-path-that-nobody-knows")
    assert count(line) == before + 1
    assert count('sneakerlib_requests_total{path="other",status="404"}') >= 1
    assert "nobody-knows" not in ask(server.address + "/metrics")[2]
    assert count("sneakerlib_inside") == 0


def test_the_log_names_requests_and_nothing_else(server, caplog):
    caplog.set_level(logging.INFO, "sneakerlib.deployment.serving")
    body = form(("img", "private-name.png", png()))
    _, headers, _ = ask(server.address + "/classify?secret=1", body, X_Request_ID="from-a-proxy-7")
    assert headers["X-Request-ID"] == "from-a-proxy-7"
    for wrong in ("a b", "x" * 65, "<script>", ""):
        assert ask(server.address + "/healthz", X_Request_ID=wrong)[1]["X-Request-ID"] != wrong
    (line,) = [record.getMessage() for record in caplog.records if "from-a-proxy-7" in record.getMessage()]
    assert re.fullmatch(r"from-a-proxy-7 POST /classify 200 \d+\.\d ms", line)
    assert "private" not in caplog.text
    assert "secret" not in caplog.text
    assert "127.0.0.1" not in caplog.text


def test_explanations_show_where_and_what_is_alike(server, table, shoes, saved):
    row = table[table.split.eq("train") & table.issue.eq("")].iloc[0]
    content = (shoes / row.path).read_bytes()
    _, said = classify(server.address, content, path="/explain")
    assert said["label"] == next(iter(saved.classify(content)))
    assert said["heat"].startswith("data:image/png;base64,")
    assert len(said["similar"]) == 3
    assert said["similar"][0]["similarity"] == pytest.approx(1, abs=0.01)  # it is one of them
    assert said["similar"][0]["label"] == row.label
    other = next(label for label in saved.labels if label != said["label"])
    body = form(("img", "a.png", content), ("label", None, other.encode()))
    assert ask(server.address + "/explain", body)[2]["label"] == other
    status, _, said = ask(server.address + "/explain", form(("img", "a.png", content), ("label", None, b"sandal")))
    assert (status, said["error"]) == (422, "there is no such class: see /labels")


def test_a_model_without_feature_maps_or_examples_is_served_all_the_same(table, tmp_path):
    from sneakerlib.learning.quiet import keras

    picture, labels = keras.Input((16, 16, 3)), sorted(set(table.label))
    plain = keras.Model(picture, keras.layers.Dense(len(labels), name="logits")(keras.layers.Flatten()(picture)))
    history = pd.DataFrame({"val_accuracy": [0.5]}, index=pd.Index([1], name="epoch"))
    model_folder.save(plain, tmp_path / "m", table, labels, history, "own")
    with serving.Server(tmp_path / "m") as server:
        assert classify(server.address, png())[0] == 200
        status, said = classify(server.address, png(), path="/explain")
        assert (status, said["similar"], "heat" in said) == (200, [], False)


@pytest.fixture
def fetching(saved):
    def files(path, *_):
        return http(jpeg(3, size=64) if path == "/shoe.jpg" else b"no picture")

    with (
        serve_files(files) as elsewhere,
        serving.Server(saved, allow_urls=True, allow_hosts=[elsewhere.host]) as server,
    ):
        yield server, elsewhere


def test_addresses_are_fetched_where_that_is_allowed_and_from_public_hosts_only(fetching, saved):
    server, elsewhere = fetching

    def at(**said):
        return ask(server.address + "/classify", json.dumps(said).encode(), "application/json")

    status, _, said = at(url=f"{elsewhere.address}/shoe.jpg")
    assert status == 200
    expected = saved.classify(jpeg(3, size=64))
    assert {row["label"]: row["probability"] for row in said["predictions"]} == expected
    assert at(url=f"{elsewhere.address}/other")[2]["error"].startswith("this file cannot be read as a picture")
    for wrong in (
        f"http://127.0.0.1:{server.address.split(':')[-1]}/",
        "http://169.254.169.254/",
        "file:///etc/passwd",
    ):
        status, _, said = at(url=wrong)
        assert (status, said["success"]) == (422, False), wrong
    for wrong in ({}, {"url": 3}, {"address": "x"}):
        status, _, said = at(**wrong)
        assert (status, said["success"]) == (400, False)
    for deep in (9_000, 100_000):
        assert ask(server.address + "/classify", b"[" * deep, "application/json")[0] == 400


def test_when_too_many_ask_the_rest_is_told_when_to_come_again(saved, monkeypatch):
    go, inside = threading.Event(), threading.Semaphore(0)
    monkeypatch.setattr(desk, "WAITING", 1)
    with serving.Server(saved) as server:
        answer = server.desk.answer

        def wait(content):
            inside.release()
            assert go.wait(30)
            return answer(content)

        monkeypatch.setattr(server.desk, "answer", wait)
        places = server.desk.lanes.most
        with ThreadPoolExecutor(places) as pool:
            asked = [pool.submit(classify, server.address, png(seed)) for seed in range(places)]
            for _ in range(places - 1):
                inside.acquire()
            while server.desk.lanes.inside < places:
                time.sleep(0.01)
            status, headers, said = ask(server.address + "/classify", form(("img", "a.png", png())))
            assert (status, headers["Retry-After"]) == (503, "1")
            assert said["error"] == "too many pictures at once: try again in a second"
            go.set()
            assert {one.result()[0] for one in asked} == {200}
        assert classify(server.address, png())[0] == 200


def test_an_answer_that_takes_too_long_is_given_up(server, monkeypatch):
    monkeypatch.setattr(gate, "ANSWERING", 0.1)
    go = threading.Event()
    monkeypatch.setattr(server.desk, "answer", lambda content: go.wait(30))
    assert classify(server.address, png())[0] == 503
    go.set()


def test_slow_clients_do_not_stop_others(server):
    """How long they may stay is for the proxy before the server to say; how many there may be is limited here."""
    body = form(("img", "a.png", png()))
    with ExitStack() as stack:
        silent, headless, bodiless = (
            [stack.enter_context(connect(server.address)) for _ in range(60)] for _ in range(3)
        )
        assert len(silent) == 60
        for opened in headless:
            opened.sendall(head(body)[:40])
        for opened in bodiless:
            opened.sendall(head(body) + body[:40])
        assert [classify(server.address, png(seed))[0] for seed in range(10)] == [200] * 10
    assert classify(server.address, png())[0] == 200


def test_more_connections_than_there_may_be_are_told_to_come_again(saved, monkeypatch):
    monkeypatch.setattr(serving, "CONNECTIONS", 5)
    with serving.Server(saved) as server, ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(connect(server.address)).sendall(b"GET / HTTP/1.1\r\n")
        deadline = time.monotonic() + 10
        while ask(server.address + "/healthz")[0] != 503:
            assert time.monotonic() < deadline
        stack.close()
        while ask(server.address + "/healthz")[0] != 200:
            assert time.monotonic() < deadline


def test_a_client_that_leaves_is_no_error_of_the_server(server, caplog):
    caplog.set_level(logging.INFO, "sneakerlib.deployment.serving")
    body = form(("img", "a.png", png()))
    with connect(server.address) as opened:
        opened.sendall(head(body, more="X-Request-ID: left-early\r\n") + body[:50])
        assert ask(server.address + "/healthz")[0] == 200  # the head has been read by now
    deadline = time.monotonic() + 10
    while "left-early" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert "left-early POST /classify 499" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_head_without_an_end_is_cut_off(server):
    with connect(server.address) as opened:
        opened.sendall(b"GET / HTTP/1.1\r\nX: ")
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                opened.sendall(b"x" * 10_000)
                time.sleep(0.001)
    assert classify(server.address, png())[0] == 200


def test_the_port_opens_when_the_model_is_ready(saved, monkeypatch):
    seen = []

    class Late(desk.Desk):
        def __init__(self, *given, **options):
            super().__init__(*given, **options)
            with pytest.raises(ConnectionError):
                connect(f"http://127.0.0.1:{port}")
            seen.append(port)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(desk, "Desk", Late)
    with serving.Server(saved, port=port) as server:
        assert seen == [port]
        assert ask(server.address + "/healthz")[0] == 200


def test_stopped_it_lets_go_of_the_port(saved):
    server = serving.Server(saved)
    server.stop()
    with pytest.raises(ConnectionError):
        connect(server.address)
    with serving.Server(saved, port=int(server.address.split(":")[-1])) as again:
        assert again.address == server.address


def test_a_wrong_port_or_folder_is_said_in_one_line(server, served, tmp_path, capsys):
    taken = server.address.split(":")[-1]
    assert cli.main(["serve", str(served), "--port", taken]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"sneakerlib: 127.0.0.1:{taken} cannot be listened on (")
    assert said.count("\n") == 1
    assert cli.main(["serve", str(served), "--host", "no-such-host.invalid"]) == 2
    assert "choose another --host or --port" in capsys.readouterr().err
    assert cli.main(["serve", str(served), "--port", "70000"]) == 2
    assert "port 70000 is out of range" in capsys.readouterr().err
    assert cli.main(["serve", str(tmp_path / "nothing")]) == 2
    assert "there is no model folder" in capsys.readouterr().err


@pytest.fixture
def process(served, tmp_path):
    """The command, where it answers, and its log; killed if it does not end by itself."""
    command = [sys.executable, "-m", "sneakerlib.cli", "serve", str(served), "--port", "0", "--json"]
    log = tmp_path / "log"
    with (
        log.open("w") as opened,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=opened, text=True) as started,
    ):
        try:
            line = ""
            while "}" not in line:
                line += started.stdout.readline()
                assert started.poll() is None, log.read_text()
            yield started, json.loads(line)["address"], log
        finally:
            started.kill()


def test_sigterm_finishes_what_was_begun_and_ends_with_0(process):
    started, address, log = process
    body = form(("img", "a.png", png()))
    opened = [connect(address) for _ in range(8)]
    for one in opened:
        one.sendall(head(body) + body[:-10])  # begun, and not whole
    assert ask(address + "/healthz")[0] == 200  # by now their heads have been read
    started.send_signal(signal.SIGTERM)
    with pytest.raises(ConnectionError):  # nobody new
        for _ in range(500):
            connect(address).close()
            time.sleep(0.01)
    for one in opened:
        one.sendall(body[-10:])
    assert [heard(one)[:12] for one in opened] == [b"HTTP/1.1 200"] * 8
    assert started.wait(30) == 0
    assert log.read_text().count("POST /classify 200") == 8
    assert "Traceback" not in log.read_text()
    for one in opened:
        one.close()


def test_the_demo_answers_below_its_button(saved, tmp_path):
    box = serving.demo(saved)
    button, said = box.children
    good, bad = save((200, 30, 40), tmp_path / "<b>.png").read_bytes(), b"no picture"
    seven = {"<b>.png": {"content": good}, "bad.jpg": {"content": bad}}
    eight = ({"name": "<b>.png", "content": memoryview(good)}, {"name": "bad.jpg", "content": memoryview(bad)})
    likeliest = next(iter(saved.classify(good)))
    for value in (seven, eight):
        said.value = ""
        button.notify_change({"name": "value", "new": value, "type": "change"})
        assert likeliest in said.value
        assert "&lt;b&gt;.png" in said.value
        assert said.value.count("<meter") == 3  # as many as there are, at most five
        assert "✗ bad.jpg cannot be read as a picture" in said.value


@pytest.mark.parametrize(("missing", "cure"), [("uvicorn", "sneakerlib[serve]"), ("prometheus_client", "[serve]")])
def test_without_the_extra_one_line_says_what_to_install(served, capsys, monkeypatch, missing, cure):
    for name in [
        name
        for name in sys.modules
        if name.startswith(("uvicorn", "sneakerlib.deployment.gate", "sneakerlib.deployment.api"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delattr("sneakerlib.deployment.api", raising=False)
    monkeypatch.delattr("sneakerlib.deployment.gate", raising=False)
    assert cli.main(["serve", str(served)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"sneakerlib: serving needs {missing}: pip install '")
    assert cure in said


def test_importing_the_package_needs_no_server():
    code = "import sys; from sneakerlib.deployment import serving; print({'fastapi', 'uvicorn'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert shown.stdout.strip() == "set()"
