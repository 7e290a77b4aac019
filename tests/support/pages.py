"""A parsed HTML page."""

from html.parser import HTMLParser
from pathlib import Path


class Page(HTMLParser):
    """The text, tables, references and captions of an HTML page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.sections: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self.rows: list[list[str]] = []  # of all tables
        self.captions: list[list[str]] = []  # of all pictures, line by line
        self.text = ""
        self.in_caption = False
        self.feed(path.read_text().replace("\u00a0", " ").replace("&nbsp;", " "))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = {name: value or "" for name, value in attributes}
        self.references += [found[name] for name in ("src", "href", "xlink:href", "action", "data") if name in found]
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "section":
            self.sections.append(found["id"])
        elif tag == "tr":
            self.rows.append([])
        elif tag == "figcaption":
            self.captions.append([])
            self.in_caption = True

    def handle_endtag(self, tag: str) -> None:
        self.in_caption = self.in_caption and tag != "figcaption"

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.tags[-1:] in (["th"], ["td"]) and data.strip():
            self.rows[-1].append(data.strip())
        elif self.in_caption and data.strip():
            self.captions[-1].append(data.strip())

    def table(self, *headings: str) -> list[list[str]]:
        """The rows after the first row that starts with these headings."""
        start = next(place for place, row in enumerate(self.rows) if row[: len(headings)] == list(headings))
        return self.rows[start + 1 :]
