"""State read from disk is validated: damaged state raises a one-line error that names it, and no other exception."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from safetensors.torch import load, save
from trainings import QUICK

from components.contract import SAMPLE, Dataset, ModelCard, Validated
from components.dataset.archives import open_archives, write_sample
from components.dataset.ingest import ingest
from components.dataset.manifest import (
    accept,
    check_receipt,
    current_dataset,
    dataset_of,
    digest,
    read_manifest,
    read_split,
    receipt_path,
)
from components.errors import DatasetError, FashionError, InputError, ModelError
from components.model.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from components.model.mlp import MLP
from components.promotion.bounds import GateBounds
from components.promotion.gate import verdict_of
from components.readers.folders.parts import InputPart, TableReading
from components.registry import champion, store
from components.registry.retention.pins import pin, pinned
from components.registry.verdicts import encode_verdict, read_verdict
from components.scoring.claims import hold
from components.scoring.summary import Count
from components.scoring.work import Job, Result, find_done, name_part
from components.training.resume import read_state
from components.training.sweeps.candidates import Candidate
from components.training.sweeps.kept import keep_trained, read_trained
from components.training.train import Trained


@dataclass(frozen=True)
class Kept:
    """A kind of state file in an otherwise intact environment."""

    name: str  # the name that an error must contain
    content: bytes  # as the current code writes it
    read: Callable[[bytes], object]  # write the content with matching hashes, and read it


Maker = Callable[..., Kept]
MAKERS: dict[str, Maker] = {}


def state_file(maker: Maker) -> Maker:
    MAKERS[maker.__name__] = maker
    return maker


@dataclass
class Place:
    """Intact state of each kind."""

    folder: Path
    home: Path
    dataset: Dataset
    network: MLP
    card: ModelCard
    trained: Trained

    @property
    def tag(self) -> str:
        return store.save_model(self.network, self.card)

    def model_folder(self, tag: str) -> Path:
        return self.home / "models" / tag.replace(":", "/")


@pytest.fixture
def place(tmp_path: Path, bentoml_home: Path, network: MLP, card: ModelCard, trained: Trained, archives: Path) -> Place:
    from components.settings import Settings

    settings = Settings(data_dir=tmp_path / "data")
    return Place(tmp_path, bentoml_home, ingest(str(archives), settings=settings).dataset, network, card, trained)


@state_file
def manifest(place: Place) -> Kept:
    def read(content: bytes) -> object:
        path = place.dataset.path.with_name(f"{digest(content)}.json")
        path.write_bytes(content)
        return read_split(dataset_of(path.parent, path.stem), "train")

    return Kept(".json", place.dataset.path.read_bytes(), read)


@state_file
def receipt(place: Place) -> Kept:
    accept(Validated(place.dataset, 46, place.folder / "docs", "2026-11-21T00:00:00+00:00"))
    path = receipt_path(place.dataset)
    return Kept(
        place.dataset.version, path.read_bytes(), lambda content: put(path, content, check_receipt, place.dataset)
    )


@state_file
def pointer(place: Place) -> Kept:
    path = place.dataset.path.with_name(f"current-{SAMPLE}")
    return Kept(path.name, path.read_bytes(), lambda content: put(path, content, current_dataset, path.parent))


@state_file
def live(place: Place) -> Kept:
    champion.make_live(place.tag, "a test")
    path = place.home / "fashion" / "live.json"
    path.with_name("history.jsonl").unlink()
    return Kept(path.name, path.read_bytes(), lambda content: put(path, content, champion.live_move))


@state_file
def history(place: Place) -> Kept:
    champion.make_live(place.tag, "a test")
    path = place.home / "fashion" / "history.jsonl"
    content = path.read_bytes().strip()
    return Kept(path.name, content, lambda content: put(path, content.replace(b"\n", b" ") + b"\n", champion.history))


@state_file
def pins(place: Place) -> Kept:
    pin(place.tag, "a test")
    path = place.home / "fashion" / "pins.json"
    return Kept(path.name, path.read_bytes(), lambda content: put(path, content, pinned))


@state_file
def verdict(place: Place) -> Kept:
    tag = place.tag
    path = place.model_folder(tag) / "verdict.json"
    content = encode_verdict(verdict_of(tag, None, [], GateBounds()))
    return Kept(path.name, content, lambda content: put(path, content, read_verdict, tag))


@state_file
def model_card(place: Place) -> Kept:
    tag = place.tag
    path = place.model_folder(tag) / "model.json"
    before = path.read_bytes()
    described = (path.with_name("model.yaml")).read_text()

    def read(content: bytes) -> object:
        fitting = described.replace(hashlib.sha256(before).hexdigest(), hashlib.sha256(content).hexdigest())
        path.with_name("model.yaml").write_text(fitting)
        return put(path, content, store.describe_stored, tag)

    return Kept(path.name, before, read)


@state_file
def checkpoint(place: Place) -> Kept:
    path = write_checkpoint(place.folder, place.network, place.card).path
    weights = load(path.read_bytes())

    def read(content: bytes) -> object:
        whole = save(weights, metadata={"card": content.decode("utf-8", "replace")})
        path.write_bytes(whole)
        return read_checkpoint(Checkpoint(path, hashlib.sha256(whole).hexdigest()))

    return Kept(path.name, json.dumps(card_of(path)).encode(), read)


def card_of(path: Path) -> Any:
    size = int.from_bytes(path.read_bytes()[:8], "little")
    return json.loads(json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]["card"])


@state_file
def sweep(place: Place) -> Kept:
    candidate, path = Candidate("quick", QUICK, place.dataset), place.folder / "kept.safetensors"
    keep_trained(path, place.trained)
    size = int.from_bytes(path.read_bytes()[:8], "little")
    facts = json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]["facts"]
    tensors = load(path.read_bytes())

    def read(content: bytes) -> object:
        path.write_bytes(save(tensors, metadata={"facts": content.decode("utf-8", "replace")}))
        return read_trained(path, candidate)

    return Kept(path.name, facts.encode(), read)


@state_file
def unfinished_training(place: Place) -> Kept:
    path = place.folder / "unfinished-0"

    def read(content: bytes) -> object:
        packed = save({}, metadata={"facts": content.decode("utf-8", "replace")})
        path.write_bytes(hashlib.sha256(packed).hexdigest().encode() + b"\n" + packed)
        return read_state(path)

    return Kept(path.name, b'{"phase": 0}', read)


@state_file
def declaration(place: Place) -> Kept:
    folder = write_sample(place.folder / "archives", 20, 10)
    path = folder / "source.json"
    return Kept(path.name, path.read_bytes(), lambda content: put(path, content, open_archives, folder))


def put(path: Path, content: bytes, read: Callable[..., object], *arguments: object) -> object:
    path.write_bytes(content)
    return read(*arguments)


# Content that is invalid for every kind.
NONSENSE = {
    "empty": b"",
    "spaces": b"  \n",
    "not UTF-8": b'{"source": "\xff\xfe"}',
    "UTF-16": "{}".encode("utf-16"),
    "torn": b'{"source": "fashion-mnist", "licen',
    "text": b'"text"',
    "a number": b"1",
    "null": b"null",
    "a list": b"[]",
    "no field": b"{}",
    "nested": b"[" * 100_000 + b"]" * 100_000,
    "nested objects": b'{"a":' * 100_000,
    "a long number": b'{"rows": ' + b"9" * 5000 + b"}",
    "NaN": b'{"rows": NaN}',
    "a NUL": b"\0" * 20,
}
MAY_BE_EMPTY = {("pins", "no field")}  # no model is pinned
ANY_FIELDS = {"unfinished_training"}  # checked when a training resumes


@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_written_is_read(kind: str, place: Place) -> None:
    kept = MAKERS[kind](place)
    assert kept.read(kept.content)


@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.parametrize("kind", sorted(MAKERS.keys() - ANY_FIELDS))
def test_invalid_content_raises_an_error_that_names_the_file(kind: str, nonsense: str, place: Place) -> None:
    kept = MAKERS[kind](place)
    if (kind, nonsense) in MAY_BE_EMPTY:
        return
    with pytest.raises(FashionError) as raised:
        kept.read(NONSENSE[nonsense])
    message = str(raised.value)
    assert kept.name in message
    assert "\n" not in message
    assert len(message) < 1000


ODD: tuple[object, ...] = (None, True, -1, 10**30, 1.5, "", "../../outside", "a\nb", [], [None], {}, {"a": 1})


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each field of a document; for a list, those of its first item."""
    if path:
        yield path
    children = (
        value.items() if isinstance(value, dict) else list(enumerate(value))[:1] if isinstance(value, list) else []
    )
    for key, child in children:
        yield from paths_of(child, (*path, key))


