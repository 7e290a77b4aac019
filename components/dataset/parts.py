"""Write dataset parts; the result of an ingest."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.contract import DataContract, Dataset, Split
from components.dataset.manifest import DatasetPart, content_hash, part_file
from components.files import write_whole

ROW_GROUP = 4096  # rows: 3.2 MB of pixels, small enough to stream in little memory, large enough for full throughput


@dataclass(frozen=True)
class Ingested:
    """The result of an ingest."""

    dataset: Dataset
    written: bool  # False if the same input was ingested before
    added: bool = False  # the source has no test split, so its examples extend the current training split
    left_out: tuple[str, ...] = ()  # names in the source that were ignored


def store_part(
    table: pa.Table, split: Split, folder: Path, inputs: dict[str, str], contract: DataContract
) -> DatasetPart:
    """Write a table from `to_table` as a part named by the SHA-256 of the file."""
    content = io.BytesIO()
    pq.write_table(
        table,
        content,
        row_group_size=ROW_GROUP,
        compression="zstd",
        use_dictionary=["split", "label"],
        write_page_checksum=True,
    )
    sha256 = hashlib.sha256(content.getbuffer()).hexdigest()
    file = part_file(split, sha256)
    write_whole(folder / file, content.getbuffer())
    return DatasetPart(file, split, table.num_rows, sha256, content_hash(table, contract), inputs)
