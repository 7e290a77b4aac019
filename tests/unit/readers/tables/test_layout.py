"""Tables from common tools: column names, numbers, labels, encodings, types and ambiguous columns."""

import ast
import bz2
import csv
import gzip
import io
import lzma
import pickle
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from readings import PIXEL_COLUMNS, WANTED

from components.catalogues.fashion_mnist import CLASSES, CONTRACT
from components.contract import Images
from components.errors import InputError, Remedy
from components.readers.blocks import Block, Wanted
from components.readers.folders.opening import open_input
from components.readers.folders.parts import Input, TableReading
from components.readers.images.idx import encode_idx
from components.readers.images.photos import write_png
from components.readers.tables.csv import read_pixel_csv
from components.readers.tables.numbers import UNLABELLED
from components.readers.tables.parquet import read_pixel_parquet
from components.scoring.tables import CSV as TEXT
from components.scoring.tables import PARQUET, TableFormat
from components.settings import CHECKOUT
from fashion.cli.advice import advising

IMAGES = np.random.default_rng(7).integers(0, 256, (4, 28, 28), np.uint8)
IMAGES[:, 0, 0] = IMAGES[:, -1, -1] = 0
ROWS = IMAGES.reshape(4, 784)
LABELS = [9, 0, 3, 3]
GRID = [f"{row}x{column}" for row in range(1, 29) for column in range(1, 29)]


def lines(names: Sequence[object], rows: Sequence[Sequence[object]], mark: str = ",", end: str = "\n") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=mark, lineterminator=end).writerows([*([names] if names else []), *rows])
    return text.getvalue().encode()


def read(content: bytes, **options: Any) -> tuple[Images, list[int], tuple[str, ...]]:
    """The images of a CSV, its labels and the reasons of its rejects."""
    return gather(read_pixel_csv(io.BytesIO(content), "a.csv", Wanted(CONTRACT, strict=False, **options)))


def gather(blocks: Any) -> tuple[Images, list[int], tuple[str, ...]]:
    found: list[Block] = list(blocks)
    labels = [label for block in found if block.labels is not None for label in block.labels.tolist()]
    reasons = tuple(reject.reason for block in found for reject in block.rejects)
    return np.concatenate([np.empty((0, 28, 28), np.uint8), *(block.images for block in found)]), labels, reasons


def opened(path: Path, reading: TableReading | None = None) -> tuple[Input, list[Block]]:
    source = open_input(path, reading or TableReading(), CONTRACT)
    return source, [block for part in source.parts() for block in source.read(part)]


# --- names of columns ---


@pytest.mark.parametrize(
    "names",
    [
        [f"pixel{place}" for place in range(784)],
        [f"Pixel{place}" for place in range(1, 785)],
        [f"px_{place}" for place in range(784)],
        [f"p{place:03}" for place in range(784)],
        [str(place) for place in range(784)],
        [str(place) for place in range(1, 785)],
        GRID,
        [f"r{row}c{column}" for row in range(28) for column in range(28)],
    ],
    ids=lambda names: names[0],
)
def test_pixels_are_found_by_name_in_any_order(names: list[str]) -> None:
    order = np.random.default_rng(1).permutation(784)
    for places in (np.arange(784), order):
        rows = [[label, *row[places].tolist()] for label, row in zip(LABELS, ROWS, strict=True)]
        images, labels, reasons = read(lines(["class", *np.array(names)[places]], rows))
        assert np.array_equal(images, IMAGES)
        assert (labels, reasons) == (LABELS, ())
        table = pa.table({name: ROWS[:, place] for name, place in zip(np.array(names)[places], places, strict=True)})
        assert np.array_equal(gather(read_pixel_parquet(parquet(table), "file", WANTED))[0], IMAGES)


