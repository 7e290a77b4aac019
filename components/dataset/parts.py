"""What an ingest writes, and what it says it did."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.contract import DataContract, Dataset, Split
from components.dataset.manifest import DatasetPart, content_hash, part_file
from components.files import write_whole

ROW_GROUP = 4096  # rows: 3.2 MB of pixels, so that a reader can stream with little memory and still read at full pace


@dataclass(frozen=True)
class Ingested:
    """What an ingest did."""

    dataset: Dataset
    written: bool  # False: the same input was ingested before, nothing was written
    added: bool = False  # the source has no test split: its examples are in the training split of the one in use
    left_out: tuple[str, ...] = ()  # names in the source that are not read


def store_part(
    table: pa.Table, split: Split, folder: Path, inputs: dict[str, str], contract: DataContract
) -> DatasetPart:
    """Write a table of `to_table` as a part named by the SHA-256 of its content, known only once it is written."""
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