def changed(document: Any, path: tuple[Any, ...], value: object) -> Any:
    key, *rest = path
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[key] = changed(copy[key], tuple(rest), value) if rest else value
    return copy


def odd_documents(document: Any) -> Iterator[bytes]:
    """Yield documents with a field changed, missing, duplicated, non-finite or unknown."""
    for path in paths_of(document):
        for value in ODD:
            yield json.dumps(changed(document, path, value)).encode()
        for number in ("NaN", "-Infinity", "1e999"):
            yield json.dumps(changed(document, path, "HERE")).replace('"HERE"', number).encode()
    for name in document:
        yield json.dumps({key: value for key, value in document.items() if key != name}).encode()
        yield json.dumps(document).replace("{", f'{{"{name}": 1, ', 1).encode()
    yield json.dumps({**document, "unknown": 1}).encode()


@pytest.mark.parametrize("kind", sorted(MAKERS.keys() - {"pointer", *ANY_FIELDS}))
def test_an_invalid_field_raises_no_error_except_one_that_names_the_file(kind: str, place: Place) -> None:
    kept = MAKERS[kind](place)
    outcomes = [error_of(kept, content) for content in odd_documents(json.loads(kept.content))]
    errors = [one for one in outcomes if one is not None]
    assert len(errors) > len(outcomes) / 3
    parts = f"{kept.name.rpartition('/')[0]}/parts/"  # a manifest without its contract may not fit its parts
    assert [one for one in errors if not (kept.name in one or parts in one) or "\n" in one or len(one) > 1000] == []