def parquet(table: pa.Table, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    file.seek(0)
    return file


def test_a_reject_names_the_column_as_the_file_does() -> None:
    row = ROWS[0].tolist()
    row[4] = 300
    _, _, reasons = read(lines([f"pixel{place}" for place in range(784)], [row]))
    assert reasons == ("pixel4: '300' is not a whole number from 0 to 255",)


@pytest.mark.parametrize("name", ["label", "class", "category", "target", "y", "Label"])
def test_the_label_column_may_have_other_names(name: str) -> None:
    rows = [[*row, label] for label, row in zip(LABELS, ROWS.tolist(), strict=True)]
    assert read(lines([*PIXEL_COLUMNS, name], rows))[1] == LABELS


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "__index_level_0__"])
def test_a_row_index_is_ignored_and_reported(tmp_path: Path, name: str) -> None:
    rows = [[place, *row] for place, row in enumerate(ROWS.tolist())]
    (tmp_path / "in.csv").write_bytes(lines([name, *PIXEL_COLUMNS], rows))
    source, (block,) = opened(tmp_path / "in.csv")
    assert np.array_equal(block.images, IMAGES)
    assert list(block.ids) == ["1", "2", "3", "4"]
    assert "is ignored: it is a row index" in source.notes[0]


# --- ambiguous columns ---


@pytest.mark.parametrize("column", ["image", "path"])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_both_pixels_and_picture_files_are_ambiguous_until_one_is_dropped(
    tmp_path: Path, column: str, form: str
) -> None:
    if form == "parquet" and column == "path":
        return  # in Parquet, `path` has no special meaning
    path = tmp_path / f"in.{form}"
    if form == "csv":
        path.write_bytes(lines([*PIXEL_COLUMNS, column], [[*row, "shirt.png"] for row in ROWS.tolist()]))
    else:
        wide = {name: ROWS[:, place] for place, name in enumerate(PIXEL_COLUMNS)}
        pq.write_table(pa.table({**wide, column: [b"no picture"] * 4}), path)
    with pytest.raises(InputError, match=f"ambiguous columns: found both pixels .pixel1, ....*{column}") as refused:
        open_input(path, TableReading(), CONTRACT)
    assert refused.value.remedies == (
        Remedy("drop", column, "scores the pixels"),
        Remedy("drop", "pixels", "scores the files"),
    )
    _, blocks = opened(path, TableReading(dropped=(column,)))
    assert np.array_equal(blocks[0].images, IMAGES)
    _, blocks = opened(path, TableReading(dropped=("pixels",)))
    assert len(blocks[0].rejects) == 4, "none of the files exists"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["class", "target", *PIXEL_COLUMNS], "'class' and 'target' could both be the label"),
        ([*PIXEL_COLUMNS, *GRID], None),
        ([*(f"a{place}" for place in range(784)), *GRID], "784 pixels from 'a0' and from '1x1'"),
        (
            [f"{row}x{column}" for column in range(28) for row in range(28)],
            "'1x0' after '0x0' could be the pixel to the",
        ),
    ],
)
def test_ambiguous_columns_are_named(names: list[str], message: str | None) -> None:
    with pytest.raises(InputError, match=message or "unknown 784"):
        read(lines(names, []))


def test_both_pixel_layouts_are_ambiguous_until_one_is_dropped() -> None:
    wide = {name: ROWS[:, place] for place, name in enumerate(PIXEL_COLUMNS)}
    table = pa.table({**wide, "pixels": pa.array([bytes(784)] * 4, pa.binary(784))})
    with pytest.raises(InputError, match="ambiguous columns: found both 'pixels' and 784 pixel columns"):
        list(read_pixel_parquet(parquet(table), "file", WANTED))
    assert np.array_equal(
        gather(read_pixel_parquet(parquet(table), "file", Wanted(CONTRACT, dropped=("pixels",))))[0], IMAGES
    )


# --- files without a header ---


