"""Each file dropped into an inbox is scored once, even if writers or workers fail."""

import dataclasses
import json
import os
import re
import threading
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from deliveries import HEADER, empty, inbox, live, report_of, table_of  # noqa: F401, fixtures

from components.catalogues.fashion_mnist import CONTRACT
from components.dataset.manifest import Examples, to_table
from components.errors import SettingsError
from components.inbox import Inbox, find_work, open_inbox, take
from components.model.classifier import Classifier
from components.scoring.delivery import deliver, describe_failures
from components.scoring.input_check import InputChecker


def test_dropped_files_are_scored_and_moved_with_their_results(
    inbox: Inbox, live: Classifier, test_split: Examples, checker: InputChecker
) -> None:
    (inbox.folder / "orders.csv").write_text(table_of(test_split, 20) + "bad\n")
    (inbox.folder / "folder").mkdir()
    rows = to_table(test_split.ids, "test", test_split.labels, test_split.images, CONTRACT)
    pq.write_table(rows, inbox.folder / "folder" / "part.parquet")
    folder, orders = empty(inbox, live, checker=checker)
    assert (orders.name, orders.outcome, orders.rows, orders.rejected) == ("orders.csv", "done", 21, 1)
    assert orders.folder.parent == inbox.done
    assert {path.name for path in orders.folder.iterdir()} == {
        "input",
        "claim.json",
        "scored.csv",
        "scored.rejects.csv",
        "report.json",
    }
    assert (orders.folder / "input" / "orders.csv").read_text().endswith("bad\n")
    assert len(pyarrow.csv.read_csv(orders.folder / "scored.csv")) == 20
    report = report_of(orders)
    assert (report["model"], report["rows"], report["rejects"]) == (live.tag, 21, "scored.rejects.csv")
    assert (folder.name, folder.outcome, folder.rows) == ("folder", "done", len(test_split.ids))
    assert [path.name for path in sorted(inbox.folder.iterdir())] == ["done", "failed", "working"]
    assert not list(inbox.working.iterdir()), "no lock remains"
    assert empty(inbox, live) == [], "each is scored once"


def test_a_repeated_name_overwrites_nothing(inbox: Inbox, live: Classifier, test_split: Examples) -> None:
    found = []
    for rows in (3, 4):
        (inbox.folder / "orders.csv").write_text(table_of(test_split, rows))
        found += empty(inbox, live)
    assert [len(pyarrow.csv.read_csv(one.folder / "scored.csv")) for one in found] == [3, 4]


def test_an_invalid_file_fails_alone_with_a_reason(inbox: Inbox, live: Classifier, test_split: Examples) -> None:
    (inbox.folder / "a.csv").write_text("no,such,columns\n1,2,3\n")
    (inbox.folder / "b.csv").write_text(f"{HEADER}\nbad\n")
    (inbox.folder / "c.csv").symlink_to("/etc/hostname")
    (inbox.folder / "d.csv").write_text(table_of(test_split, 2))
    found = {delivery.name: delivery for delivery in empty(inbox, live)}
    assert [found[name].outcome for name in sorted(found)] == ["failed", "failed", "failed", "done"]
    assert found["a.csv"].folder.parent == inbox.failed
    assert str(report_of(found["a.csv"])["error"]).startswith("header: missing 784 column(s)")
    assert "no row could be scored" in str(report_of(found["b.csv"])["error"])
    assert (found["b.csv"].folder / "scored.rejects.csv").exists()
    assert report_of(found["c.csv"])["error"] == "a link; drop the file itself"
    assert describe_failures(list(found.values())).startswith("3 of 4 could not be scored: a.csv: header")


