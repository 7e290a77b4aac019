"""Importing labels and corrections into a new dataset version."""

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fashion.cli.arguments import Json
from fashion.cli.help import MARKUP, Grouped, show_example
from fashion.cli.progress import Bar

if TYPE_CHECKING:
    from components.dataset.labels.adding import Imported

label = typer.Typer(
    name="label",
    cls=Grouped,
    no_args_is_help=True,
    rich_markup_mode=MARKUP,
    help="Import labelled images and corrections.",
)


@label.command("import", **show_example("fashion label import new-photos/"))
def import_labels(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE_OR_FOLDER",
            help="CSV, Parquet, class folders, or corrections.",
        ),
    ],
    root: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder that a table's paths are relative to [default: its own]."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="CSV or Parquet of the pixels that ids and hashes refer to [default: the dataset]."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Import new training examples, and correct labels by id, as a new dataset version.

    Images that look like one of the test split are refused, and so is a version that fails validation.
    Rejected rows are kept in a file.
    """
    from components.dataset.labels.adding import import_labels
    from components.errors import InputError

    with closing(Bar("reading pictures")) as bar:
        done = import_labels(source, root=root, images=images, progress=bar.update)
    print(json.dumps(asdict(done), default=str) if as_json else _describe(done))
    if done.read and sum(done.rejected.values()) == done.read:
        raise InputError(str(source), f"nothing could be imported; see {done.rejects}")


@label.command(**show_example("fashion label inbox"))
def inbox(as_json: Json = False) -> None:
    """Import every file in data/inbox/labelled, and move it to done, failed, or waiting (for a class to exist)."""
    from components.dataset.labels.inbox import empty_inbox
    from components.errors import InputError
    from components.files import shown

    emptied = empty_inbox()
    if as_json:
        print(json.dumps([asdict(one) for one in emptied], default=str))
    else:
        for one in emptied:
            lines = (
                _describe(one.imported) if one.imported else f"{'waiting' if one.waits_for else 'failed'}: {one.error}"
            )
            if one.waits_for:
                lines += (
                    f"\nwaits for the classes {', '.join(one.waits_for[:10])}; create one with 'fashion classes add'"
                )
            print(f"{one.name} -> {shown(str(one.moved_to))}\n  " + lines.replace("\n", "\n  "))
        if not emptied:
            print("the inbox is empty")
    failed = [one.name for one in emptied if one.imported is None and not one.waits_for]
    if failed:
        raise InputError("inbox", f"{len(failed)} of {len(emptied)} could not be imported: {', '.join(failed[:5])}")


def _describe(done: "Imported") -> str:
    added = ", ".join(f"{count:,} {name}" for name, count in done.added.items()) or "none"
    lines = [
        f"{done.read:,} read: {sum(done.added.values()):,} added, {len(done.relabelled):,} relabelled, "
        f"{done.known:,} known, {done.unchanged:,} unchanged, {sum(done.rejected.values()):,} rejected",
        f"added: {added}",
        *(f"  {count:,}  {reason}" for reason, count in done.rejected.items()),
        *([f"rejects: {done.rejects}"] if done.rejects else []),
        *([f"not read: {len(done.left_out)} ({', '.join(done.left_out[:10])})"] if done.left_out else []),
        f"dataset {done.dataset.version}, {done.dataset.rows:,} rows"
        + (f"; previous version: {done.base.version}" if done.changed else ", unchanged"),
    ]
    return "\n".join(lines)
