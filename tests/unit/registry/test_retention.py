"""What a prune removes, and what it keeps."""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import bentoml
import pytest
from networks import contract_with, draw_records, embedding_of, make_network, write_records
from readings import PIXEL_COLUMNS

from components.catalogues.fashion_mnist import CONTRACT
from components.contract import SAMPLE, ModelCard, Validated, Verdict
from components.dataset.manifest import DatasetPart, Examples, Manifest, accept, dataset_of, part_file, write_manifest
from components.errors import InputError, ModelError, ModelNotFound, SettingsError
from components.model.mlp import MLP
from components.networks.embedder import kept_path
from components.networks.sources import Network, keep_network
from components.readers.folders.parts import TableReading
from components.registry import champion, store, verdicts
from components.registry.retention import prune as pruning
from components.registry.retention.pins import pin, pinned, unpin
from components.registry.retention.prune import Pruned, prune
from components.registry.retention.states import list_models
from components.scoring.job import run_job
from components.scoring.summary import Count
from components.settings import Settings
from fashion.cli import models as commands
from fashion.cli.scoring import load_scorer

DAY = 86_400


class Shelf:
    """A temporary store in which each model is newer than the one before."""

    def __init__(self, home: Path, settings: Settings, network: MLP, card: ModelCard) -> None:
        self.home, self.settings, self.network, self.card = home, settings, network, card
        self.saved = 0

    def save(self, dataset_version: str = "") -> str:
        self.saved += 1
        created = f"2026-01-01T00:00:{self.saved:02}.000+00:00"
        version = dataset_version or self.card.dataset_version
        card = dataclasses.replace(self.card, created_at=created, dataset_version=version)
        return store.save_model(self.network, card)

    def save_other(self) -> str:
        """Save a model with other weights of the same shapes."""
        network = MLP(self.network.config, CONTRACT)
        network.known = self.network.known
        return store.save_model(network, self.card)

    def save_and_promote(self) -> str:
        return champion.make_live(self.save(), "a test").tag

    def folder(self, tag: str) -> Path:
        return self.home / "models" / tag.replace(":", "/")

    def prune(self, keep: int = 0, grace: float = 0.0, dry_run: bool = False) -> Pruned:
        return prune(keep, dry_run, self.settings, grace)

    @property
    def tags(self) -> list[str]:
        return [one.tag for one in store.list_stored()]

    @property
    def latest(self) -> str:
        return str(bentoml.models.get(f"{store.NAME}:latest").tag)


@pytest.fixture
def shelf(bentoml_home: Path, settings: Settings, network: MLP, card: ModelCard) -> Shelf:
    return Shelf(bentoml_home, settings, network, card)


def age(path: Path, seconds: float) -> None:
    """Set the times of a file, or of a folder and its content, to `seconds` ago."""
    for item in (path, *path.rglob("*")):
        os.utime(item, (time.time() - seconds,) * 2)


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def everything_in(*folders: Path) -> dict[Path, bytes | None]:
    paths = [path for folder in folders for path in folder.rglob("*") if not path.name.endswith(".lock")]
    return {path: path.read_bytes() if path.is_file() else None for path in paths}


def removed(done: Pruned, what: str) -> list[str]:
    return [one.name for one in done.removed if one.what == what]


# --- models ---


def test_a_running_job_survives_the_prune_of_its_model_but_cannot_be_resumed(
    shelf: Shelf, test_split: Examples, tmp_path: Path
) -> None:
    old = shelf.save_and_promote()
    for _ in range(2):
        shelf.save_and_promote()
    table, output = tmp_path / "in.csv", tmp_path / "out.csv"
    lines = [",".join(map(str, image.ravel().tolist())) for image in test_split.images]
    table.write_text("\n".join([",".join(PIXEL_COLUMNS), *lines, "bad"]) + "\n")
    small = TableReading(64 << 10)
    model = champion.load_model(old)

    def pruned_meanwhile(count: Count, share: float | None) -> None:
        shelf.prune()

    with pytest.raises(InputError, match="cannot be read"):  # fails at the last row, after all parts
        run_job(model, table, output, reading=small, progress=pruned_meanwhile, max_reject_rate=0)
    assert old not in shelf.tags
    with pytest.raises(InputError, match=f"its unfinished job had another model, {old}"):
        run_job(champion.load_model(), table, output, reading=small, resume=True)
    with pytest.raises(ModelNotFound, match=f"{old}: not in the store; .* score without --resume"):
        load_scorer(old, resume=True)
    assert run_job(champion.load_model(), table, output, reading=small).count.scored == len(lines)


