"""Write the golden pictures anew: `.venv/bin/python tests/golden/make_pictures.py`. The outputs were checked by eye."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

HERE = Path(__file__).parent


def drawn() -> dict[str, bytes]:
    """Five pictures, one in each format and none that a decoder may round, and one that is broken off."""
    image = np.zeros((28, 28), np.uint8)
    image[6:22, 10:18] = np.arange(8) * 30 + 20
    large = np.full((80, 60, 3), 255, np.uint8)
    large[20:70, 15:45] = (40, 90, 200)
    frame = np.kron(image, np.ones((4, 4), np.uint8))
    return {
        "Bag/box.bmp": _encode(image[:, ::-1], "BMP"),
        "Bag/broken.png": _encode(image, "PNG")[:60],
        "Bag/frame.gif": _encode(frame, "GIF"),
        "Dress/blue.webp": _encode(large, "WEBP", lossless=True),
        "Dress/grey.jpg": _encode(np.full((28, 28), 128, np.uint8), "JPEG"),
        "Dress/small.png": _encode(image, "PNG"),
    }


def _encode(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def write_all(folder: Path) -> None:
    """One input a form."""
    pictures = drawn()
    for name, content in {**pictures, "notes.txt": b"no picture"}.items():
        path = folder / "folder.in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with zipfile.ZipFile(folder / "zip.in.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in pictures.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name, content in pictures.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    (folder / "tar.in.tar.zst").write_bytes(pa.compress(tar.getvalue(), "zstd", asbytes=True))
    (folder / "tar.in.tgz").write_bytes(_gzip(tar.getvalue()))
    rows = [f"{name},{name.partition('/')[0]},{place}" for place, name in enumerate(pictures)]
    (folder / "paths.in.csv").write_text("\n".join(["path,label,price", *rows]) + "\n")
    labels = [8, 8, 8, 3, 3, 3]
    contents = pa.array(list(pictures.values()), pa.binary())
    pq.write_table(pa.table({"id": list(pictures), "label": labels, "image": contents}), folder / "binary.in.parquet")
    structs = pa.StructArray.from_arrays([contents, pa.array(list(pictures))], ["bytes", "path"])
    table = pa.table({"image": structs, "label": labels, "id": list(pictures)})
    pq.write_table(table, folder / "huggingface.in.parquet", row_group_size=2)


def _gzip(content: bytes) -> bytes:
    import gzip

    return gzip.compress(content, mtime=0)


if __name__ == "__main__":
    write_all(HERE)
