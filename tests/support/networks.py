"""A tiny frozen network, and what a catalogue with one needs in tests."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper
from photos import write_photos

from components.contract import SPLITS, DataContract, Dataset, Embedding, Images, ImageSpec, Validated
from components.dataset.ingest import ingest
from components.dataset.manifest import DatasetPart, Manifest, content_hash, part_file, to_table, write_manifest
from components.dataset.own.start import StartOptions
from components.dataset.validate import validate
from components.evaluation.card import write_card
from components.model.classifier import Classifier
from components.networks.embedder import remember
from components.networks.sources import Network
from components.registry import store
from components.settings import Settings
from components.training.presets import configure
from components.training.train import train

SIDE, CELLS, SIZE = 32, 4, 48  # pixels; means per side; values of a vector: 4 x 4 means of 3 channels


def make_network(seed: int = 0) -> bytes:
    """An ONNX network: uint8 (n, 32, 32, 3) -> float32 (n, 48), the means over a grid, a little shifted by `seed`."""
    nodes = [
        helper.make_node("Cast", ["photos"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["levels"], ["channels_first"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["channels_first"], ["means"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["means"], ["flat"], axis=1),
        helper.make_node("Add", ["flat", "shift"], ["shifted"]),
        helper.make_node("Div", ["shifted", "white"], ["vector"]),
    ]
    taken = helper.make_tensor_value_info("photos", TensorProto.UINT8, ["n", SIDE, SIDE, 3])
    made = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["n", SIZE])
    constants = {"shift": np.float32(1 + seed), "white": np.float32(255)}
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "means", [taken], [made], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def write_network(path: Path, seed: int = 0) -> Path:
    """Write such a network to a file."""
    path.write_bytes(make_network(seed))
    return path


def embedding_of(content: bytes, name: str = "tiny.onnx") -> Embedding:
    return Embedding(name, hashlib.sha256(content).hexdigest(), SIZE, SIDE, SIZE)


def kept_network(folder: Path, seed: int = 0) -> Network:
    """A network whose file this process finds in `folder`."""
    network = Network(embedding_of(make_network(seed)), make_network(seed))
    remember(write_network(folder / f"tiny{seed}.onnx", seed), network.embedding)
    return network


def contract_with(embedding: Embedding, classes: tuple[str, ...] = ("hat", "shoe")) -> DataContract:
    return DataContract("shop", classes, ImageSpec(16, 16, 3), "embedding", embedding=embedding)


def draw_records(contract: DataContract, count: int, seed: int = 0) -> Images:
    """Random images, (count,): pictures and vectors."""
    generator = np.random.default_rng(seed)
    records = np.empty(count, contract.dtype)
    records["picture"] = generator.integers(0, 256, records["picture"].shape)
    records["vector"] = generator.normal(size=records["vector"].shape)
    return records


def write_records(
    folder: Path, records: Images, contract: DataContract, written: DataContract | None = None
) -> Dataset:
    """A dataset whose two parts have the same rows; `written`: the contract of the parts, if it differs."""
    parts, used = list[DatasetPart](), written or contract
    for split in SPLITS:
        ids = [f"{split}-{row}" for row in range(len(records))]
        table = to_table(ids, split, np.arange(len(records), dtype=np.uint16) % 2, records, used, "photos")
        (folder / "parts").mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / "new.parquet", write_page_checksum=True)
        sha256 = hashlib.sha256((folder / "new.parquet").read_bytes()).hexdigest()
        (folder / "new.parquet").rename(folder / part_file(split, sha256))
        hashed = content_hash(table, used)
        parts.append(DatasetPart(part_file(split, sha256), split, len(records), sha256, hashed, {}))
    return write_manifest(folder, Manifest("photos", "", tuple(parts), contract))


def start_shop(folder: Path, settings: Settings, counts: dict[str, int]) -> Validated:
    """A validated dataset of drawn photos with the tiny network."""
    options = StartOptions(ImageSpec(16, 16, 3), network=str(write_network(folder / "tiny.onnx")))
    photos = write_photos(folder / "photos", counts)
    return validate(ingest(str(photos), settings=settings, options=options).dataset, settings=settings)


def train_shop(validated: Validated, epochs: int = 20) -> Classifier:
    """A stored model of such a dataset."""
    config = configure("vectors", {"epochs": epochs, "batch_size": 16}, validated.dataset.contract.input)
    trained = train(validated, config)
    return store.load_stored(store.save_model(trained.network, write_card("vectors", validated, trained)))