def test_the_newest_models_stay_and_the_others_are_removed_completely(shelf: Shelf) -> None:
    first, second, third, fourth = (shelf.save() for _ in range(4))
    sizes = sum(path.stat().st_size for tag in (first, second) for path in shelf.folder(tag).iterdir())
    done = shelf.prune(keep=2)
    assert removed(done, "model") == [second, first]
    assert done.bytes == sizes
    assert done.kept == {fourth: "one of the newest 2", third: "one of the newest 2"}
    assert shelf.tags == [third, fourth]
    assert not list((shelf.home / "fashion" / "staging").iterdir())
    assert [str(model.tag) for model in bentoml.models.list()] == sorted([third, fourth])


def test_bentoml_s_latest_points_to_a_model_that_stays(shelf: Shelf) -> None:
    live = shelf.save_and_promote()
    newer = shelf.save()
    assert shelf.latest == newer
    shelf.prune()
    assert shelf.latest == live
    assert (shelf.home / "models" / store.NAME / "latest").read_text() == live.split(":")[1]


def test_an_empty_store_has_no_latest(shelf: Shelf) -> None:
    shelf.save()
    shelf.prune()
    assert shelf.tags == []
    assert list((shelf.home / "models" / store.NAME).iterdir()) == []
    assert shelf.prune().removed == ()
    tag = shelf.save()
    assert shelf.latest == tag


def test_live_and_previous_models_stay(shelf: Shelf) -> None:
    first, second, third, fourth = (shelf.save_and_promote() for _ in range(4))
    champion.rollback()
    done = shelf.prune()
    assert done.kept == {
        fourth: "live before the last move",
        third: "live",
        second: "target of a rollback",
    }
    assert removed(done, "model") == [first]
    assert champion.rollback().tag == second


def test_a_pinned_model_stays_until_it_is_unpinned(shelf: Shelf) -> None:
    tag = shelf.save()
    pin(tag, "for the audit")
    assert shelf.prune().kept == {tag: "pinned: for the audit"}
    assert unpin(tag)
    assert not unpin(tag), "a second time changes nothing"
    assert pinned() == {}
    assert removed(shelf.prune(), "model") == [tag]


@pytest.mark.parametrize("tag", ["fashion-mlp:nothere1", "latest", "fashion-mlp:../../x"])
def test_only_stored_models_can_be_pinned(shelf: Shelf, tag: str) -> None:
    for act in (lambda: pin(tag, "a test"), lambda: unpin(tag)):
        with pytest.raises(ModelNotFound):
            act()
    assert pinned() == {}


def put_bento(home: Path, content: str | None) -> Path:
    path = home / "bentos" / "fashion" / "abcdefgh12345678" / "bento.yaml"
    path.parent.mkdir(parents=True)
    if content is not None:
        path.write_text(content)
    return path


def test_models_in_a_bento_stay(shelf: Shelf) -> None:
    first, second, third = (shelf.save() for _ in range(3))
    path = put_bento(
        shelf.home, f"name: fashion\nmodels:\n- tag: {first}\nservices:\n- name: x\n  models:\n  - {second}\n"
    )
    done = shelf.prune()
    assert done.kept == dict.fromkeys((second, first), "in the Bento fashion:abcdefgh12345678")
    assert removed(done, "model") == [third]
    shutil.rmtree(path.parent)
    assert removed(shelf.prune(), "model") == [second, first]


@pytest.mark.parametrize("content", [None, "", "{[", "- a list", "name: fashion", "models: 3", "\x00"])
def test_an_unreadable_bento_stops_the_prune(shelf: Shelf, content: str | None) -> None:
    shelf.save()
    path = put_bento(shelf.home, content)
    before = everything_in(shelf.home)
    with pytest.raises(ModelError, match=str(path)):
        shelf.prune()
    assert everything_in(shelf.home) == before


