"""Records of pictures and vectors in the parts of a dataset."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from networks import contract_with, draw_records, embedding_of, make_network, write_records

from components.dataset.manifest import content_hash, read_manifest, read_split, to_images, to_table
from components.errors import DatasetError
from components.networks import embedder
from components.networks.embedder import kept_path

CONTRACT = contract_with(embedding_of(make_network()))
ROWS = 6


def test_records_survive_the_round_trip(tmp_path: Path) -> None:
    records = draw_records(CONTRACT, ROWS)
    dataset = write_records(tmp_path, records, CONTRACT)
    assert read_manifest(dataset).contract == CONTRACT
    found = read_split(dataset, "train").images
    assert (found.dtype, found.shape, found.flags.writeable) == (CONTRACT.dtype, (ROWS,), False)
    assert found.tobytes() == records.tobytes()


def test_a_slice_of_a_table_keeps_pictures_and_vectors_together(tmp_path: Path) -> None:
    records = draw_records(CONTRACT, ROWS)
    table = to_table([str(row) for row in range(ROWS)], "train", np.zeros(ROWS, np.uint16), records, CONTRACT, "photos")
    assert to_images(table.slice(2, 3), CONTRACT).tobytes() == records[2:5].tobytes()


def test_pandas_reads_the_vectors_of_a_part(tmp_path: Path) -> None:
    records = draw_records(CONTRACT, ROWS)
    dataset = write_records(tmp_path, records, CONTRACT)
    frame = pd.read_parquet(tmp_path / read_manifest(dataset).parts[0].file)
    assert list(frame.columns) == ["id", "split", "label", "pixels", "vector"]
    assert np.array_equal(np.stack(list(frame["vector"])), records["vector"])


def test_the_vectors_count_for_the_content(tmp_path: Path) -> None:
    records = draw_records(CONTRACT, ROWS)
    table = to_table([str(row) for row in range(ROWS)], "train", np.zeros(ROWS, np.uint16), records, CONTRACT, "photos")
    records["vector"][3, 5] += 1
    other = to_table([str(row) for row in range(ROWS)], "train", np.zeros(ROWS, np.uint16), records, CONTRACT, "photos")
    assert content_hash(table, CONTRACT) != content_hash(other, CONTRACT)


def test_a_part_with_the_vectors_of_another_network_is_refused(tmp_path: Path) -> None:
    other = contract_with(embedding_of(make_network(1)))
    dataset = write_records(tmp_path, draw_records(CONTRACT, ROWS), CONTRACT, other)
    with pytest.raises(DatasetError, match=r"found images embedded by 'tiny.onnx \(\w{12}\)', expected 'tiny.onnx \("):
        read_split(dataset, "train")


def test_reading_a_manifest_tells_where_its_network_is(tmp_path: Path) -> None:
    read_manifest(write_records(tmp_path, draw_records(CONTRACT, ROWS), CONTRACT))
    assert CONTRACT.embedding
    assert kept_path(CONTRACT.embedding, tmp_path).name == f"{CONTRACT.embedding.sha256[:16]}.onnx"
    assert CONTRACT.embedding.sha256 in embedder._paths