def error_of(kept: Kept, content: bytes) -> str | None:
    try:
        kept.read(content)
    except FashionError as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", ["manifest", "live", "history", "model_card", "checkpoint", "sweep"])
@pytest.mark.parametrize("harm", ["a field left out", "a field given twice", "an unknown field"])
def test_missing_duplicate_and_unknown_fields_are_refused(kind: str, harm: str, place: Place) -> None:
    kept = MAKERS[kind](place)
    document = json.loads(kept.content)
    name = next(field for field in document if field != "contract")  # which older manifests lack
    if harm == "a field left out":
        content = json.dumps({key: value for key, value in document.items() if key != name})
    elif harm == "a field given twice":
        content = json.dumps(document).replace("{", f'{{"{name}": {json.dumps(document[name])}, ', 1)
    else:
        content = json.dumps({**document, "unknown": 1})
    with pytest.raises(FashionError, match="unknown: " if "unknown" in harm else name):
        kept.read(content.encode())


# --- scoring: a stopped job ---


def job_in(folder: Path) -> Job:
    output = folder / "out.csv"
    rejects = folder / "out.rejects.csv"
    return Job(
        "in.csv", str(output), str(rejects), "fashion-mlp:abcdefgh", TableReading(), "", 1, "2026-11-21T00:00:00Z"
    )


def test_a_stopped_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    with pytest.raises(KeyboardInterrupt), hold(job, resume=False):
        raise KeyboardInterrupt
    with hold(job, resume=True) as again:
        assert again == job


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_a_damaged_job_is_refused_and_a_damaged_part_is_scored_again(tmp_path: Path, nonsense: str) -> None:
    job, part = job_in(tmp_path), InputPart(0, "in.csv", 1, 0, 1)
    job.folder.mkdir()
    (job.folder / "job.json").write_bytes(NONSENSE[nonsense])
    with pytest.raises(InputError, match=r"its unfinished job cannot be read \(.*job\.json"), hold(job, resume=True):
        pass
    name_part(job, part).with_suffix(".json").write_bytes(NONSENSE[nonsense])
    assert find_done(job, part) is None


def test_the_result_of_a_part_can_name_only_its_own_files(tmp_path: Path) -> None:
    job, part = job_in(tmp_path), InputPart(0, "in.csv", 1, 0, 1)
    job.folder.mkdir()
    path = name_part(job, part)
    for place in (path.with_suffix(".part"), path.with_suffix(".rejects"), tmp_path / "outside"):
        place.write_bytes(b"rows")
    sha256 = hashlib.sha256(b"rows").hexdigest()
    own = Result(0, Count(), f"{path.name}.part", f"{path.name}.rejects", (sha256, sha256))
    for result, found in ((own, own), (replace(own, scored="../outside"), None)):
        path.with_suffix(".json").write_text(json.dumps(asdict(result)))
        assert find_done(job, part) == found


# --- a dataset stays in its folder ---


def outside(place: Place) -> Path:
    """Copy an intact part to a file next to the datasets folder."""
    part = read_manifest(place.dataset).of("train")[0]
    path = place.dataset.path.parents[1] / "outside.parquet"
    path.write_bytes((place.dataset.path.parent / part.file).read_bytes())
    return path