def test_special_files_fail_alone_and_names_may_contain_any_bytes(
    inbox: Inbox, live: Classifier, test_split: Examples
) -> None:
    """A name that is not UTF-8 used to stop all later files."""
    names = [b"bad\xff.csv", b"caf\xc3\xa9.csv", b"cafe\xcc\x81.csv", b"A.csv", b"a.csv", b"-rf.csv", b"two\nlines.csv"]
    for name in names:
        (inbox.folder / os.fsdecode(name)).write_text(table_of(test_split, 2))
    for pipe in ("0.csv", "z.csv"):
        os.mkfifo(inbox.folder / pipe)
    (inbox.folder / "loop.csv").symlink_to("loop.csv")
    found = {delivery.name: delivery for delivery in empty(inbox, live)}
    done = {name for name, delivery in found.items() if delivery.outcome == "done"}
    assert done == {"bad\\udcff.csv", "caf\u00e9.csv", "cafe\u0301.csv", "A.csv", "a.csv", "-rf.csv", "two\\nlines.csv"}
    assert {re.split("[;.]", found[name].error)[0] for name in found.keys() - done} == {"not a regular file", "a link"}
    for delivery in found.values():
        assert str(delivery).isprintable()
        assert report_of(delivery)["name"] == delivery.name
    assert not list(inbox.working.iterdir())


def test_an_unexpected_error_does_not_stop_other_files(inbox: Inbox, live: Classifier, test_split: Examples) -> None:
    """The file is attempted three times, as if its worker had died."""
    for name in ("a.csv", "b.csv"):
        (inbox.folder / name).write_text(table_of(test_split, 2))
    broken = dataclasses.replace(live, card=dataclasses.replace(live.card, calibration=cast(Any, None)))
    outcomes = [[delivery.outcome for delivery in empty(inbox, broken)] for _ in range(3)]
    assert outcomes == [["left", "left"], ["left", "left"], ["failed", "failed"]]
    (folder, _) = inbox.failed.iterdir()
    assert "AttributeError" in json.loads((folder / "report.json").read_bytes())["error"]


def test_a_run_takes_a_limited_number_of_files(inbox: Inbox) -> None:
    for name in "abcde":
        (inbox.folder / f"{name}.csv").write_text("")
    assert [path.name for path in find_work(inbox, 0, most=2)] == ["a.csv", "b.csv"]
    assert len(find_work(inbox, 0)) == 5


def test_inverted_images_fail_without_an_output(
    inbox: Inbox, live: Classifier, test_split: Examples, checker: InputChecker
) -> None:
    rows = to_table(test_split.ids, "test", test_split.labels, 255 - test_split.images, CONTRACT)
    pq.write_table(rows, inbox.folder / "inverted.parquet")
    (failed,) = empty(inbox, live, checker=checker)
    assert failed.outcome == "failed"
    assert "bright border" in failed.error
    assert not list(failed.folder.glob("scored.*"))


def test_files_still_being_written_are_skipped(inbox: Inbox, live: Classifier, test_split: Examples) -> None:
    """Files that grow, and files with a temporary name, also within a folder."""
    text = table_of(test_split, 5)
    for name in (".hidden.csv", "orders.csv.part", "orders.tmp"):
        (inbox.folder / name).write_text(text)
    (inbox.folder / "folder").mkdir()
    (inbox.folder / "folder" / "images.parquet.part").write_text("")
    growing = inbox.folder / "growing.csv"
    growing.write_text(text[:4000])
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.01):
            with growing.open("a") as file:
                file.write("1")

    writer = threading.Thread(target=write)
    writer.start()
    assert empty(inbox, live, settle=0.5) == []
    stop.set()
    writer.join()
    growing.write_text(text)
    (inbox.folder / "orders.csv.part").rename(inbox.folder / "orders.csv")
    assert [(one.name, one.rows) for one in empty(inbox, live)] == [("growing.csv", 5), ("orders.csv", 5)]