@pytest.mark.parametrize("names", [(), [str(place) for place in range(785)]])
@pytest.mark.parametrize("first", [True, False])
def test_785_numbers_without_a_header_are_a_label_and_pixels(tmp_path: Path, names: list[str], first: bool) -> None:
    images = IMAGES.copy()
    images[:, -1, -1] = 0
    rows = [[label, *row] if first else [*row, label] for label, row in zip(LABELS, ROWS.tolist(), strict=True)]
    (tmp_path / "in.csv").write_bytes(lines(names, rows))
    source, (block,) = opened(tmp_path / "in.csv")
    assert np.array_equal(block.images, IMAGES)
    assert block.labels is not None
    assert (block.labels.tolist(), list(block.ids)) == (LABELS, ["1", "2", "3", "4"])
    assert block.lines[0] == (2 if names else 1)
    assert source.notes == (
        f"no header: the 785 numbers of each row are read as 784 pixels, with the label {'first' if first else 'last'}",
    )


def test_784_numbers_without_a_header_are_pixels() -> None:
    images, labels, _ = read(lines((), ROWS.tolist(), mark=";"))
    assert np.array_equal(images, IMAGES)
    assert labels == []


@pytest.mark.parametrize(
    "edges",
    [
        pytest.param([(place, 0) for place in range(4)], id="a row index"),
        pytest.param([(place + 100, 200) for place in range(4)], id="neither"),
        pytest.param([(3, 1), (4, 2), (1, 1), (3, 3)], id="both"),
    ],
)
def test_785_numbers_with_an_ambiguous_label_are_refused(edges: list[tuple[int, int]]) -> None:
    rows = [[first, *row[1:], last] for (first, last), row in zip(edges, [[7] * 784] * 4, strict=True)]
    with pytest.raises(InputError, match=r"785 numbers per row without a header: .* Add a header"):
        read(lines((), rows))


# --- numbers and labels ---


@pytest.mark.parametrize("write", [lambda value: f"{value}.0", lambda value: f"{value:e}", lambda value: f" {value}."])
def test_whole_numbers_may_be_written_as_decimals(write: Callable[[int], str]) -> None:
    rows = [[f"{label}.0", *map(write, row)] for label, row in zip(LABELS, ROWS.tolist(), strict=True)]
    images, labels, reasons = read(lines(["label", *PIXEL_COLUMNS], rows))
    assert np.array_equal(images, IMAGES)
    assert (labels, reasons) == (LABELS, ())


def test_whole_numbers_may_have_a_decimal_comma() -> None:
    content = lines(PIXEL_COLUMNS, [[f"{value},0" for value in row] for row in ROWS.tolist()], mark=";")
    assert np.array_equal(read(content)[0], IMAGES)


def test_pixels_from_0_to_1_are_rejected_with_advice() -> None:
    _, _, reasons = read(lines(PIXEL_COLUMNS, [[round(value / 255, 4) for value in row] for row in ROWS.tolist()]))
    assert len(reasons) == 4
    assert reasons[0].endswith("is not a whole number from 0 to 255. Multiply pixels from 0 to 1 by 255")


CELLS = ["9.0", "Bag", "", "-1", "shoe", "t-shirt_top", "10", "3"]
READ = [9, 8, UNLABELLED, UNLABELLED, UNLABELLED, 0, UNLABELLED, 3]


@pytest.mark.parametrize("places", ["before", "after", "quoted"])
def test_a_row_with_an_unreadable_label_is_scored(tmp_path: Path, places: str) -> None:
    row = ROWS[0].tolist()
    names = ["label", *PIXEL_COLUMNS] if places != "after" else [*PIXEL_COLUMNS, "label"]
    rows = [[cell, *row] if places != "after" else [*row, cell] for cell in CELLS]
    content = lines(names, rows)
    (tmp_path / "in.csv").write_bytes(content.replace(b"Bag", b'"Bag"') if places == "quoted" else content)
    _, (block,) = opened(tmp_path / "in.csv")
    assert block.labels is not None
    assert (block.labels.tolist(), block.rejects) == (READ, ())
    assert block.unread == {"": 1, "-1": 1, "shoe": 1, "10": 1}
    strict = list(read_pixel_csv(io.BytesIO((tmp_path / "in.csv").read_bytes()), "file", WANTED))
    assert sum(len(block.rejects) for block in strict) == 4, "with strict labels"


