"""Multipart forms as real clients send them."""

import io

import pytest

from components.errors import InputError
from serving.forms import MAX_FILES, UploadForm, read_files

KIND = "multipart/form-data; boundary=cut"
END = b"--cut--\r\n"
CONTENT = b"\x89PNG\r\n--cu\r\n--\r"
NAMED = b'Content-Disposition: form-data; name="file"; filename="a.png"'


def part(head: bytes = NAMED, content: bytes = CONTENT, boundary: bytes = b"cut") -> bytes:
    return b"--" + boundary + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


@pytest.mark.parametrize(
    ("head", "name"),
    [
        pytest.param(NAMED + b"\r\nContent-Type: image/png", "a.png", id="curl, requests, browsers"),
        pytest.param(NAMED + b"\r\nContent-Type: image/png\r\nContent-Length: 16", "a.png", id="OkHttp"),
        pytest.param(b"Content-Type: image/jpg\r\n" + NAMED, "a.png", id="content type first"),
        pytest.param(
            b"Content-Disposition: form-data; name=file; filename=a.png; filename*=utf-8''a.png", "a.png", id=".NET"
        ),
        pytest.param(
            b"Content-Disposition: form-data; name=file; filename=\"=?utf-8?B?w6k=?=\"; filename*=utf-8''%C3%A9.png",
            "\u00e9.png",
            id=".NET, non-ASCII",
        ),
        pytest.param(NAMED.replace(b"name=", b"name*=UTF-8''x; name=", 1), "a.png", id="name*"),
        pytest.param(
            NAMED.replace(b'filename="a.png"', b"filename*=UTF-8'en'%e2%82%ac%20a.png"),
            "\u20ac a.png",
            id="only filename*",
        ),
        pytest.param(NAMED.replace(b'filename="a.png"', b"filename*=iso-8859-1''%e9.png"), "\u00e9.png", id="Latin-1"),
        pytest.param(NAMED.replace(b'filename="a.png"', b"filename*=utf-8''%ff.png"), "\ufffd.png", id="invalid UTF-8"),
        pytest.param(NAMED.replace(b'filename="a.png"', b"filename*=a.png"), "a.png", id="filename* without a charset"),
        pytest.param(NAMED.replace(b"a.png", "\u00e9.png".encode()), "\u00e9.png", id="raw UTF-8"),
        pytest.param(NAMED.replace(b"a.png", "\u00e9.png".encode("latin-1")), "\u00e9.png", id="raw Latin-1"),
        pytest.param(NAMED.replace(b"a.png", rb"a\"b;c.png"), 'a"b;c.png', id="quotes and semicolons"),
        pytest.param(NAMED.replace(b"a.png", rb"C:\Users\x\a.png"), "a.png", id="Windows path"),
        pytest.param(NAMED.replace(b"a.png", b""), "file", id="no file name"),
        pytest.param(
            b"Content-Type: image/png\r\nContent-Disposition: form-data; name=file",
            "file",
            id="content type but no file name",
        ),
        pytest.param(NAMED.replace(b"form-data", b"attachment"), "a.png", id="attachment"),
        pytest.param(b'content-disposition:form-data;name="file";filename="a.png"', "a.png", id="no spaces"),
        pytest.param(NAMED + b"\r\nContent-Transfer-Encoding: binary", "a.png", id="Content-Transfer-Encoding"),
    ],
)
def test_the_file_of_every_client_is_read(head: bytes, name: str) -> None:
    assert read_files(part(head) + END, KIND) == [(name, CONTENT)]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        pytest.param(part() + END, 'multipart/form-data; boundary="cut"', id="quoted"),
        pytest.param(part() + END, "Multipart/Form-Data;charset=utf-8;Boundary=cut", id="upper case"),
        pytest.param(part(boundary=b"c t") + b"--c t--", 'multipart/form-data; boundary="c t"', id="with a space"),
        pytest.param(b"For readers of mail.\r\n\r\n" + part() + END + b"Bye.\r\n", KIND, id="preamble and epilogue"),
        pytest.param(b"\r\n" + part() + b"--cut--", KIND, id="leading and no trailing line break"),
    ],
)
def test_every_valid_boundary_is_accepted(content: bytes, kind: str) -> None:
    assert read_files(content, kind) == [("a.png", CONTENT)]
    file = io.BytesIO()
    form = UploadForm(kind, file)
    form.write(content[:60])
    for place in range(60, len(content)):
        form.write(content[place : place + 1])
    form.finish()
    assert file.getvalue() == CONTENT


def test_an_empty_file_input_is_skipped() -> None:
    """If no file was chosen, a browser sends a part with an empty name and no content."""
    empty = part(NAMED.replace(b"a.png", b"") + b"\r\nContent-Type: application/octet-stream", b"")
    assert read_files(empty + part() + empty + END, KIND) == [("a.png", CONTENT)]
    assert read_files(empty + END, KIND) == []
    assert read_files(part(content=b"") + END, KIND) == [("a.png", b"")]


@pytest.mark.parametrize(("encoding", "content"), [(b"base64", b"iVBO\r\nRw=="), (b"Quoted-Printable", b"=89PN=\r\nG")])
def test_content_transfer_encodings_are_decoded(encoding: bytes, content: bytes) -> None:
    head = NAMED + b"\r\nContent-Transfer-Encoding: " + encoding
    assert read_files(part(head, content) + END, KIND) == [("a.png", b"\x89PNG")]


@pytest.mark.parametrize(
    ("content", "kind", "reason"),
    [
        (part() + END, "multipart/form-data", "content-type: found no multipart boundary"),
        (part().replace(b"\r\n", b"\n") + END, KIND, "lines must end with CRLF"),
        (part() * 2, KIND, "the form ends before its final boundary"),
        (part(NAMED.replace(b'; filename="a.png"', b"")) + END, KIND, "file: found a text field"),
        (part(b"Content-Type: text/plain; charset=utf-8\r\n" + NAMED[:-18]) + END, KIND, "file: found a text field"),
        (part(b"Content-Type: image/png") + END, KIND, 'has no "name"'),
        (part(NAMED + b"\r\nContent-Transfer-Encoding: gzip") + END, KIND, "Content-Transfer-Encoding 'gzip'"),
        (part(NAMED + b"\r\nContent-Transfer-Encoding: base64", b"iVBOR") + END, KIND, "not valid base64"),
        (part(NAMED + b"\r\nX: y" * 100) + END, KIND, "header count"),
        (part() * (MAX_FILES + 1) + END, KIND, "too many files"),
    ],
)
def test_an_invalid_form_is_refused_with_the_reason(content: bytes, kind: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_files(content, kind)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (part() + part() + END, "the form has more than one part, expected one file"),
        (END, "the form contains no file"),
        (part(), "the form ends before its final boundary"),
        (part(NAMED.replace(b'; filename="a.png"', b"")) + END, "file: found a text field"),
        (part(NAMED + b"\r\nContent-Transfer-Encoding: base64") + END, "Content-Transfer-Encoding 'base64'"),
    ],
)
def test_a_form_without_exactly_one_table_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    def read() -> None:
        form = UploadForm(KIND, io.BytesIO())
        form.write(content)
        form.finish()

    with pytest.raises(InputError, match=reason):
        read()