def lose_the_pointer(home: Path) -> None:
    (home / "live.json").write_text("{")
    (home / "history.jsonl").unlink()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lose_the_pointer, r"live\.json cannot be read"),
        (lambda home: (home / "history.jsonl").write_text("garbage\n"), r"history\.jsonl, line 1"),
        (lambda home: (home / "pins.json").write_text("[1]"), r"pins\.json: not a list of pinned models"),
    ],
    ids=["pointer", "history", "pins"],
)
def test_nothing_is_removed_if_the_needed_models_are_unknown(shelf: Shelf, harm: object, message: str) -> None:
    shelf.save_and_promote()
    shelf.save()
    assert callable(harm)
    harm(shelf.home / "fashion")
    before = everything_in(shelf.home)
    with pytest.raises(ModelError, match=message):
        shelf.prune()
    assert everything_in(shelf.home) == before


def test_the_previous_model_survives_a_lost_history(shelf: Shelf) -> None:
    first, second = shelf.save_and_promote(), shelf.save_and_promote()
    (shelf.home / "fashion" / "history.jsonl").unlink()
    assert shelf.prune().kept == {second: "live", first: "live before the last move"}


def test_recently_saved_or_evaluated_models_stay(shelf: Shelf) -> None:
    old, judged, new = (shelf.save() for _ in range(3))
    for tag in (old, judged):
        age(shelf.folder(tag), 2 * pruning.HOUR)
    verdicts.write_verdict(Verdict(judged, None, "2026-01-01T00:00:00+00:00", "", 0, (), {}))
    done = shelf.prune(grace=pruning.HOUR)
    assert done.kept == dict.fromkeys((new, judged), "written less than 1 h ago")
    assert removed(done, "model") == [old]


def test_a_dry_run_reports_the_same_and_removes_nothing(shelf: Shelf) -> None:
    shelf.save_and_promote()
    for _ in range(3):
        (shelf.settings.reports_dir / shelf.save().replace(":", "-")).mkdir(parents=True)
    put_datasets(shelf.settings)
    before = everything_in(shelf.home, shelf.settings.data_dir)
    planned = shelf.prune(keep=1, dry_run=True)
    assert everything_in(shelf.home, shelf.settings.data_dir) == before
    assert dataclasses.replace(shelf.prune(keep=1), dry_run=True) == planned
    assert {one.what for one in planned.removed} >= {"model", "report", "dataset", "part"}


def test_a_negative_keep_raises(shelf: Shelf) -> None:
    with pytest.raises(SettingsError, match="keep: found -1, expected 0 or more"):
        shelf.prune(keep=-1)


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json", "model.yaml"])
def test_damaged_models_are_reported_and_stay(shelf: Shelf, name: str) -> None:
    tag = shelf.save()
    (shelf.folder(tag) / name).write_bytes(b"")
    done = shelf.prune()
    assert done.kept[tag].startswith("damaged: ")
    assert name in done.kept[tag]
    assert shelf.folder(tag).is_dir()


def test_an_incomplete_folder_is_removed_once_it_is_old(shelf: Shelf) -> None:
    """`bentoml.models.create` was killed after copying the weights."""
    tag = f"{store.NAME}:halfwritten1"
    shelf.folder(tag).mkdir(parents=True)
    (shelf.folder(tag) / "weights.safetensors").write_bytes(b"half")
    assert shelf.prune(grace=pruning.HOUR).kept[tag] == "written less than 1 h ago"
    age(shelf.folder(tag), 2 * pruning.HOUR)
    assert removed(shelf.prune(grace=pruning.HOUR), "leftover") == [tag]
    assert not shelf.folder(tag).exists()


def test_a_folder_without_a_valid_tag_stays(shelf: Shelf) -> None:
    folder = shelf.home / "models" / store.NAME / "Some Folder"
    folder.mkdir(parents=True)
    assert "not an exact tag" in shelf.prune().kept[f"{store.NAME}:Some Folder"]
    assert folder.is_dir()


# --- concurrency ---


