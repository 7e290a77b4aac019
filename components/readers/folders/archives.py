"""Read pictures from zip and tar archives. Nothing is extracted to disk; member names are only identifiers."""

import hashlib
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from lzma import LZMAError
from pathlib import Path
from typing import BinaryIO, cast

from components.contract import DataContract
from components.errors import InputError, InputTooLarge
from components.readers.blocks import Block
from components.readers.folders.names import LeftOut, has_class_folders, is_hidden, is_picture, make_safe
from components.readers.folders.parts import InputPart, TableReading, gather
from components.readers.folders.pictures import PictureInput
from components.readers.folders.unpacking import as_input_error, open_decompressed
from components.readers.images.blocks import LARGEST, Picture

LOCAL_HEADER = 30  # bytes of a zip member's local header, before its name
EXTENSIONS = {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, b"X"}
LONGEST_EXTENSION = 1 << 20  # bytes; Python reads a tar extension header of any length into memory
CHUNK = 1 << 20  # bytes per read
DAMAGE = (zipfile.BadZipFile, zlib.error, LZMAError, EOFError, NotImplementedError, RuntimeError, ValueError)


class ZipInput(PictureInput):
    """A zip archive; members are read in archive order, in parallel."""

    def __init__(self, path: Path, reading: TableReading, contract: DataContract) -> None:
        super().__init__(path, reading, contract)
        self.hash = hashlib.sha256()
        try:
            self.archive = zipfile.ZipFile(path.open("rb"))
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise InputError(path.name, f"cannot read the zip archive: {error}") from error
        files = [member for member in self.archive.infolist() if not member.is_dir()]
        _refuse_shared_bytes(files, path.name)
        self.members = [member for member in files if _is_row(member.filename)]
        self.left_out = LeftOut.of([member.filename for member in files if not _is_row(member.filename)])
        self.labelled = has_class_folders((make_safe(member.filename) for member in self.members), contract)
        self.count = len(self.members)
        if not self.members:
            raise InputError(path.name, "the archive contains no pictures")

    def parts(self) -> Iterator[InputPart]:
        """See `Input`. Each part is hashed before it is yielded, which also warms the disk cache."""
        self.hash, sizes = hashlib.sha256(), [min(member.file_size, LARGEST) for member in self.members]
        with self.path.open("rb") as stream:
            for number, (start, stop) in enumerate(self.cut(sizes)):
                last = self.members[stop - 1]
                self._hash(stream, last.header_offset + last.compress_size)
                yield InputPart(number, str(self.path), start + 1, start, stop)
            self._hash(stream, self.path.stat().st_size)

    def read(self, part: InputPart) -> Iterator[Block]:
        """See `Input`."""
        return self.to_blocks(map(self._read, range(part.start, part.stop)))

    def digest(self) -> str:
        """See `Input`: SHA-256 of the archive."""
        return self.hash.hexdigest()

    def _hash(self, stream: BinaryIO, end: int) -> None:
        while (left := end - stream.tell()) > 0 and (chunk := stream.read(min(CHUNK, left))):
            self.hash.update(chunk)

    def _read(self, index: int) -> Picture:
        member = self.members[index]
        return self.row(index + 1, member.filename, make_safe(member.filename), self._content(member))

    def _content(self, member: zipfile.ZipInfo) -> bytes | InputError:
        if member.flag_bits & 1:
            return InputError(member.filename, "encrypted")
        if stat.S_ISLNK(member.external_attr >> 16):
            return InputError(member.filename, "a link, which is not followed")
        if member.file_size > LARGEST:
            return _too_large(member.filename)
        try:
            return self.archive.read(member)  # at most the size in its header; verifies the checksum
        except DAMAGE as error:
            return InputError(member.filename, f"damaged archive member: {error}")
        except OSError as error:
            if error.errno is not None:
                raise
            return InputError(member.filename, f"damaged archive member: {error}")


