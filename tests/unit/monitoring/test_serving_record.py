"""Records of what was served: bounded, strict, and readable after a kill."""

from pathlib import Path

import pytest

from components.errors import ModelError
from components.monitoring import serving_record
from components.monitoring.serving_record import ServingLog, ServingRecord, add_up, read_serving
from components.records import read_record

MODEL = "fashion-mlp:aaaaaaaa"


def record(since: float, requests: int = 3) -> ServingRecord:
    return ServingRecord(MODEL, since, since + 10, requests, 1, {"12": requests}, {"Bag": 5}, 1, 5, 2, {"19": 5})


def test_records_are_read_back_in_order_of_time(tmp_path: Path) -> None:
    log = ServingLog(tmp_path)
    log.append([record(30.0), record(10.0)])
    log.append([record(20.0)])
    found = read_serving(tmp_path, 0, 100)
    assert [one.since for one in found.records] == [10.0, 20.0, 30.0]
    assert found.records[0] == record(10.0)
    assert [one.since for one in read_serving(tmp_path, 15, 35).records] == [20.0]


def test_the_sum_has_the_counts_of_all_records() -> None:
    total = add_up([record(10.0), record(30.0, 4)])
    assert total == ServingRecord(MODEL, 10.0, 40.0, 7, 2, {"12": 7}, {"Bag": 10}, 2, 10, 4, {"19": 10})
    assert add_up([]) is None


@pytest.mark.parametrize(
    "damage",
    [
        b"{}",
        b"\xff\xfe",
        b'{"model": "../../x", "since": 1, "until": 2}',
        b'{"model": "fashion-mlp:aaaaaaaa", "since": 1, "until": 2, "requests": -1}',
        b'{"model": "fashion-mlp:aaaaaaaa", "since": 1, "until": 2, "requests": "3"}',
        b'{"model": "fashion-mlp:aaaaaaaa", "since": 1, "until": 2, "seconds": {"x": 1}}',
        b'{"model": "fashion-mlp:aaaaaaaa", "since": NaN, "until": 2}',
        b'{"model": "fashion-mlp:aaaaaaaa", "since": 1, "until": 2, "extra": 1}',
    ],
)
def test_a_damaged_line_is_counted_and_the_others_are_read(tmp_path: Path, damage: bytes) -> None:
    log = ServingLog(tmp_path)
    log.append([record(10.0)])
    with log.path.open("ab") as file:
        file.write(damage + b"\n")
    log.append([record(20.0)])
    found = read_serving(tmp_path, 0, 100)
    assert ([one.since for one in found.records], found.unreadable) == ([10.0, 20.0], 1)
    with pytest.raises(ModelError, match=r"^here: "):
        read_record(ServingRecord, damage, "here", ModelError)


def test_a_line_that_a_kill_cut_short_damages_no_other(tmp_path: Path) -> None:
    log = ServingLog(tmp_path)
    log.append([record(10.0)])
    with log.path.open("ab") as file:
        file.write(b'{"model": "fash')
    assert read_serving(tmp_path, 0, 100).unreadable == 0, "it may still be written"
    log.append([record(20.0)])
    found = read_serving(tmp_path, 0, 100)
    assert ([one.since for one in found.records], found.unreadable) == ([10.0, 20.0], 1)


def test_the_files_of_a_process_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_record, "FILE_BYTES", 2_000)
    log = ServingLog(tmp_path)
    for number in range(100):
        log.append([record(float(10 * number))])
    files = list(tmp_path.iterdir())
    assert len(files) == serving_record.FILES
    assert all(path.stat().st_size <= 2_000 for path in files)
    assert read_serving(tmp_path, 0, 2_000).records[-1] == record(990.0)


def test_the_files_of_earlier_processes_are_bounded(tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"{100_000 + number}.jsonl").write_bytes(b"")
    ServingLog(tmp_path)
    assert len(list(tmp_path.iterdir())) == serving_record.ALL_FILES - serving_record.FILES


def test_a_disk_that_cannot_be_written_loses_records_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = ServingLog(tmp_path / "serving")
    log.path.mkdir()
    log.append([record(10.0)])
    assert "what was served could not be recorded" in caplog.text


def test_a_folder_that_does_not_exist_has_no_records(tmp_path: Path) -> None:
    assert read_serving(tmp_path / "none", 0, 1).records == ()