@pytest.mark.parametrize(
    "labels",
    [
        pa.array(CELLS),
        pa.array(CELLS).dictionary_encode(),
        pa.array([9.0, 8.0, None, -1.0, 11.5, 0.0, 10.0, 3.0]),
        pa.array([9, 8, None, -1, 12, 0, 10, 3]),
        pa.array([9, 8, None, -1, 12, 0, 10, 3], pa.int8()).dictionary_encode(),
    ],
)
def test_parquet_labels_may_have_any_type(labels: pa.Array) -> None:
    table = pa.table({"pixels": pa.array([ROWS[0].tobytes()] * 8, pa.binary(784)), "label": labels})
    found = list(read_pixel_parquet(parquet(table), "file", Wanted(CONTRACT, strict=False)))
    assert [label for block in found if block.labels is not None for label in block.labels.tolist()] == READ
    assert sum(sum(block.unread.values()) for block in found) == 4
    assert len(gather(read_pixel_parquet(parquet(table), "file", WANTED))[2]) == 4


# --- encodings ---


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [",", "\t"])
def test_spreadsheet_encodings_and_line_ends(tmp_path: Path, encoding: str, end: str, mark: str) -> None:
    rows = [[f"Größe {place}", *row] for place, row in enumerate(ROWS.tolist())]
    content = lines(["id", *PIXEL_COLUMNS], rows, mark, end).decode().encode(encoding)
    (tmp_path / "in.csv").write_bytes(content)
    _, (block,) = opened(tmp_path / "in.csv")
    assert np.array_equal(block.images, IMAGES)
    assert list(block.ids) == [f"Größe {place}" for place in range(4)]
    assert block.lines.tolist() == [2, 3, 4, 5]
    assert np.array_equal(read(content)[0], IMAGES)