def test_a_claim_held_by_another_worker_is_skipped(inbox: Inbox, live: Classifier, test_split: Examples) -> None:
    (inbox.folder / "orders.csv").write_text(table_of(test_split, 2))
    (item,) = find_work(inbox, 0)
    with take(inbox, item) as claim:
        assert claim
        assert find_work(inbox, 0) == [claim]
        assert deliver(inbox, claim, live) is None
        assert deliver(inbox, item, live) is None, "the file has been moved"
    (delivery,) = empty(inbox, live)
    assert delivery.outcome == "done"


def test_an_empty_claim_of_a_dead_worker_is_removed(inbox: Inbox, live: Classifier) -> None:
    (inbox.working / "20260101T000000-abcdef-orders.csv" / "input").mkdir(parents=True)
    assert empty(inbox, live) == []
    assert not list(inbox.working.iterdir())


def test_a_file_that_kills_its_workers_eventually_fails(inbox: Inbox, live: Classifier, test_split: Examples) -> None:
    claim = inbox.working / "20260101T000000-abcdef-orders.csv"
    (claim / "input").mkdir(parents=True)
    (claim / "input" / "orders.csv").write_text(table_of(test_split, 2))
    note = {"model": live.tag, "claimed_at": "2026-01-01T00:00:00+00:00", "attempts": 3}
    (claim / "claim.json").write_text(json.dumps(note))
    (delivery,) = empty(inbox, live)
    assert (delivery.outcome, delivery.error) == ("failed", "its worker died 3 times")


def test_an_unusable_inbox_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such folder; create it, or set FASHION_INBOX_DIR to another one"):
        open_inbox(tmp_path / "nothing")
    (tmp_path / "working").write_text("")
    with pytest.raises(SettingsError, match=r"files cannot be moved in it: .*/working: the name already exists"):
        open_inbox(tmp_path)


def test_the_command_empties_an_inbox_once(
    inbox: Inbox, live: Classifier, test_split: Examples, capsys: pytest.CaptureFixture[str]
) -> None:
    from components.errors import InputError
    from fashion.cli.inbox import inbox as command

    command(inbox.folder, settle=0, max_reject_rate=1, as_json=False)
    assert capsys.readouterr().out == f"nothing to score in {inbox.folder}\n"
    (inbox.folder / "a.csv").write_text(table_of(test_split, 2))
    (inbox.folder / "b.csv").write_text("")
    with pytest.raises(InputError, match=r"1 of 2 could not be scored: b\.csv: found no header"):
        command(inbox.folder, settle=0, max_reject_rate=1, as_json=True)
    assert [one["outcome"] for one in json.loads(capsys.readouterr().out)] == ["done", "failed"]


def test_the_output_of_a_parquet_file_is_parquet(inbox: Inbox, live: Classifier, test_split: Examples) -> None:
    pq.write_table(
        pa.table({"pixels": pa.array([image.tobytes() for image in test_split.images[:9]], pa.binary(784))}),
        inbox.folder / "x.parquet",
    )
    (delivery,) = empty(inbox, live)
    assert len(pq.read_table(delivery.folder / "scored.parquet")) == 9


def test_names_may_be_as_long_as_the_file_system_allows(inbox: Inbox, live: Classifier, test_split: Examples) -> None:
    name = f"{'鞋' * 83}.csv"  # 253 bytes
    (inbox.folder / name).write_text(table_of(test_split, 3))
    (delivery,) = empty(inbox, live)
    assert (delivery.name, delivery.outcome, delivery.rows) == (name, "done", 3)


def test_a_claim_with_a_damaged_note_is_scored(inbox: Inbox, live: Classifier, test_split: Examples) -> None:
    for name, note in (("1-a.csv", '{"model": "x"}'), ("2-b.csv", "{")):
        (inbox.working / name / "input").mkdir(parents=True)
        (inbox.working / name / "input" / "in.csv").write_text(table_of(test_split, 3))
        (inbox.working / name / "claim.json").write_text(note)
    assert [delivery.outcome for delivery in empty(inbox, live)] == ["done", "done"]