@pytest.mark.parametrize("how", ["above", "absolute", "another name"])
def test_a_manifest_cannot_name_files_outside_its_folder(place: Place, how: str) -> None:
    path = outside(place)
    named = {"above": "../outside.parquet", "absolute": str(path), "another name": "parts/../../outside.parquet"}[how]
    document = json.loads(place.dataset.path.read_bytes())
    content = json.dumps(changed(document, ("parts", 0, "file"), named)).encode()
    with pytest.raises(
        DatasetError, match=r"\.json: parts\.0\.file: found .*outside\.parquet', expected 'parts/train-"
    ):
        manifest(place).read(content)


@pytest.mark.parametrize("what", ["part", "folder"])
def test_a_part_cannot_be_a_link(place: Place, what: str) -> None:
    part = place.dataset.path.parent / read_manifest(place.dataset).of("train")[0].file
    linked = part if what == "part" else part.parent
    linked.rename(place.folder / "elsewhere")
    linked.symlink_to(place.folder / "elsewhere")
    with pytest.raises(DatasetError, match=rf"{part.name}: a symbolic link, expected the file itself"):
        read_split(place.dataset, "train")


def test_the_data_folder_itself_can_be_a_link(place: Place) -> None:
    (place.folder / "linked").symlink_to(place.folder / "data")
    folder = place.folder / "linked" / "datasets"
    assert len(read_split(dataset_of(folder, place.dataset.version), "train").ids) == 600


# --- a model's card and folder ---


def with_test(card: ModelCard, **fields: Any) -> ModelCard:
    return replace(card, test=replace(card.test, **fields))


CARDS: dict[str, Callable[[ModelCard], ModelCard]] = {
    "test.accuracy": lambda card: with_test(card, accuracy=1.5),
    "test.loss": lambda card: with_test(card, loss=-0.1),
    "test.rows": lambda card: with_test(card, rows=-1),
    "test.classes": lambda card: with_test(card, classes=card.test.classes[::-1]),
    "test.confusion": lambda card: with_test(card, confusion=card.test.confusion[1:]),
    "test.split": lambda card: replace(card, test=card.train),
    "calibration.temperature": lambda card: replace(card, calibration=replace(card.calibration, temperature=0.0)),
    "calibration.thresholds": lambda card: replace(card, calibration=replace(card.calibration, thresholds=(0.5,) * 9)),
    "train.classes: expected one of each": lambda card: replace(
        card, contract=replace(card.contract, classes=(*card.classes, "Hat"))
    ),
    "created_at": lambda card: replace(card, created_at="yesterday"),
    "best_epoch": lambda card: replace(card, best_epoch=99),
    "probes": lambda card: replace(card, probes=(replace(card.probes[0], probabilities=(1.0,)), *card.probes[1:])),
    "hidden": lambda card: replace(card, model={**card.model, "hidden": ["a"]}),
    "model": lambda card: replace(card, model={**card.model, "dropout": 7}),
}


@pytest.mark.parametrize("named", CARDS)
def test_an_invalid_card_is_refused_even_with_a_matching_hash(place: Place, named: str) -> None:
    kept = model_card(place)
    wrong = CARDS[named](replace(place.card, weights_sha256=json.loads(kept.content)["weights_sha256"]))
    with pytest.raises(ModelError, match=rf"model\.json.*{named}"):
        kept.read(orjson.dumps(wrong))


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999", b"null"])
def test_a_non_finite_accuracy_is_refused_even_with_a_matching_hash(place: Place, number: bytes) -> None:
    kept = model_card(place)
    document = changed(json.loads(kept.content), ("test", "accuracy"), "HERE")
    with pytest.raises(ModelError, match=r"model\.json"):
        kept.read(json.dumps(document).encode().replace(b'"HERE"', number))


@pytest.mark.parametrize("name", ["", "weights.safetensors", "model.json", "model.yaml", "verdict.json", "README.md"])
def test_a_model_cannot_contain_links(place: Place, name: str) -> None:
    tag = place.tag
    path = place.model_folder(tag) / name
    (place.folder / "elsewhere").mkdir()
    target = place.folder / "elsewhere" / "it"
    path.rename(target) if path.exists() else target.write_text("{}")
    path.symlink_to(target)
    with pytest.raises(
        ModelError, match="symbolic link" if not name else rf"unknown file '{name}'.* each a regular file"
    ):
        store.load_stored(tag)
    assert [(one.tag, one.card) for one in store.list_stored()] == [(tag, None)]


def test_a_verdict_on_another_model_is_refused(place: Place) -> None:
    one, other = place.tag, place.tag
    (place.model_folder(one) / "verdict.json").write_bytes(encode_verdict(verdict_of(other, None, [], GateBounds())))
    with pytest.raises(ModelError, match=rf"{one}: verdict\.json: verdict on '{other}', expected '{one}'"):
        read_verdict(one)
