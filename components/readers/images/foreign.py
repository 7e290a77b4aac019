"""Identify unsupported files by their first bytes, for error messages."""

BRANDS = {  # major brands of ISO base media files, ISO/IEC 14496-12
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    b"crx ": "a camera raw file",
}
STARTS = {
    b"II*\0": "TIFF or a camera raw file",
    b"MM\0*": "TIFF or a camera raw file",
    b"II+\0": "TIFF",
    b"FUJIFILM": "a camera raw file",
    b"%PDF": "PDF",
    b"%!PS": "PostScript",
    b"8BPS": "a Photoshop file",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\0\0\1\0": "an icon",
    b"\0\0\2\0": "a cursor",
    b"qoif": "QOI",
    **{b"P%d" % kind + space: "a Netpbm picture" for kind in range(1, 8) for space in (b"\n", b" ", b"\r")},
    b"\x1aE\xdf\xa3": "a video",
    b"PK\3\4": "a zip archive",
    b"\x1f\x8b": "a gzip file",
}
TEXTS = {b"<svg": "SVG", b"<!doctype html": "a web page", b"<html": "a web page"}


def describe_foreign(content: bytes) -> str:
    """Name the file type and the remedy, to append to an error message; "" if unknown."""
    if not content:
        return ": the file is empty"
    if found := _name(content):
        return f": found {found}. Save the picture as JPEG or PNG"
    return ""


def _name(content: bytes) -> str | None:
    if content[4:8] == b"ftyp":
        return BRANDS.get(content[8:12], "a video")
    for start, name in STARTS.items():
        if content.startswith(start):
            return name
    beginning = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if beginning.startswith(b"<"):
        return next((name for mark, name in TEXTS.items() if mark in beginning), None)
    return None
