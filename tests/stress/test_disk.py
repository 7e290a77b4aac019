"""A full or read-only disk: one line with the path and what to do, before the work starts if possible."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from readings import PIXEL_COLUMNS

from components.contract import Dataset, ModelCard
from components.dataset.manifest import Examples
from components.errors import explain
from components.files import require_writable, write_whole
from components.registry import champion, store
from components.settings import CHECKOUT
from components.training.train import Trained

FULL = "the disk is full. Free some space, or choose another location"
READ_ONLY = "the file system is read-only. Mount it for writing, or choose another location"

# A 16 MB file system in the process's own namespace, without root privileges.
MOUNT = 'mount -t tmpfs -o size=16m tmpfs "$0" && exec "$@"'

TRIES = """
import json, os, shutil, subprocess, sys
from pathlib import Path

disk, data, bentoml, table = map(Path, sys.argv[1:])
os.environ["BENTOML_HOME"] = str(disk / "bentoml")
shutil.copytree(data, disk / "data")
shutil.copytree(bentoml, disk / "bentoml")

from components.audit.audit import audit
from components.dataset.ingest import ingest
from components.dataset.validate import validate
from components.errors import FashionError, explain
from components.evaluation.report import write_report
from components.inbox import open_inbox
from components.dataset.labels.adding import import_labels
from components.dataset.labels.inbox import empty_inbox
from components.dataset.manifest import current_dataset
from components.promotion.promote import promote
from components.registry.bento import build_bento
from components.registry.champion import load_model, live_move, rollback
from components.export.onnx import export_onnx
from components.registry.store import save_model
from components.registry.retention.pins import pin
from components.registry.retention.prune import prune
from components.scoring.job import run_job
from components.settings import Settings

settings = Settings(data_dir=disk / "data")
dataset, model = current_dataset(settings.datasets_dir), load_model()
shutil.rmtree(settings.validation_dir)
other, steps, messages = live_move().previous, [], {}
TRIES = {
    "ingest": lambda: ingest("sample", settings=Settings(data_dir=disk / "new")),
    "validate": lambda: validate(dataset, settings=settings),
    "label import": lambda: import_labels(table, settings=settings),
    "report": lambda: write_report(model, dataset, settings=settings),
    "export": lambda: export_onnx(model, dataset, disk / "exported" / "model.onnx"),
    "save": lambda: save_model(model.network, model.card),
    "bento": build_bento,
    "score": lambda: run_job(model, table, disk / "out.csv"),
    "score to Parquet": lambda: run_job(model, table, disk / "out.parquet"),
}
LOCKED = {
    "audit": lambda: audit(dataset, "quick", progress=lambda *step: steps.append(step), settings=settings),
    "promote": lambda: promote(other, "a test", force=True, settings=settings),
    "rollback": rollback,
    "pin": lambda: pin(other, "a test"),
    "prune": lambda: prune(0, settings=settings),
    "inbox": lambda: open_inbox(disk),
    "label inbox": lambda: empty_inbox(settings),
}

def attempt(name, action):
    try:
        action()
    except (OSError, FashionError) as error:
        messages[name] = explain(error) if isinstance(error, OSError) else str(error)

def fill(left):
    free = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(free.f_bavail * free.f_bsize - left))

for name, action in TRIES.items():
    fill(left=12_000)
    attempt(f"full: {name}", action)
    (disk / "filler").unlink()
subprocess.run(["mount", "-o", "remount,ro,bind", disk], check=True)
for name, action in {**TRIES, **LOCKED}.items():
    attempt(f"read-only: {name}", action)
print(json.dumps({**messages, "steps of the audit": len(steps)}))
"""


@pytest.fixture
def messages(
    dataset: Dataset, test_split: Examples, trained: Trained, card: ModelCard, bentoml_home: Path, tmp_path: Path
) -> dict[str, object]:
    """The message of each write operation on a full disk, then on a read-only disk."""
    for reason in ("first", "second"):
        champion.make_live(store.save_model(trained.network, card), reason)
    pixels = 255 - test_split.images[:20, ::-1]
    rows = [f"{row % 10},{','.join(map(str, image.ravel()))}" for row, image in enumerate(pixels)]
    table = tmp_path / "in.csv"
    table.write_text("\n".join([",".join(["label", *PIXEL_COLUMNS]), *rows * 4]) + "\n")
    disk = tmp_path / "disk"
    disk.mkdir()
    namespace = ["unshare", "--mount", "--map-root-user", "bash", "-c", MOUNT, str(disk)]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a file system of their own")
    arguments = [str(disk), str(dataset.path.parents[1]), str(bentoml_home), str(table)]
    command = [*namespace, sys.executable, "-c", TRIES, *arguments]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1].replace(str(disk), "DISK"))
    return found


@pytest.mark.slow
def test_every_write_operation_reports_the_path_and_what_to_do(messages: dict[str, object]) -> None:
    assert messages.pop("steps of the audit") == 0, "it does not train five networks first"
    assert len(messages) == 9 + 16
    for name, message in messages.items():
        assert "DISK" in str(message), name
        assert (FULL if name.startswith("full") else READ_ONLY) in str(message), name
        assert "\n" not in str(message)
        assert ".tmp:" not in str(message), "a name that nobody knows"


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "/a/b: the disk is full. Free some space, or choose another location"),
        (errno.EACCES, f"/a/b: permission denied. Give user {os.geteuid()} access, or choose another location"),
        (errno.ENAMETOOLONG, "/a/b: the name is too long. A name has at most 255 bytes, a path 4,095"),
        (errno.EMFILE, "/a/b: this process has too many open files. Raise the limit: ulimit -n"),
        (errno.EIO, "/a/b: the disk reports an input/output error. Check the disk and the system log"),
        (errno.EBUSY, "/a/b: Device or resource busy"),
    ],
)
def test_a_disk_error_is_one_line(number: int, message: str) -> None:
    assert explain(OSError(number, "", "/a/b")) == message


def test_an_error_without_errno_keeps_its_text() -> None:
    assert explain(OSError("two\nlines")) == "two lines"


def test_a_write_error_names_the_target_file(tmp_path: Path) -> None:
    """The error of a write names no file; the error of a rename names the temporary file."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder") as raised:
        write_whole(tmp_path / "folder", b"")
    assert explain(raised.value) == f"{tmp_path}/folder: a folder, expected a file. Check the path"


def test_checking_write_access_leaves_no_trace(tmp_path: Path) -> None:
    require_writable(tmp_path / "not" / "yet", tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError) as raised:
        require_writable(tmp_path / "file" / "folder")
    assert str(tmp_path / "file" / "folder") in explain(raised.value)
