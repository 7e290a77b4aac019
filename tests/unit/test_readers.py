"""Tables, arrays, pixels and pictures of catalogues that do not ship: other sizes, channels, numbers and names."""

import io
import json
from dataclasses import replace

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from awkward import AWKWARD, draw_awkward
from PIL import Image

from components.contract import DataContract, ImageSpec
from components.errors import InputError, SettingsError
from components.readers.blocks import Block, Wanted
from components.readers.images.blocks import Picture, to_blocks
from components.readers.images.photos import is_small, read_photo, read_plain, read_views, write_png
from components.readers.images.pixel_bytes import read_pixel_bytes
from components.readers.images.pixel_json import read_pixel_json
from components.readers.tables.arrays import holds_images, read_arrays
from components.readers.tables.class_names import name_classes
from components.readers.tables.columns import pixel_columns
from components.readers.tables.csv import read_pixel_csv
from components.readers.tables.numbers import UNLABELLED, read_labels
from components.readers.tables.parquet import check_columns, read_pixel_parquet, to_block

MANY = DataContract("many", tuple(f"class {number}" for number in range(1000)), ImageSpec(9, 11), "letterbox")
CONTRACTS = pytest.mark.parametrize("contract", [AWKWARD, MANY], ids=lambda one: one.name)


def joined(blocks: list[Block]) -> tuple[np.ndarray, list[int], list[str]]:
    labels = [label for block in blocks if block.labels is not None for label in block.labels.tolist()]
    return np.concatenate([block.images for block in blocks]), labels, [one.reason for b in blocks for one in b.rejects]


def csv_of(images: np.ndarray, labels: list[object], names: list[str]) -> io.BytesIO:
    rows = [",".join([str(label), *map(str, image.ravel())]) for image, label in zip(images, labels, strict=True)]
    return io.BytesIO("\n".join([",".join(names), *rows]).encode())


@CONTRACTS
@pytest.mark.parametrize("first", [0, 1])
def test_a_csv_has_a_column_a_number_and_labels_by_name(contract: DataContract, first: int) -> None:
    images, labels = draw_awkward(7, 0, contract)
    names = ["label", *(f"pixel{number + first}" for number in range(contract.image.size))]
    given: list[object] = [contract.classes[label].upper() for label in labels]
    found, read, rejects = joined(list(read_pixel_csv(csv_of(images, given, names), "a.csv", Wanted(contract))))
    assert np.array_equal(found, images)
    assert (read, rejects) == (labels.tolist(), [])


def test_a_number_is_a_name_where_classes_are_called_by_numbers_and_else_a_position() -> None:
    cells = pa.array(["10", "3", "3.0", "1", "kids 2-6", " Kids  2-6 ", "kids2-6", None])
    labels, unread = read_labels(cells, AWKWARD)
    assert labels.tolist() == [0, 2, 2, UNLABELLED, 1, 1, UNLABELLED, UNLABELLED]
    assert unread == {"1": 1, "kids2-6": 1, "": 1}
    assert read_labels(pa.array([0, 999, 1000, 300]), MANY)[0].tolist() == [0, 999, UNLABELLED, 300]


def test_labels_beyond_a_byte_are_read_from_every_table() -> None:
    images, _ = draw_awkward(4, 0, MANY)
    labels = [0, 255, 256, 999]
    names = ["label", *pixel_columns(MANY.image)]
    assert joined(list(read_pixel_csv(csv_of(images, list(labels), names), "a.csv", Wanted(MANY))))[1] == labels
    file = io.BytesIO()
    pixels = pa.array([image.tobytes() for image in images], pa.binary(MANY.image.size))
    pq.write_table(pa.table({"label": labels, "pixels": pixels}), file)
    assert joined(list(read_pixel_parquet(file, "a.parquet", Wanted(MANY))))[1] == labels


def test_a_label_of_no_class_is_named_with_what_was_expected() -> None:
    images, _ = draw_awkward(1, 0)
    names = ["label", *pixel_columns(AWKWARD.image)]
    (block,) = read_pixel_csv(csv_of(images, [1], names), "a.csv", Wanted(AWKWARD))
    assert block.rejects[0].reason == "label: '1' is not the name of a class"
    (block,) = read_pixel_csv(csv_of(images, [1], names), "a.csv", Wanted(AWKWARD, strict=False))
    assert block.labels is not None
    assert (block.labels.tolist(), block.unread) == ([UNLABELLED], {"1": 1})


def test_a_table_of_another_size_is_refused_with_the_size() -> None:
    with pytest.raises(InputError, match=r"missing .*expected \[id,\]\[label,\]pixel1,\.\.\.,pixel1440$"):
        list(read_pixel_csv(io.BytesIO(b"label,pixel1\n1,2"), "a.csv", Wanted(AWKWARD)))


