import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from conftest import save

from sneakerlib import catalog, cli
from sneakerlib.learning import model_folder
from sneakerlib.sample import dataset, loopback


@pytest.fixture(scope="module")
def model(shoes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "model"
    assert cli.main(["train", str(shoes), "--out", str(folder), "--recipe", "frozen", "--size", "64", "--json"]) == 0
    return folder


def answer(capsys, *arguments):
    capsys.readouterr()
    assert cli.main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_sample_split_train_evaluate_classify(tmp_path, capsys):
    made = answer(capsys, "sample", tmp_path / "s", "--classes", 2, "--per-class", 12, "--seed", 3)
    assert sum(made["pictures"].values()) == len(dataset.truth(tmp_path / "s"))
    split = answer(capsys, "split", tmp_path / "s", "--out", tmp_path / "c.csv", "--val", 0.2, "--test", 0.2)
    assert {"train", "val", "test"} <= set(split["pictures"])
    trained = answer(capsys, "train", tmp_path / "c.csv", "--out", tmp_path / "m", "--size", 64)
    assert 0 <= trained["val_accuracy"] <= 1
    scores = answer(capsys, "evaluate", tmp_path / "m", tmp_path / "c.csv", "--out", tmp_path / "e")
    assert list(scores) == ["n", "accuracy", "accuracy_interval", "macro_f1", "top3_accuracy", "ece"]
    assert scores["n"] == split["pictures"]["test"]
    assert (tmp_path / "e/predictions.csv").is_file()
    same = answer(capsys, "evaluate", tmp_path / "m", tmp_path / "s")
    assert same == scores
    picture = tmp_path / "s/aero/aero_001.jpg"
    named = answer(capsys, "classify", tmp_path / "m", picture)
    assert sum(named[str(picture)].values()) == pytest.approx(1)
    for threshold, said in ((0.0, f"{picture}: {next(iter(named[str(picture)]))}"), (1.1, "not sure, perhaps ")):
        model_folder.calibrate(tmp_path / "m", 1.0, threshold)
        assert cli.main(["classify", str(tmp_path / "m"), str(picture)]) == 0
        assert said in capsys.readouterr().out


def test_audit_counts_and_writes_findings(shoes, tmp_path, capsys):
    made = answer(capsys, "audit", shoes, "--out", tmp_path / "f.csv")
    truth = dataset.truth(shoes)
    assert made["pictures"] == len(truth)
    assert made["findings"]["unreadable"] == truth.defect.eq("truncated").sum()
    findings = pd.read_csv(tmp_path / "f.csv", keep_default_na=False)
    assert findings.groupby("issue").path.nunique().to_dict() == made["findings"]
    assert cli.main(["audit", str(shoes)]) == 0
    assert "contradictory-duplicate: set aside until you decide" in capsys.readouterr().out


def test_an_audit_without_features_needs_no_network(shoes, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sneakerlib.cleaning.off_topic.FEWEST", 20)
    monkeypatch.setattr("sneakerlib.learning.features.engine", lambda *_: pytest.fail("a network was asked"))
    monkeypatch.setenv("SNEAKERLIB_CACHE", str(tmp_path))
    assert "off-topic" not in answer(capsys, "audit", shoes, "--no-features")["findings"]
    answer(capsys, "split", shoes, "--no-features", "--out", tmp_path / "c.csv")
    with pytest.raises(pytest.fail.Exception):
        cli.main(["audit", str(shoes)])


def test_augment_fills_up_and_the_result_trains(shoes, tmp_path, capsys):
    made = answer(capsys, "augment", shoes, tmp_path / "more", "--per-class", 18, "--labels", "aero,bolt")
    assert set(made["train"]) == {"aero", "bolt"}
    assert min(made["train"].values()) >= 18
    assert made["copies"] > 0
    answer(
        capsys,
        "train",
        tmp_path / "more/catalog.csv",
        "--recipe",
        "scratch",
        "--size",
        32,
        "--epochs",
        1,
        "--out",
        tmp_path / "m",
    )
    scores = answer(capsys, "evaluate", tmp_path / "m", tmp_path / "more/catalog.csv")
    table = catalog.load(tmp_path / "more/catalog.csv")
    assert scores["n"] == table.split.eq("test").sum()


def test_split_obeys_decisions(folder, tmp_path, capsys):
    (tmp_path / "d.csv").write_text("path,action,reason\none/0.png,drop,not mine\n")
    made = answer(capsys, "split", folder, "--out", tmp_path / "c.csv", "--decisions", tmp_path / "d.csv")
    assert made["pictures"]["by-hand"] == 1
    assert catalog.load(tmp_path / "c.csv").set_index("path").issue["one/0.png"] == "by-hand"


def test_collect_shows_what_it_did(tmp_path, capsys):
    (tmp_path / "terms.csv").write_text("folder_name,search_term,number_imgs\nshoes,Air Jordan 2,14\n")
    given = ["collect", tmp_path / "terms.csv", tmp_path / "out", "--source", "sample"]
    made = answer(capsys, *given)
    assert made["pictures"]["shoes"] + made["rejected"] == 14
    assert made["unfinished"] == []
    assert cli.main([str(part) for part in given]) == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert shown == [[str(made["pictures"]["shoes"]), "shoes"], [str(made["rejected"]), "rejected"]]
    assert {"catalog.csv", "rejected.csv", "attribution.md"} <= {file.name for file in (tmp_path / "out").iterdir()}


def test_a_search_that_fails_ends_with_1_and_keeps_the_rest(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sneakerlib.scraping.sources.Commons.address", "http://127.0.0.1:9")
    (tmp_path / "terms.csv").write_text("label,query,limit,source\na,aero,12,sample\nb,shoe,12,commons\n")
    assert cli.main(["collect", str(tmp_path / "terms.csv"), str(tmp_path / "out"), "--json"]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["pictures"]["a"] > 0
    assert len(shown.err.splitlines()) == 1
    assert shown.err.startswith("sneakerlib: b: http://127.0.0.1:9/w/api.php")
    assert shown.err.endswith("; the same command goes on\n")


def test_splitting_again_keeps_the_splits_of_known_pictures(folder, tmp_path, capsys):
    out = tmp_path / "c.csv"
    answer(capsys, "split", folder, "--out", out, "--val", 0.25, "--test", 0.25)
    before = catalog.load(out).set_index("path").split
    for number in range(20):
        save((number * 12, 10 * number, 99), folder / "one" / f"new{number}.png")
    answer(capsys, "split", folder, "--out", out, "--val", 0.25, "--test", 0.25, "--seed", 9)
    after = catalog.load(out).set_index("path").split
    assert after[before.index].equals(before)
    assert len(after) > len(before)


def test_people_get_a_table(model, shoes, capsys):
    assert cli.main(["evaluate", str(model), str(shoes)]) == 0
    assert "95 % interval" in capsys.readouterr().out


def test_a_picture_by_address(model, shoes, capsys):
    with loopback.search_service(shoes) as service:
        number = dataset.truth(shoes).query("defect == ''").index[0]
        address, host = f"{service}/pictures/{number}", service.removeprefix("http://")
        assert list(answer(capsys, "classify", model, address, "--allow-host", host)) == [address]
        assert cli.main(["classify", str(model), address]) == 2  # somebody else's program may be behind it
        assert f"name it with --allow-host {host}" in capsys.readouterr().err


def test_only_some_labels(shoes, tmp_path, capsys):
    labels = sorted(set(dataset.truth(shoes).label))[:2]
    answer(
        capsys,
        "train",
        shoes,
        "--labels",
        ",".join(labels),
        "--recipe",
        "scratch",
        "--epochs",
        1,
        "--out",
        tmp_path / "m",
    )
    assert json.loads((tmp_path / "m/labels.json").read_text())["labels"] == labels
    assert answer(capsys, "evaluate", tmp_path / "m", shoes)["n"] > 0


def test_a_console_that_lacks_letters_ends_nothing(shoes, tmp_path):
    """A class with an emoji, a path with a Greek letter, in a console of western Europe."""
    (tmp_path / "λ").mkdir()
    for name in ("aero 😀", "bolt"):
        shutil.copytree(shoes / name.split()[0], tmp_path / "λ" / name)
    command = [sys.executable, "-m", "sneakerlib.cli", "audit", str(tmp_path / "λ"), "--no-features"]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252", "SNEAKERLIB_CACHE": str(tmp_path / "cache")}
    for more in ([], ["--json"], ["--labels", "ψ"]):
        done = subprocess.run([*command, *more], env=environment, capture_output=True, check=False)
        assert done.returncode == (2 if more == ["--labels", "ψ"] else 0)
        assert b"Traceback" not in done.stderr
    done = subprocess.run([*command, "--json"], env=environment, capture_output=True, check=True)
    assert json.loads(done.stdout)["pictures"] > 0


@pytest.mark.parametrize("recipe", ["second-order", "scratch"])
def test_without_validation_pictures_the_accuracy_is_not_known(shoes, tmp_path, capsys, recipe):
    more = ["--val", "0", "--size", "32", *(["--epochs", "1"] if recipe == "scratch" else [])]
    command = ["train", str(shoes), "--recipe", recipe, "--out", str(tmp_path / "m"), *more]
    assert cli.main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["val_accuracy"] is None
    assert cli.main(["evaluate", str(tmp_path / "m"), str(shoes), "--split", "test", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] > 0


@pytest.fixture
def wrong(shoes, model, tmp_path):
    """Everything that a user may get wrong, in one folder that must stay as it is."""
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty").mkdir()
    shutil.copytree(model, tmp_path / "half")
    (tmp_path / "half/labels.json").unlink()
    (tmp_path / "bad.csv").write_text("path,label\n")
    (tmp_path / "terms.csv").write_text("label,query,limit\naero,aero,20\n")
    (tmp_path / "shoes").symlink_to(shoes)
    (tmp_path / "model").symlink_to(model)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("classify model nonexistent.jpg", "there is no file nonexistent.jpg: check the path"),
        ("classify model text.jpg", "text.jpg cannot be read as a picture (not a picture): replace it"),
        ("classify model http://127.0.0.1:9/a.jpg", "leads to 127.0.0.1, which is not a public address"),
        ("classify model http://a/b.jpg --allow-host a", "--allow-host a: write HOST:PORT"),
        ("collect nowhere.csv new", "there is no file nowhere.csv: give a CSV with the columns label, query"),
        ("collect text.jpg new", "text.jpg has no column label, query"),
        ("collect terms.csv new --source magic", "there is no source magic: use openverse"),
        ("collect terms.csv new --source urls", "there is no file aero: the query of source urls is an address"),
        ("collect terms.csv new --source page", "'aero' is no address"),
        ("collect terms.csv new --limit 0", "limit 0 is out of range: give a number of 1 or more"),
        ("collect terms.csv new --licence gpl", "there is no licence gpl: use cc0"),
        ("collect terms.csv new --allow-host nonsense", "--allow-host nonsense: write HOST:PORT"),
        ("collect terms.csv new --labels boots", "terms.csv has no label boots"),
        ("collect terms.csv text.jpg", "text.jpg is a file: name the folder"),
        ("classify half shoes/aero/aero_001.jpg", "half lacks labels.json: train it again"),
        ("classify nowhere a.jpg", "there is no model folder nowhere: train one"),
        ("split empty", "no pictures under empty: expected one sub-folder per class"),
        ("split nowhere", "there is no folder nowhere"),
        ("split shoes --decisions nowhere.csv", "there is no file nowhere.csv: write a CSV with the columns path"),
        ("split shoes --decisions bad.csv", "bad.csv has no column action"),
        ("audit nowhere", "there is no folder nowhere"),
        ("audit empty", "no pictures under empty"),
        ("audit shoes --labels boots", "no sub-folder boots under shoes"),
        ("split bad.csv", "bad.csv has no column"),
        ("split shoes --val 0.9 --test 0.9", "add up to less than 1"),
        ("split shoes --labels boots", "no sub-folder boots under shoes"),
        ("split shoes --seed -1", "seed -1 is out of range: give a number from 0 to 4294967295"),
        ("split shoes --seed 4294967296", "seed 4294967296 is out of range"),
        ("split shoes --val nan", "val nan is out of range: give a number from 0 to 1"),
        ("train shoes --out new --test inf", "test inf is out of range"),
        ("train shoes --out new --size 100000", "size 100000 is out of range: give a number from 32 to 4096"),
        ("sample new --seed -7", "seed -7 is out of range"),
        ("serve model --port 70000", "port 70000 is out of range: give a number from 0 to 65535"),
        ("run --out new -p RUN other", "-p RUN would contradict --out: give --out instead"),
        ("run --out new -p LABELS 007", "-p LABELS would contradict --labels: give --labels instead"),
        ("run --out new -p IMAGES shoes", "give --images instead"),
        ("run --out new -p SEED -1", "SEED -1 is out of range"),
        ("run --out new -p STORY_SIZE 8", "STORY_SIZE 8 is out of range: give a number from 32 to 4096"),
        ("run --out new -p VAL_FRACTION nan", "VAL_FRACTION nan is out of range"),
        ("run --out new -p FOLDS 1", "FOLDS 1 is out of range: give a number of 2 or more"),
        ("augment shoes new --per-class 0", "per_class 0 is out of range: give a number of 1 or more"),
        ("augment empty new --per-class 9", "no pictures under empty"),
        ("augment shoes shoes --per-class 9", "shoes holds the originals"),
        ("train shoes --out new --recipe magic", "there is no recipe 'magic': use second-order, frozen"),
        ("train shoes --out new --backbone resnet51", "there is no backbone 'resnet51'"),
        ("train empty --out new", "no pictures under empty"),
        ("train shoes --out new --size 0", "size 0 is out of range: give a number from 32 to 4096"),
        ("train shoes --out new --recipe scratch --epochs -1", "epochs -1 is out of range: give a number of 1 or more"),
        ("train shoes --out new --epochs 3", "solved, not trained by epochs: leave --epochs out"),
        (
            "train shoes --out new --recipe frozen --epochs 3",
            "recipe frozen is solved, not trained by epochs: leave --epochs out",
        ),
        ("train shoes --out empty/..", "empty/.. exists and is no model folder: name a new one"),
        ("train shoes --out text.jpg", "text.jpg exists and is no model folder"),
        ("split shoes --out text.jpg", "text.jpg"),
        ("train shoes", "the following arguments are required: --out"),
        ("evaluate half shoes", "half lacks labels.json"),
        ("evaluate model empty", "no pictures under empty"),
        ("sample shoes --classes 2", "shoes holds something else already"),
        ("sample new --classes 99", "2 to 23 classes"),
        ("run --out new -p EPOCH 3", "no notebook has a parameter EPOCH: did you mean EPOCHS?"),
        ("run --out new --only 99", "there is no notebook 99"),
        ("run --out new --images nowhere", "there is no folder nowhere"),
        ("fly", "invalid choice: 'fly'"),
    ],
)
def test_a_wrong_input_gets_one_line_exit_code_2_and_writes_nothing(wrong, monkeypatch, capsys, line, message):
    monkeypatch.chdir(wrong)
    before = sorted(wrong.rglob("*"))
    try:
        code = cli.main(line.split())
    except SystemExit as error:
        code = error.code
    shown = capsys.readouterr()
    assert code == 2
    lines = [text for text in shown.err.splitlines() if text.strip() and "\r" not in text and "%|" not in text]
    assert len(lines) == 1, shown.err
    assert lines[0].startswith("sneakerlib: ")
    assert message in lines[0]
    assert shown.out == ""
    assert sorted(wrong.rglob("*")) == before


def test_one_bad_picture_does_not_lose_the_good_ones(wrong, monkeypatch, capsys):
    monkeypatch.chdir(wrong)
    assert cli.main(["classify", "model", "text.jpg", "shoes/aero/aero_001.jpg", "--json"]) == 2
    shown = capsys.readouterr()
    assert list(json.loads(shown.out)) == ["shoes/aero/aero_001.jpg"]
    assert "text.jpg cannot be read" in shown.err


def test_the_command_itself_exits_with_the_code_and_one_line(wrong):
    command = [sys.executable, "-m", "sneakerlib.cli", "classify", "model", "nonexistent.jpg"]
    shown = subprocess.run(command, cwd=wrong, capture_output=True, text=True, check=False)
    assert shown.returncode == 2
    assert shown.stderr == "sneakerlib: there is no file nonexistent.jpg: check the path\n"
    assert shown.stdout == ""