class TarInput(PictureInput):
    """A tar archive, optionally gzip or zstd; scanned once, then read as a stream."""

    def __init__(self, path: Path, reading: TableReading, contract: DataContract) -> None:
        super().__init__(path, reading, contract)
        self.hash, left_out = hashlib.sha256(), list[str]()
        self.labelled = has_class_folders(self._scan(left_out), contract)
        self.left_out = LeftOut.of(left_out)
        if not self.count:
            raise InputError(path.name, "the archive contains no pictures")

    def _scan(self, left_out: list[str]) -> Iterator[str]:
        """Yield the ids of all rows, count them, and collect the other names in `left_out`."""
        with closing(open_decompressed(self.path)) as stream:
            for member, _ in _members(stream, self.path.name):
                if _is_row(member.name):
                    self.count += 1
                    yield make_safe(member.name)
                elif not member.isdir():
                    left_out.append(member.name)

    def parts(self) -> Iterator[InputPart]:
        """See `Input`."""
        first = 1
        with closing(open_decompressed(self.path)) as stream:
            hashed = HashingReader(stream)
            for number, kept in enumerate(gather(self._read(cast(BinaryIO, hashed)), self.reading.part)):
                stop = first - 1 + len(kept)
                yield InputPart(number, str(self.path), first, first - 1, stop, pictures=tuple(kept))
                first = stop + 1
            while hashed.read(CHUNK):
                pass
        self.hash = hashed.hash

    def read(self, part: InputPart) -> Iterator[Block]:
        """See `Input`."""
        return self.to_blocks(part.pictures)

    def digest(self) -> str:
        """See `Input`: SHA-256 of the decompressed archive."""
        return self.hash.hexdigest()

    def _read(self, stream: BinaryIO) -> Iterator[tuple[Picture, int]]:
        """Yield each picture and its size in bytes."""
        line = 0
        for member, archive in _members(stream, self.path.name):
            if _is_row(member.name):
                line += 1
                content = _tar_content(archive, member, self.path.name)
                picture = self.row(line, member.name, make_safe(member.name), content)
                yield picture, 0 if isinstance(content, InputError) else len(content)


class HashingReader:
    """A stream that hashes the bytes read from it."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.hash = stream, hashlib.sha256()

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes; b"" at the end."""
        content = self.stream.read(size)
        self.hash.update(content)
        return content


class TarHeader(tarfile.TarInfo):
    """A tar header. Python silently stops at a damaged header; this class raises an error."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "TarHeader":
        """See `tarfile.TarInfo`; refuses oversized names and attributes before they are read."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in EXTENSIONS and header.size > LONGEST_EXTENSION:
            raise tarfile.ReadError(f"a name or attributes longer than {LONGEST_EXTENSION >> 20} MiB")
        return header

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "TarHeader":
        """See `tarfile.TarInfo`."""
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # end of the archive
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


def _members(stream: BinaryIO, name: str) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Stream the members of a tar archive without keeping them in memory."""
    try:
        with as_input_error(name), tarfile.open(fileobj=stream, mode="r|", tarinfo=TarHeader, bufsize=CHUNK) as archive:
            while (member := archive.next()) is not None:
                yield member, archive
                archive.members.clear()  # type: ignore[attr-defined]
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise InputError(name, f"cannot read the tar archive: {error}") from error


def _tar_content(archive: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> bytes | InputError:
    if member.issym() or member.islnk():
        return InputError(member.name, "a link, which is not followed")
    if member.size > LARGEST:
        return _too_large(member.name)
    file = archive.extractfile(member) if member.isfile() else None
    if file is None:
        return InputError(member.name, "not a regular file")
    content = file.read()
    if len(content) != member.size:
        raise InputError(name, "damaged or truncated archive")
    return content


def _too_large(name: str) -> InputTooLarge:
    return InputTooLarge(name, f"the file is larger than {LARGEST >> 20} MiB")


def _is_row(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return is_picture(parts[-1]) and not any(is_hidden(part) for part in parts if part not in {".", ".."})


def _refuse_shared_bytes(files: list[zipfile.ZipInfo], name: str) -> None:
    """Refuse overlapping members: they are how a zip bomb expands to more than any disk holds."""
    placed = sorted((file.header_offset, file.compress_size) for file in files)
    for (start, size), (following, _) in pairwise(placed):
        if start + LOCAL_HEADER + size > following:
            raise InputError(name, "damaged archive: its members overlap")