@CONTRACTS
def test_parquet_has_bytes_lists_or_columns(contract: DataContract) -> None:
    images, _ = draw_awkward(5, 0, contract)
    flat = images.reshape(5, -1)
    columns = dict(zip(pixel_columns(contract.image), flat.T, strict=True))
    for table in (
        pa.table({"pixels": pa.array([one.tobytes() for one in images], pa.binary(contract.image.size))}),
        pa.table({"pixels": [one.tobytes() for one in images]}),
        pa.table({"pixels": pa.array(flat.tolist())}),
        pa.table({"image": pa.array(images.tolist())}),
        pa.table(columns),
    ):
        file = io.BytesIO()
        pq.write_table(table, file)
        assert np.array_equal(joined(list(read_pixel_parquet(file, "a.parquet", Wanted(contract))))[0], images)


@CONTRACTS
def test_arrays_are_images_in_rows_or_flat(contract: DataContract) -> None:
    images, _ = draw_awkward(5, 0, contract)
    for shaped in (images, images.reshape(5, -1)):
        file = io.BytesIO()
        np.save(file, shaped)
        file.seek(0)
        (batch,) = read_arrays(file, "a.npy", contract.image)
        wanted = Wanted(contract)
        block = to_block(batch, check_columns(batch.schema, "a.npy", wanted), 1, "a.npy", wanted)
        assert np.array_equal(block.images, images)
    assert not holds_images((5, contract.image.height, contract.image.width + 1), contract.image)


def test_class_label_maps_by_name() -> None:
    features = {"info": {"features": {"label": {"names": ["3", "10", "Kids 2-6"], "_type": "ClassLabel"}}}}
    schema = pa.schema([("label", pa.int64())], {b"huggingface": orjson.dumps(features)})
    named = name_classes(pa.array([0, 1, 2, 10, 7]), schema, AWKWARD)
    assert read_labels(named, AWKWARD)[0].tolist() == [2, 0, 1, UNLABELLED, UNLABELLED]


@CONTRACTS
def test_json_of_pixels_is_nested_or_flat(contract: DataContract) -> None:
    images, _ = draw_awkward(3, 0, contract)
    for given in (images.tolist(), images.reshape(3, -1).tolist()):
        assert np.array_equal(read_pixel_json(json.dumps({"images": given}).encode(), contract.image), images)
    broken = images.tolist()
    broken[1][2][3] = True if contract.image.channels == 1 else [1, 2.5, 3]
    place = r"images\[1\]\[2\]\[3\]" + ("" if contract.image.channels == 1 else r"\[1\]")
    with pytest.raises(InputError, match=f"^{place}: found .*, expected a whole number"):
        read_pixel_json(json.dumps({"images": broken}).encode(), contract.image)
    broken[1][2] = broken[1][2][1:]
    with pytest.raises(
        InputError, match=rf"images\[1\]\[2\]: found {contract.image.width - 1} (numbers|pixels), expected"
    ):
        read_pixel_json(json.dumps({"images": broken}).encode(), contract.image)


@CONTRACTS
def test_raw_bytes_are_as_many_as_an_image_has(contract: DataContract) -> None:
    images, _ = draw_awkward(3, 0, contract)
    assert np.array_equal(read_pixel_bytes(images.tobytes(), contract.image), images)
    with pytest.raises(InputError, match=f"expected a multiple of {contract.image.size}"):
        read_pixel_bytes(images.tobytes()[1:], contract.image)


@CONTRACTS
def test_a_picture_of_the_very_size_keeps_its_pixels_on_either_way(contract: DataContract) -> None:
    images, _ = draw_awkward(3, 0, contract)
    for image in images:
        content = write_png(image)
        assert is_small(content, contract)
        slow = io.BytesIO()
        Image.fromarray(image).save(slow, "BMP")
        for found in (read_views(content, contract), read_photo(slow.getvalue(), contract)):
            assert np.array_equal(found, image[None])
        plain = read_plain(content, contract.image)
        assert plain is None or np.array_equal(plain, image[None])


def test_pictures_become_blocks_with_labels_by_name() -> None:
    images, labels = draw_awkward(3, 0)
    rows = [
        Picture(row, str(row), b"", write_png(image), AWKWARD.classes[label])
        for row, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    (block,) = to_blocks([*rows, Picture(3, "3", b"", b"nothing", "10")], AWKWARD, labelled=True)
    assert block.labels is not None
    assert np.array_equal(block.images, images)
    assert (block.labels.tolist(), len(block.rejects)) == (labels.tolist(), 1)


def test_an_unknown_preparation_is_an_error_that_says_which_there_are() -> None:
    with pytest.raises(SettingsError, match="awkward: found 'crop', expected one of fashion-mnist, "):
        read_views(write_png(draw_awkward(1, 0)[0][0]), replace(AWKWARD, preparation="crop"))
    with pytest.raises(SettingsError, match="grey"):
        read_views(write_png(draw_awkward(1, 0)[0][0]), replace(AWKWARD, preparation="fashion-mnist"))