def test_empty_spreadsheet_columns_and_rows() -> None:
    content = lines([*PIXEL_COLUMNS, "", ""], [[*ROWS[0], "", ""], [""] * 786])
    images, _, reasons = read(content)
    assert np.array_equal(images, IMAGES[:1])
    assert reasons == ("row: all cells are empty",)


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress, lambda content: pa.compress(content, "gzip", True)])
def test_compression_is_detected_by_content(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    (tmp_path / "in.csv").write_bytes(pack(lines(PIXEL_COLUMNS, ROWS.tolist())))
    assert np.array_equal(opened(tmp_path / "in.csv")[1][0].images, IMAGES)


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress, lambda content: pa.compress(content, "zstd", True)])
def test_a_decompression_bomb_is_refused(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    row = b",".join([b"0"] * 784) + b"\n"
    (tmp_path / "in.csv").write_bytes(pack(lines(PIXEL_COLUMNS, []) + row * 12_000))
    with pytest.raises(InputError, match="decompresses to more than 200 times its size"):
        opened(tmp_path / "in.csv")


# --- types of Parquet ---


def lists(kind: pa.DataType) -> pa.Array:
    return pa.array(ROWS.tolist(), kind)


TENSORS = pa.FixedShapeTensorArray.from_numpy_ndarray(IMAGES)
KINDS = {
    "binary": pa.array([row.tobytes() for row in ROWS], pa.binary()),
    "large binary": pa.array([row.tobytes() for row in ROWS], pa.large_binary()),
    "binary view": pa.array([row.tobytes() for row in ROWS], pa.binary_view()),
    "dictionary of binary": pa.array([row.tobytes() for row in ROWS], pa.binary()).dictionary_encode(),
    "tensors": TENSORS,
    "28 x 28": pa.array(IMAGES.tolist(), pa.list_(pa.list_(pa.uint8()))),
    "28 x 28, fixed": pa.array(IMAGES.tolist(), pa.list_(pa.list_(pa.int64(), 28), 28)),
    "large 28 x 28": pa.array(IMAGES.tolist(), pa.large_list(pa.large_list(pa.int16()))),
    **{f"list of {kind}": lists(pa.list_(pa.type_for_alias(kind))) for kind in ("uint8", "int16", "int64", "double")},
    "large list": lists(pa.large_list(pa.uint8())),
    "fixed-size list": lists(pa.list_(pa.uint8(), 784)),
    "list view": lists(pa.list_view(pa.uint8())),
}


@pytest.mark.parametrize("kind", KINDS)
def test_parquet_pixels_may_have_any_suitable_type(kind: str) -> None:
    table = pa.table({"pixels": KINDS[kind]})
    try:
        written = parquet(table)
    except pa.ArrowNotImplementedError:
        pytest.skip("Arrow cannot write this type as Parquet")
    assert np.array_equal(gather(read_pixel_parquet(written, "file", WANTED))[0], IMAGES)
    sliced = pa.table({"pixels": KINDS[kind].slice(1, 2)})
    assert np.array_equal(gather(read_pixel_parquet(parquet(sliced), "file", WANTED))[0], IMAGES[1:3])


def odd_rows(kind: str) -> list[Any]:
    row = ROWS[0].tolist()
    if kind == "bytes":
        return [bytes(784), None, bytes(783), b""]
    return [row, None, row[:783], [*row[:5], None, *row[6:]], [*row[:5], 300, *row[6:]], [*row[:5], -1, *row[6:]], []]


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (
            pa.binary(),
            [(2, "pixels: null, expected 784 bytes"), (3, "pixels: found 783 bytes, expected 784"), (4, "0 bytes")],
        ),
        *(
            (
                pa.list_(inner),
                [
                    (2, "pixels: null, expected 784 values"),
                    (3, "pixels: found 783 values, expected 784"),
                    (4, "pixels[5]: null, expected a whole number"),
                    (5, "300"),
                    (6, "-1"),
                    (7, "pixels: found 0 values"),
                ],
            )
            for inner in (pa.int16(), pa.float64())
        ),
    ],
)
def test_invalid_parquet_rows_are_rejects(kind: pa.DataType, bad: list[tuple[int, str]]) -> None:
    rows = odd_rows("bytes" if kind == pa.binary() else "lists")
    (block,) = read_pixel_parquet(parquet(pa.table({"pixels": pa.array(rows, kind)})), "file", WANTED)
    assert block.lines.tolist() == [1]
    found = [(reject.line, reject.reason) for reject in block.rejects]
    assert [line for line, _ in found] == [line for line, _ in bad]
    assert all(message in reason for (_, reason), (_, message) in zip(found, bad, strict=True)), found


def test_fractions_and_negative_numbers_are_rejects_and_never_wrap() -> None:
    wide = {name: pa.array(ROWS[:, place].astype(float)) for place, name in enumerate(PIXEL_COLUMNS)}
    wide["pixel3"] = pa.array([3.0, 3.5, None, -1.0])
    images, _, reasons = gather(read_pixel_parquet(parquet(pa.table(wide)), "file", WANTED))
    assert len(images) == 1
    assert reasons == (
        "pixel3: 3.5 is not a whole number from 0 to 255",
        "pixel3: null, expected a whole number from 0 to 255",
        "pixel3: -1.0 is not a whole number from 0 to 255",
    )
    signed = pa.array([[-1] * 784], pa.list_(pa.int8()))
    assert "-1 is not" in gather(read_pixel_parquet(parquet(pa.table({"pixels": signed})), "file", WANTED))[2][0]


# --- what a message may name ---

OPTION = re.compile(r"^(?!.*curl --).*(?<![\w-])--[a-z][a-z-]+", re.DOTALL)  # curl's options are not ours
PACKAGES = ("readers", "scoring")
LIBRARY = sorted(path for package in PACKAGES for path in (CHECKOUT / "components" / package).rglob("*.py"))