def test_models_promoted_or_pinned_after_the_plan_stay(shelf: Shelf) -> None:
    first, second, third = (shelf.save() for _ in range(3))
    plan = pruning._plan(0, 0.0)
    assert set(plan.removable) == {first, second, third}
    champion.make_live(first, "between")
    pin(second, "between")
    assert [one.name for one in pruning._withdraw(plan, 0.0, False)] == [third]
    assert plan.kept == {second: "pinned: between", first: "live"}
    assert champion.load_model().tag == first


def test_promoting_a_pruned_model_raises_and_changes_nothing(shelf: Shelf) -> None:
    live, other = shelf.save_and_promote(), shelf.save()
    shelf.prune()
    for act in (lambda: champion.make_live(other, "too late"), lambda: pin(other, "too late")):
        with pytest.raises(ModelNotFound):
            act()
    assert champion.load_model().tag == live


def test_concurrent_prunes_remove_nothing_twice(shelf: Shelf) -> None:
    tag = shelf.save()
    plan = pruning._plan(0, 0.0)
    assert removed(shelf.prune(), "model") == [tag]
    assert pruning._withdraw(plan, 0.0, False) == []


def test_the_next_prune_finishes_a_killed_one(shelf: Shelf) -> None:
    tag = shelf.save()
    [withdrawn] = pruning._withdraw(pruning._plan(0, 0.0), 0.0, False)
    assert store.list_stored() == []
    killed = withdrawn.path.rename(withdrawn.path.with_name(f".pruned.{dead_process()}-0a1b2c3d.tmp"))
    assert removed(shelf.prune(), "leftover") == [killed.name]
    assert not killed.exists()
    assert tag not in shelf.tags


# --- leftovers ---


def leftovers_of(shelf: Shelf, writer: int) -> list[Path]:
    """Create the files that killed saves, canaries, verdicts and ingests leave."""
    suffix = f"{writer}-0a1b2c3d.tmp"
    ours = shelf.home / "fashion"
    files = [
        ours / f".live.json.{suffix}",
        shelf.home / "models" / store.NAME / f".latest.{suffix}",
        shelf.folder(shelf.tags[0]) / f".verdict.json.{suffix}",
        shelf.settings.datasets_dir / "parts" / f".train-0.parquet.{suffix}",
        shelf.settings.reports_dir / "fashion-mlp-x" / f".index.html.{suffix}",
    ]
    folders = [ours / "staging" / f".{name}.{suffix}" for name in ("store", "canary")]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    for path in folders:
        (path / "models").mkdir(parents=True)
    return [*files, *folders]


def test_leftovers_of_killed_processes_are_removed(shelf: Shelf) -> None:
    live = shelf.save_and_promote()
    paths = leftovers_of(shelf, dead_process())
    assert shelf.prune(grace=pruning.HOUR).removed == (), "the writer may run in another container"
    for path in paths:
        age(path, 2 * pruning.HOUR)
    done = shelf.prune(grace=pruning.HOUR)
    assert sorted(removed(done, "leftover")) == sorted(path.name for path in paths)
    assert not any(path.exists() for path in paths)
    assert champion.load_model().tag == live


def test_temporary_files_of_a_running_process_stay_for_a_day(shelf: Shelf) -> None:
    shelf.save_and_promote()
    paths = leftovers_of(shelf, os.getpid())
    assert shelf.prune().removed == ()
    for path in paths:
        age(path, 2 * DAY)
    assert len(shelf.prune().removed) == len(paths)


def test_a_reused_process_id_does_not_protect_leftovers(shelf: Shelf) -> None:
    shelf.save_and_promote()
    [path, *_] = leftovers_of(shelf, os.getpid())
    age(path, DAY / 2)
    assert removed(shelf.prune(grace=pruning.HOUR), "leftover") == [path.name]


def test_hidden_files_of_the_user_stay(shelf: Shelf) -> None:
    shelf.save_and_promote()
    path = shelf.home / "fashion" / ".notes.tmp"
    path.write_text("mine")
    age(path, 2 * DAY)
    assert shelf.prune().removed == ()


