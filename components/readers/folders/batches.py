"""Arrays (`.npy`, `.npz`, IDX) and JSON lines, read sequentially in batches."""

import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa

from components.contract import DataContract
from components.errors import InputError, Remedy
from components.files import sha256_of
from components.readers.blocks import Block
from components.readers.folders.parts import Input, InputPart, TableReading
from components.readers.folders.unpacking import BoundedReader, as_input_error, open_decompressed
from components.readers.tables.arrays import (
    describe_arrays,
    holds_images,
    read_arrays,
    read_npy,
    read_npy_header,
    read_npy_rows,
    to_batch,
)
from components.readers.tables.parquet import check_columns, to_block
from components.readers.tables.parquet_columns import value_type

ARRAY = ".npy"  # suffix of the members of an .npz


class BatchInput(Input):
    """A file in which each batch of rows is one part."""

    def __init__(self, path: Path, reading: TableReading, contract: DataContract) -> None:
        super().__init__(path, reading, contract)
        self.notes = tuple(self._make_notes())
        nothing = pa.record_batch({"pixels": pa.array([], pa.binary(contract.image.size))})
        schema = next(iter(self._batches()), nothing).schema
        self.names = check_columns(schema, path.name, self.wanted)
        self.extra = pa.schema([(name, value_type(schema.field(name).type)) for name in reading.kept])

    def parts(self) -> Iterator[InputPart]:
        """See `Input`."""
        first = 1
        for number, batch in enumerate(self._batches()):
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as writer:
                writer.write_batch(batch)
            stop = first + len(batch)
            yield InputPart(number, str(self.path), first, first, stop, lines=sink.getvalue().to_pybytes())
            first = stop

    def read(self, part: InputPart) -> Iterator[Block]:
        """See `Input`."""
        with pa.ipc.open_stream(part.lines) as reader:
            for batch in reader:
                yield to_block(batch, self.names, part.first, self.path.name, self.wanted)

    def digest(self) -> str:
        """See `Input`: SHA-256 of the file."""
        return sha256_of(self.path)

    def _make_notes(self) -> Iterator[str]:
        yield from ()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        with closing(open_decompressed(self.path)) as stream, as_input_error(self.path.name):
            yield from read_arrays(stream, self.path.name, self.contract.image)


class NpzInput(BatchInput):
    """The image array of an `.npz`, and its label array, if there is one of the same length."""

    def _make_notes(self) -> Iterator[str]:
        self.images, self.labels = self._choose()
        if self.labels:
            yield f"{self.labels!r} contains the labels of {self.images!r}"

    def _choose(self) -> tuple[str, str]:
        """Find the names of the image array and the label array ("" if none).

        Raises:
            InputError: no array or several arrays qualify.
        """
        with self.path.open("rb") as file, self._archive(file) as archive:
            names = [name for name in archive.namelist() if name.removesuffix(ARRAY) not in self.wanted.dropped]
            shapes = {name.removesuffix(ARRAY): self._shape_of(file, archive, name) for name in names}
        images = [name for name, shape in shapes.items() if holds_images(shape, self.contract.image)]
        if not images:
            message = f"no image array: found {shapes}, expected {describe_arrays(self.contract.image)}"
            raise InputError(self.path.name, message[:300])
        self._refuse_several(images, "the image array")
        rows = int(np.prod(shapes[images[0]])) // self.contract.image.size
        labels = [name for name, shape in shapes.items() if shape == (rows,) and name != images[0]]
        self._refuse_several(labels, "the label array")
        return images[0], labels[0] if labels else ""

    def _refuse_several(self, names: list[str], what: str) -> None:
        if len(names) > 1:
            one, other = names[:2]
            remedies = Remedy("drop", other, f"reads {one}"), Remedy("drop", one, f"reads {other}")
            message = f"ambiguous arrays: {one!r} and {other!r} could both be {what}"
            raise InputError(self.path.name, message).suggesting(*remedies)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        with self.path.open("rb") as file, self._archive(file) as archive, as_input_error(self.path.name):
            labels = None
            if self.labels:
                labels = read_npy(self._member(file, archive, self.labels + ARRAY), self.path.name)[1]
            start = 0
            member = self._member(file, archive, self.images + ARRAY)
            for values in read_npy_rows(member, self.path.name, self.contract.image):
                stop = start + len(values)
                yield to_batch(values) if labels is None else to_batch(values, label=labels[start:stop])
                start = stop

    def _archive(self, file: BinaryIO) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise InputError(self.path.name, f"cannot read the zip archive: {error}") from error

    def _shape_of(self, file: BinaryIO, archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
        with as_input_error(self.path.name):
            return read_npy_header(self._member(file, archive, name), self.path.name)[0]

    def _member(self, file: BinaryIO, archive: zipfile.ZipFile, name: str) -> BinaryIO:
        return cast(BinaryIO, BoundedReader(file, cast(BinaryIO, archive.open(name)), self.path.name))
