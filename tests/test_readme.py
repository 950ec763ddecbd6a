"""Every command in README runs: these here, `make run` and `make test` by CI, the series in test_notebooks.py."""

import contextlib
import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import zlib
from pathlib import Path

import pytest
from servers import http, jpeg, jsonic, serve

from sneakerlib import cli

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
LINES = [line.split("  #")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()]
COMMANDS = [line for line in LINES if line.startswith("sneakerlib ")]
SERVED = [line for line in LINES if line.startswith(("sneakerlib serve", "curl"))]
# What a test or CI runs in another place; anything else in README must be a `sneakerlib` command.
ELSEWHERE = {"make run", "make test", "source .venv/bin/activate", "git clone https://github.com/sneakerlib/sneakerlib"}
ELSEWHERE |= {"cd sneakerlib", "make lab"}


def test_every_line_is_a_command_that_somebody_runs():
    assert [line for line in LINES if line not in ELSEWHERE and line not in COMMANDS + SERVED] == []
    assert len(COMMANDS) >= 8


def test_make_lab_opens_the_first_notebook_and_shows_the_whole_project(tmp_path, monkeypatch):
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed: pip install 'sneakerlib[jupyter]'")
    recipe = re.search(r"^lab:.*\n\t\$\(BIN\)/(jupyter .*)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("JUPYTER_TOKEN", "x")
    command = [sys.executable, "-m", *recipe.split(), "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    log, listed = tmp_path / "log", None
    with log.open("w") as written, subprocess.Popen([*command, f"--port={port}"], cwd=ROOT, stderr=written) as lab:
        try:
            while not listed:
                assert lab.poll() is None, log.read_text()
                with contextlib.suppress(urllib.error.URLError):  # it does not listen yet
                    listed = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/api/contents?token=x"))
        finally:
            lab.terminate()
    assert f"http://127.0.0.1:{port}/lab/tree/notebooks/00_start_here.ipynb" in log.read_text()
    assert {"notebooks", "data", "figures"} <= {row["name"] for row in listed["content"]}


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("sneakerlib run")])
def test_commands_for_the_series_are_understood(line):
    assert cli.parser().parse_args(shlex.split(line)[1:]).verb == "run"


def openverse(path, query, server, socket):
    """Two pictures per query, as Openverse would name them."""
    if path != "/v1/images/":
        return http(jpeg(int(path[1:])))
    seeds = [2 * (zlib.crc32(query["q"].encode()) % 10**6) + number for number in range(2)]
    rows = [{"url": f"{server.address}/{seed}", "license": "by", "license_version": "2.0"} for seed in seeds]
    return jsonic({"results": rows, "page_count": 1})


@pytest.fixture
def internet(monkeypatch):
    """What the commands need of it, on the loopback address."""
    with serve(openverse) as server:
        monkeypatch.setattr("sneakerlib.scraping.sources.Openverse.address", server.address)
        monkeypatch.setattr("sneakerlib.scraping.sources.Openverse.pause", 0)
        monkeypatch.setattr("sneakerlib.scraping.manners.is_public", lambda address: True)
        monkeypatch.setattr("sneakerlib.scraping.web.DELAY", 0)
        yield server


def test_the_other_commands_run_in_the_order_given(tmp_path, monkeypatch, capsys, internet):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    shutil.copy(ROOT / "data/searchterms.csv", "data")
    for line in [line for line in COMMANDS if not line.startswith(("sneakerlib run", "sneakerlib serve"))]:
        assert cli.main(shlex.split(line)[1:]) == 0, line
        assert capsys.readouterr().out, line
    serve_command, curl = SERVED
    if not shutil.which("curl"):
        pytest.skip("the last command needs curl, which is not here: all the others ran")
    command = [sys.executable, "-m", "sneakerlib.cli", *shlex.split(serve_command)[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout.readline().startswith("http://127.0.0.1:5000 answers")
            shown = subprocess.run(shlex.split(curl), capture_output=True, text=True, check=True)
            assert json.loads(shown.stdout)["predictions"][0]["label"] in {"aero", "bolt", "comet"}
            server.terminate()
            assert server.wait(60) == 0
        finally:
            server.kill()


def test_the_figures_it_shows_exist():
    shown = re.findall(r"!\[[^\]]+\]\((figures/[^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert shown
    assert all((ROOT / figure).is_file() for figure in shown)
    assert all((ROOT / figure).with_suffix(".csv").is_file() for figure in shown)