def test_only_models_of_the_catalogue_in_use_are_listed_and_removed(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    fashion = shelf.save()
    shelf.card = dataclasses.replace(shelf.card, contract=dataclasses.replace(CONTRACT, name="my-shop"))
    first, second = shelf.save(), shelf.save()
    assert second.startswith("my-shop-mlp:")
    assert (shelf.tags, store.load_stored(second).contract.name) == ([fashion], "my-shop")
    monkeypatch.setenv("FASHION_CATALOGUE", "my-shop")
    assert shelf.tags == [first, second]
    shelf.prune(keep=1)
    assert shelf.tags == [second]
    shelf.prune(keep=0)
    assert (shelf.tags, list((shelf.home / "models" / "my-shop-mlp").iterdir())) == ([], [])
    monkeypatch.delenv("FASHION_CATALOGUE")
    assert shelf.tags == [fashion]


# --- reports, logs and indexes ---


@pytest.mark.parametrize("name", [lambda tag: tag.replace(":", "-"), lambda tag: tag.split(":")[1]])
def test_reports_logs_and_indexes_are_removed_with_their_model(shelf: Shelf, name: Callable[[str], str]) -> None:
    """Older log names have only the version."""
    gone, stays = shelf.save(), shelf.save()
    paths = {}
    for tag in (gone, stays):
        report = shelf.settings.reports_dir / tag.replace(":", "-")
        report.mkdir(parents=True)
        (report / "index.html").write_text("a report")
        log = shelf.home / "fashion" / "canary" / f"{name(tag)}.log"
        log.parent.mkdir(exist_ok=True)
        log.write_text("a log")
        index = shelf.settings.neighbours_dir / f"{tag.replace(':', '-')}.arrow"
        index.parent.mkdir(exist_ok=True)
        index.write_bytes(b"an index")
        paths[tag] = [report, log, index]
    other = shelf.settings.reports_dir / "of-a-person"
    other.mkdir()
    done = shelf.prune(keep=1)
    assert [removed(done, what) for what in ("report", "canary log", "neighbours")] == [[gone]] * 3
    assert not any(path.exists() for path in paths[gone])
    assert all(path.exists() for path in (*paths[stays], other))


# --- datasets ---


def put_dataset(settings: Settings, *parts: str, source: str = "fashion-mnist") -> str:
    """Write a manifest with dummy parts and Data Docs, and make it current."""
    folder = settings.datasets_dir
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    hashes = [name * 64 for name in parts]  # each a hex digit
    listed = tuple(DatasetPart(part_file("train", sha256), "train", 1, sha256, sha256, {}) for sha256 in hashes)
    for part in listed:
        (folder / part.file).write_bytes(b"rows")
    version = write_manifest(folder, Manifest(source, "MIT", listed)).version
    docs = settings.validation_dir / f"{version}-0a1b2c3d"
    docs.mkdir(parents=True, exist_ok=True)
    (docs / "index.html").write_text("docs")
    return version


def validate(settings: Settings, version: str) -> None:
    dataset = dataset_of(settings.datasets_dir, version)
    accept(Validated(dataset, 1, settings.validation_dir, "2026-01-01T00:00:00+00:00"))


def put_datasets(settings: Settings) -> tuple[str, str, str]:
    """Write an old dataset, an accepted one, and a newer current one that shares parts."""
    old, accepted = put_dataset(settings, "a", "b"), put_dataset(settings, "b", "c")
    validate(settings, old)
    validate(settings, accepted)
    return old, accepted, put_dataset(settings, "c", "d")


def test_an_unreferenced_dataset_is_removed_with_its_own_files(shelf: Shelf) -> None:
    old, accepted, current = put_datasets(shelf.settings)
    sample = put_dataset(shelf.settings, "e", source=SAMPLE)
    done = shelf.prune()
    assert removed(done, "dataset") == [old]
    assert removed(done, "receipt") == [old]
    assert removed(done, "part") == [f"train-{'a' * 16}.parquet"]
    assert removed(done, "Data Docs") == [f"{old}-0a1b2c3d"]
    folder = shelf.settings.datasets_dir
    assert {path.stem for path in folder.glob("*.json")} == {accepted, current, sample}
    assert {path.name[6] for path in (folder / "parts").iterdir()} == {"b", "c", "d", "e"}
    assert shelf.prune().removed == ()


def test_a_dataset_stays_as_long_as_its_model(shelf: Shelf) -> None:
    old, _, _ = put_datasets(shelf.settings)
    shelf.save(dataset_version=old)
    assert removed(shelf.prune(keep=1), "dataset") == []
    assert removed(shelf.prune(keep=0), "dataset") == [old]


def test_a_network_that_no_dataset_uses_is_removed(shelf: Shelf) -> None:
    shelf.save_and_promote()
    folder, networks = shelf.settings.datasets_dir, shelf.settings.datasets_dir / "networks"
    used, unused = (Network(embedding_of(make_network(seed)), make_network(seed)) for seed in range(2))
    for network in (used, unused):
        keep_network(network, folder)
    contract = contract_with(used.embedding)
    write_records(folder, draw_records(contract, 4), contract)
    assert removed(shelf.prune(grace=pruning.HOUR), "network") == [], "it may be for a dataset that is being written"
    assert removed(shelf.prune(), "network") == [kept_path(unused.embedding, networks.parent).name]
    assert [path.name for path in networks.iterdir()] == [kept_path(used.embedding, folder).name]


def test_a_recently_validated_dataset_stays(shelf: Shelf) -> None:
    """A training run may still read it after another one became current."""
    old, accepted, _ = put_datasets(shelf.settings)
    grace = pruning.HOUR
    age(shelf.settings.data_dir, 3 * grace)
    validate(shelf.settings, old)
    validate(shelf.settings, accepted)
    assert removed(shelf.prune(grace=grace), "dataset") == []
    age(shelf.settings.datasets_dir, 3 * grace)
    assert removed(shelf.prune(grace=grace), "dataset") == [old]


@pytest.mark.parametrize("harm", ["a model", "a pointer", "a manifest"])
def test_all_datasets_stay_if_the_needed_ones_are_unknown(shelf: Shelf, harm: str) -> None:
    old, accepted, _ = put_datasets(shelf.settings)
    tag = shelf.save(dataset_version=old)
    folder = shelf.settings.datasets_dir
    if harm == "a model":
        (shelf.folder(tag) / "model.json").unlink()
    elif harm == "a pointer":
        (folder / "current").write_text("garbage")
    else:
        (folder / f"{accepted}.json").write_text("{}")
    before = everything_in(shelf.settings.data_dir)
    done = shelf.prune()
    assert "cannot determine which are needed" in done.kept["every dataset"]
    assert everything_in(shelf.settings.data_dir) == before


def test_exports_and_archives_stay(shelf: Shelf) -> None:
    for folder in (shelf.settings.exports_dir, shelf.settings.raw_dir, shelf.settings.sample_dir):
        folder.mkdir(parents=True)
        (folder / "fashion-mlp-abcdefgh.float32.onnx").write_bytes(b"mine")
        age(folder, 2 * DAY)
    assert shelf.prune().removed == ()


# --- states ---


def test_each_model_has_a_state(shelf: Shelf) -> None:
    previous, live, refused, candidate = (*(shelf.save_and_promote() for _ in range(2)), shelf.save(), shelf.save())
    damaged = shelf.save()
    (shelf.folder(damaged) / "model.json").write_text("{}")
    check = {"name": "accuracy", "passed": False, "measured": "0", "bound": "1", "told": "worse"}
    verdict = {
        "challenger": refused,
        "champion": live,
        "when": "2026-01-01T00:00:00+00:00",
        "split_version": "",
        "rows": 0,
        "bounds": {},
    }
    (shelf.folder(refused) / "verdict.json").write_text(json.dumps({**verdict, "checks": [check]}))
    pin(candidate, "a test")
    listing = list_models()
    assert listing.problems == ()
    assert {one.tag: (one.state, one.verdict, one.pinned) for one in listing.models} == {
        previous: ("previous", "", None),
        live: ("live", "", None),
        refused: ("rejected", "rejected", None),
        candidate: ("candidate", "", "a test"),
        damaged: ("damaged", "", None),
    }


def flip(path: Path) -> None:
    """Change one byte of the weights."""
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


def link(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


HARMS: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "a flipped byte": (lambda weights, other: flip(weights), "has the SHA-256"),
    "no weights": (lambda weights, other: weights.unlink(), r"weights\.safetensors cannot be read: No such file"),
    "cut off": (lambda weights, other: weights.write_bytes(weights.read_bytes()[:-4]), "has [0-9,]+ bytes, expected"),
    "the weights of another": (lambda weights, other: weights.write_bytes(other.read_bytes()), "has the SHA-256"),
    "a link": (link, "unknown file 'weights"),
    "the files of another": (lambda weights, other: replace_files(weights.parent, other.parent), "files were replaced"),
}


def hash_of(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def replace_files(one: Path, other: Path) -> None:
    for name in ("weights.safetensors", "model.json", "model.yaml"):
        (one / name).write_bytes((other / name).read_bytes().replace(other.name.encode(), one.name.encode()))


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("pointed", ["live", "previous"])
def test_a_damaged_live_or_previous_model_is_listed_as_damaged(
    shelf: Shelf, harm: str, pointed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    act, message = HARMS[harm]
    tags = {"previous": shelf.save_and_promote(), "live": shelf.save_and_promote()}
    tag, other = tags[pointed], shelf.save_other()
    act(shelf.folder(tag) / "weights.safetensors", shelf.folder(other) / "weights.safetensors")
    (found,) = (one for one in list_models().models if one.tag == tag)
    assert (found.state, found.pointed) == ("damaged", pointed)
    assert re.search(message, found.problem)
    commands.models()
    line = next(line for line in capsys.readouterr().out.splitlines() if tag in line)
    assert line.startswith(f"{pointed}, damaged")
    assert "not judged" not in line
    commands.models(as_json=True)
    (row,) = (row for row in json.loads(capsys.readouterr().out) if row["tag"] == tag)
    assert (row["state"], row[pointed], row["problem"]) == ("damaged", True, found.problem)
    commands.history()
    assert ("the live model is damaged" in capsys.readouterr().err) == (pointed == "live")


@pytest.mark.parametrize("harm", ["no weights", "cut off", "a link"])
def test_other_models_are_checked_except_the_content_of_the_weights(shelf: Shelf, harm: str) -> None:
    act, message = HARMS[harm]
    tag, other = shelf.save(), shelf.save()
    act(shelf.folder(tag) / "weights.safetensors", shelf.folder(other) / "weights.safetensors")
    states = {one.tag: (one.state, one.problem) for one in list_models().models}
    assert states[other] == ("candidate", "")
    assert states[tag][0] == "damaged"
    assert re.search(message, states[tag][1])


def test_non_finite_weights_are_damage_even_with_a_valid_hash(shelf: Shelf) -> None:
    """The hashes in card and pointer are rewritten, too; the values reveal it."""
    tag = shelf.save_and_promote()
    folder, live = shelf.folder(tag), shelf.home / "fashion" / "live.json"
    before = [(folder / name).read_bytes() for name in ("weights.safetensors", "model.json")]
    weights = before[0][:-4] + b"\x00\x00\xc0\x7f"
    card = before[1].replace(hash_of(before[0]), hash_of(weights))
    (folder / "weights.safetensors").write_bytes(weights)
    (folder / "model.json").write_bytes(card)
    for path in (folder / "model.yaml", live):
        path.write_bytes(path.read_bytes().replace(hash_of(before[1]), hash_of(card)))
    (found,) = list_models().models
    assert found.state == "damaged"
    assert "holds values that are not finite" in found.problem


def test_unreadable_files_hide_no_model(shelf: Shelf) -> None:
    first, second = shelf.save_and_promote(), shelf.save_and_promote()
    (shelf.home / "fashion" / "history.jsonl").write_text("garbage\n")
    (shelf.home / "fashion" / "pins.json").write_text("garbage")
    (shelf.folder(first) / "verdict.json").write_text("garbage")
    listing = list_models()
    assert [(one.tag, one.state) for one in listing.models] == [(first, "candidate"), (second, "live")]
    assert ["history.jsonl" in listing.problems[0], "pins.json" in listing.problems[1]] == [True, True]
    assert "verdict.json" in listing.problems[2]


def test_a_missing_live_model_is_reported(shelf: Shelf) -> None:
    tag = shelf.save_and_promote()
    shutil.rmtree(shelf.folder(tag))
    assert list_models().problems == (f"{tag} is live, but not in the store",)
    with pytest.raises(ModelNotFound):
        champion.load_model()