@pytest.mark.parametrize("path", [*LIBRARY, *sorted((CHECKOUT / "serving").glob("*.py"))], ids=lambda path: path.stem)
def test_library_code_names_no_command_line_option(path: Path) -> None:
    tree = ast.parse(path.read_text())
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert [node.value for node in texts if id(node) not in docs and OPTION.search(str(node.value))] == []


def test_a_command_suggests_only_its_own_options() -> None:
    def score(drop: str = "") -> None:
        raise InputError("a.csv", "ambiguous columns").suggesting(
            Remedy("drop", "my image", "scores the pixels"), Remedy("keep", "x", "keeps it")
        )

    with pytest.raises(InputError) as refused:
        advising(score)()
    assert refused.value.__notes__ == ["--drop 'my image' scores the pixels"]


def test_every_class_is_read_by_its_name() -> None:
    rows = [[name, *ROWS[0].tolist()] for name in CLASSES]
    assert read(lines(["label", *PIXEL_COLUMNS], rows))[1] == list(range(10))


# --- other kinds of files ---


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def zipped(**files: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", "."), content)
    return file.getvalue()


CSV = lines(PIXEL_COLUMNS, ROWS.tolist())
ARFF = "\n".join(
    [
        "% made",
        "@RELATION mnist",
        *(f"@ATTRIBUTE {name} integer" for name in PIXEL_COLUMNS),
        "@ATTRIBUTE 'class' {0,9,3}",
        "",
        "@DATA",
        *(f"{','.join(map(str, row))},9" for row in ROWS.tolist()),
        "",
    ]
).encode()
JSON_LINES = b"".join(orjson.dumps({"image": image.tolist(), "label": 9}) + b"\n" for image in IMAGES)
IDX = gzip.decompress(encode_idx(IMAGES))
FOREIGN = {
    "npy": npy(IMAGES),
    "npy, flat int64": npy(ROWS.astype(np.int64)),
    "npy, channels last": npy(IMAGES[..., None]),
    "npy, packed": gzip.compress(npy(IMAGES)),
    "npz": npz(x=IMAGES, y=np.array(LABELS)),
    "IDX": IDX,
    "IDX, packed": encode_idx(IMAGES),
    "JSON lines": JSON_LINES,
    "JSON lines, packed": bz2.compress(JSON_LINES),
    "ARFF": ARFF,
    "a zip of one CSV": zipped(a_csv=CSV),
    "CSV, LZ4": pa.compress(CSV, "lz4", True),
}


@pytest.mark.parametrize("kind", [kind for kind in FOREIGN if kind != "CSV, LZ4"])
@pytest.mark.parametrize("name", ["in.csv", "in.dat"])
def test_the_file_type_is_detected_by_content(tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / name).write_bytes(FOREIGN[kind])
    source, blocks = opened(tmp_path / name)
    assert np.array_equal(np.concatenate([block.images for block in blocks]), IMAGES)
    assert [row_id for block in blocks for row_id in block.ids] == ["1", "2", "3", "4"]
    labels = [block.labels.tolist() for block in blocks if block.labels is not None]
    assert labels == {"npz": [LABELS], "ARFF": [[9] * 4]}.get(kind, [[9] * 4] if "JSON" in kind else [])
    assert source.digest()


def test_the_reader_does_not_close_the_stream() -> None:
    stream = io.BytesIO(CSV)
    list(read_pixel_csv(stream, "file", WANTED))
    assert not stream.closed


def test_arrays_of_fractions_are_rejected_with_advice(tmp_path: Path) -> None:
    (tmp_path / "in.npy").write_bytes(npy((IMAGES / 255).astype(np.float32)))
    _, blocks = opened(tmp_path / "in.npy")
    assert len(blocks[0].rejects) == 4
    assert "Multiply pixels from 0 to 1 by 255" in blocks[0].rejects[0].reason


def test_several_image_arrays_are_ambiguous_until_one_is_dropped(tmp_path: Path) -> None:
    arrays = {"x_train": IMAGES, "y_train": np.array(LABELS), "x_test": IMAGES[:2], "y_test": np.array(LABELS[:2])}
    (tmp_path / "mnist.npz").write_bytes(npz(**arrays))
    with pytest.raises(InputError, match="'x_train' and 'x_test' could both be the image array") as refused:
        open_input(tmp_path / "mnist.npz", TableReading(), CONTRACT)
    assert Remedy("drop", "x_train", "reads x_test") in refused.value.remedies
    source, (block,) = opened(tmp_path / "mnist.npz", TableReading(dropped=("x_train",)))
    assert np.array_equal(block.images, IMAGES[:2])
    assert source.notes == ("'y_test' contains the labels of 'x_test'",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"a": [1]}), "a Python pickle, expected CSV, .*Pickles run code when loaded"),
        (npy(np.array([object()], object)), r"an array of Python objects \(a pickle\), which is never read"),
        (npy(np.zeros((3, 32, 32))), r"found a float64 array \(3, 32, 32\), expected numbers of shape \(n, 28, 28\)"),
        (npy(IMAGES)[:-9], "damaged or truncated file"),
        (npz(a=np.zeros(3)), "no image array"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file"),
        (b"SQLite format 3\0" + bytes(99), "an SQLite database.*Export the table"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "an Excel workbook.*Export it as CSV"),
        (zipped(**{"xl/workbook_xml": b"", "b": b""}), "an Excel workbook"),
        (zipped(**{"m/data_pkl": b"", "b": b""}), "a PyTorch file"),
        (
            zipped(a_csv=CSV, b_csv=CSV),
            r"the archive contains no pictures: found 2 files \(a.csv, b.csv\)\. Extract it first",
        ),
        (b"7z\xbc\xaf\x27\x1c" + bytes(99), "a 7-Zip archive"),
        (b"Rar!\x1a\x07\x01\0" + bytes(99), "a RAR archive"),
        (b"ARROW1\0\0" + bytes(99), "an Arrow .Feather. file"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"[[0,1],[2]]", "a JSON array.*one object per line"),
        (b'{"pixels": [1, 2]}\n{"pixels": 3}\n', "cannot read the JSON lines"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (gzip.compress(gzip.compress(CSV)), "a compressed file.*Decompress it first"),
        (gzip.compress(parquet(pa.table({"a": [1]})).read()), "found Parquet.*Decompress it first"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_an_unsupported_file_type_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "in.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        opened(tmp_path / "in.csv")


@pytest.mark.parametrize(
    ("form", "content", "message"),
    [
        (
            TEXT,
            parquet(pa.table({"a": [1]})).read(),
            "found Parquet, expected text/csv, as its",
        ),
        (TEXT, gzip.compress(CSV), "a compressed file"),
        (PARQUET, npy(IMAGES), "a NumPy array, expected application/vnd.apache.parquet"),
    ],
)
def test_a_body_that_differs_from_its_content_type_is_named(form: TableFormat, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(form.read(io.BytesIO(content), "body", CONTRACT))


def test_pictures_in_parquet_are_read_over_http() -> None:
    pictures = [{"bytes": write_png(image), "path": "a.png"} for image in IMAGES]
    table = pa.table({"image": pictures, "label": pa.array([9, 0, -1, None])})
    images, labels, _ = gather(PARQUET.read(parquet(table), "body", CONTRACT))
    assert np.array_equal(images, IMAGES)
    assert labels == [9, 0, UNLABELLED, UNLABELLED]
    wide = {name: ROWS[:, place] for place, name in enumerate(PIXEL_COLUMNS)}
    both = pa.table({**wide, "image": pictures})
    with pytest.raises(InputError, match="ambiguous columns"):
        list(PARQUET.read(parquet(both), "body", CONTRACT))
    assert np.array_equal(gather(PARQUET.without(["image"]).read(parquet(both), "body", CONTRACT))[0], IMAGES)
