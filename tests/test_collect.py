import hashlib

import pandas as pd
import pytest

from sneakerlib import InputError, collect, sample


def terms(label, limit):
    return pd.DataFrame({"label": [label], "query": [label], "limit": [limit]})


def test_collecting_keeps_content_and_origin(shoes, tmp_path):
    truth = sample.truth(shoes)
    label = truth.label[0]
    with sample.search_service(shoes) as service:
        found, refused = collect.collect(service, terms(label, 100), tmp_path / "out", progress=False)
    assert set(found.sha256) == set(truth[truth.label.eq(label)].sha256)
    assert refused.empty
    assert found.licence.eq("cc0").all()
    for row in found.itertuples():
        content = (tmp_path / "out" / row.path).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row.sha256
        assert row.sha256.startswith(row.path.split("/")[1].split(".")[0])


def test_the_limit_holds_over_pages(shoes, tmp_path):
    with sample.search_service(shoes) as service:
        found = list(collect.search(service, sample.truth(shoes).label[0], 21))
    assert len(found) == 21


def test_a_second_run_stores_nothing_new(shoes, tmp_path):
    label = sample.truth(shoes).label[0]
    for _ in range(2):
        with sample.search_service(shoes) as service:
            found, _ = collect.collect(service, terms(label, 5), tmp_path, progress=False)
        files = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}
    assert len(files) == len(found)
    assert all(file.stat().st_mtime_ns == time for file, time in files.items())


def test_a_picture_that_cannot_be_had_is_listed_and_stops_nothing(shoes, tmp_path, monkeypatch):
    label = sample.truth(shoes).label[0]
    with sample.search_service(shoes) as service:
        results = list(collect.search(service, label, 3))
        results[1]["url"] = f"{service}/pictures/99999"
        monkeypatch.setattr(collect, "search", lambda *_: iter(results))
        found, refused = collect.collect(service, terms(label, 3), tmp_path, progress=False)
    assert len(found) == 2
    assert "answered 404" in refused.reason[0]


def test_an_answer_that_is_too_large_is_cut_off(shoes, monkeypatch):
    monkeypatch.setattr(collect, "MOST_BYTES", 100)
    with sample.search_service(shoes) as service, pytest.raises(InputError, match="larger than"):
        collect.fetch(f"{service}/pictures/0")


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9/x cannot be downloaded"):
        collect.fetch("http://127.0.0.1:9/x")


def test_no_results_are_an_error_with_a_cure(shoes, tmp_path):
    with (
        sample.search_service(shoes) as service,
        pytest.raises(InputError, match="found no pictures: check the search terms"),
    ):
        collect.collect(service, terms("sandal", 5), tmp_path, progress=False)
