"""New labels: what people hand in and correct becomes a new dataset version."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fashion.cli.arguments import Json

if TYPE_CHECKING:
    from components.dataset.labels.adding import Imported

label = typer.Typer(
    name="label",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Take labelled images and corrections into the data.",
)


@label.command("import")
def import_labels(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE_OR_FOLDER",
            help="CSV, Parquet, a folder for each class, or corrections.",
        ),
    ],
    root: Annotated[Path | None, typer.Option(help="Where the paths of a CSV begin [its folder].")] = None,
    images: Annotated[
        Path | None, typer.Option(help="CSV or Parquet of pixels that a CSV's ids or hashes are of [the dataset].")
    ] = None,
    as_json: Json = False,
) -> None:
    """Add what is new as training examples, and change labels by id: a new dataset version, or none.

    Whatever looks like an image of the test split is refused; so is what validation would refuse. Rejects are kept.
    """
    from components.dataset.labels.adding import import_labels
    from components.errors import InputError

    done = import_labels(source, root=root, images=images)
    print(json.dumps(asdict(done), default=str) if as_json else _tell(done))
    if done.read and sum(done.rejected.values()) == done.read:
        raise InputError(str(source), f"nothing could be taken; {done.rejects} says why")


@label.command()
def inbox(as_json: Json = False) -> None:
    """Import everything in data/inbox/labelled, and move it to done or failed, or to waiting for a class to come."""
    from components.dataset.labels.inbox import empty_inbox
    from components.errors import InputError
    from components.files import shown

    emptied = empty_inbox()
    if as_json:
        print(json.dumps([asdict(one) for one in emptied], default=str))
    else:
        for one in emptied:
            told = _tell(one.imported) if one.imported else f"{'not taken' if one.waits_for else 'failed'}: {one.error}"
            if one.waits_for:
                told += f"\nwaits for the classes {', '.join(one.waits_for[:10])}; 'fashion classes add' makes one"
            print(f"{one.name} -> {shown(str(one.moved_to))}\n  " + told.replace("\n", "\n  "))
        if not emptied:
            print("nothing waits")
    failed = [one.name for one in emptied if one.imported is None and not one.waits_for]
    if failed:
        raise InputError("inbox", f"{len(failed)} of {len(emptied)} could not be imported: {', '.join(failed[:5])}")


def _tell(done: "Imported") -> str:
    added = ", ".join(f"{count:,} {name}" for name, count in done.added.items()) or "none"
    lines = [
        f"{done.read:,} read: {sum(done.added.values()):,} added, {len(done.relabelled):,} relabelled, "
        f"{done.known:,} known, {done.unchanged:,} unchanged, {sum(done.rejected.values()):,} rejected",
        f"added: {added}",
        *(f"  {count:,}  {reason}" for reason, count in done.rejected.items()),
        *([f"rejects: {done.rejects}"] if done.rejects else []),
        *([f"not read: {len(done.left_out)} ({', '.join(done.left_out[:10])})"] if done.left_out else []),
        f"dataset {done.dataset.version}, {done.dataset.rows:,} rows"
        + (f"; before: {done.base.version}" if done.changed else ", as before"),
    ]
    return "\n".join(lines)
