"""Listing and changing the classes: add, rename, merge, split, remove, undo."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fashion.cli.arguments import Json
from fashion.cli.help import MARKUP, Grouped, show_example

if TYPE_CHECKING:
    from components.dataset.classes.changing import ClassesChanged

classes = typer.Typer(
    name="classes",
    cls=Grouped,
    rich_markup_mode=MARKUP,
    help="List the classes with image counts and F1, or change them.",
)

Why = Annotated[str, typer.Option(help="Reason, kept with the change.")]
AllowSmall = Annotated[bool, typer.Option("--allow-small", help="Accept a class of 2 to 9 pictures.")]


@classes.callback(invoke_without_command=True, epilog="Example: fashion classes")
def show(context: typer.Context, as_json: Json = False) -> None:
    """List the classes with image counts and the live model's F1, or change them.

    Each change creates a new dataset version. The live model keeps its classes until a model trained on the new
    version is promoted.
    """
    if context.invoked_subcommand:
        return
    rows = list(_describe())
    if as_json:
        print(json.dumps(rows))
        return
    wide = max(len(row["name"]) for row in rows)
    print(f"{'':>4}  {'class':{wide}}  {'train':>7}  {'test':>6}  {'F1':>6}")
    for row in rows:
        number, f1 = row["label"], row["f1"]
        counts = f"{row['train']:>7,}  {row['test']:>6,}" if number is not None else f"{'':>7}  {'':>6}"
        score = "" if f1 is None else f"{f1:.3f}"
        note = "" if number is not None else "  (live model only)"
        print(f"{'' if number is None else number:>4}  {row['name']:{wide}}  {counts}  {score:>6}{note}")


@classes.command(**show_example("fashion classes add hats --from photos/hats"))
def add(
    name: Annotated[str, typer.Argument(help="Name of the new class.")],
    folder: Annotated[Path, typer.Option("--from", metavar="FOLDER", help="Folder with its pictures, at any depth.")],
    why: Why = "asked for",
    allow_small: AllowSmall = False,
    as_json: Json = False,
) -> None:
    """Add a class, with a test split drawn from its pictures; other classes keep theirs."""
    from components.dataset.classes.changing import add_class

    _print_change(add_class(name, folder, why, allow_small=allow_small), as_json)


@classes.command(**show_example("fashion classes rename trainers sneakers"))
def rename(
    name: Annotated[str, typer.Argument(help="Name of the class.")],
    to: Annotated[str, typer.Argument(help="New name.")],
    why: Why = "asked for",
    as_json: Json = False,
) -> None:
    """Rename a class; it keeps its number, and labels with the old name are still accepted."""
    from components.dataset.classes.changing import rename_class

    _print_change(rename_class(name, to, why), as_json)


@classes.command(**show_example("fashion classes merge hats caps --into headwear"))
def merge(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Names of two or more classes.")],
    into: Annotated[str, typer.Option(metavar="NAME", help="Name of the merged class: one of them, or a new one.")],
    why: Why = "asked for",
    as_json: Json = False,
) -> None:
    """Merge several classes into one."""
    from components.dataset.classes.changing import merge_classes

    _print_change(merge_classes(names, into, why), as_json)


@classes.command(**show_example("fashion classes split shoes --from shoes.csv"))
def split(
    name: Annotated[str, typer.Argument(help="Name of the class.")],
    table: Annotated[
        Path,
        typer.Option("--from", metavar="CSV", help="Table with the columns id and label: the new class of each row."),
    ],
    why: Why = "asked for",
    allow_small: AllowSmall = False,
    as_json: Json = False,
) -> None:
    """Split a class into several; rows that the table does not name stay in it."""
    from components.dataset.classes.changing import split_class

    _print_change(split_class(name, table, why, allow_small=allow_small), as_json)


@classes.command(**show_example("fashion classes remove hats"))
def remove(
    name: Annotated[str, typer.Argument(help="Name of the class.")], why: Why = "asked for", as_json: Json = False
) -> None:
    """Remove a class and its images from later versions."""
    from components.dataset.classes.changing import remove_class

    _print_change(remove_class(name, why), as_json)


@classes.command(**show_example("fashion classes undo"))
def undo(
    why: Why = "asked for",
    force: Annotated[bool, typer.Option("--force", help="Undo even if labels imported since then are lost.")] = False,
    as_json: Json = False,
) -> None:
    """Undo the last change: the dataset before it becomes current again."""
    from components.dataset.classes.changing import undo_change

    _print_change(undo_change(why, force=force), as_json)


@classes.command(**show_example("fashion classes history"))
def history(as_json: Json = False) -> None:
    """List every change of the classes, oldest first."""
    from components.dataset.classes.journal import read_journal
    from components.settings import load_settings

    found = read_journal(load_settings().datasets_dir)
    if as_json:
        print(json.dumps([asdict(one) for one in found]))
        return
    for one in found:
        print(f"{one.time[:19]}  {one.who}  {one.change}  ({one.why})  {one.before} -> {one.after}")
    if not found:
        print("no changes yet")


def _describe() -> Iterator[dict[str, Any]]:
    """A row a class of the dataset in use, then a row for each that only the live model knows."""
    import numpy as np

    from components.contract import SPLITS
    from components.dataset.manifest import current_dataset, read_split
    from components.errors import DatasetError, ModelError
    from components.registry.champion import try_live
    from components.registry.store import check_stored
    from components.settings import load_settings

    dataset = current_dataset(load_settings().datasets_dir)
    if dataset is None:
        raise DatasetError("no dataset yet, so there are no classes; run 'fashion ingest' first")
    names, f1 = dataset.contract.classes, dict[str, float]()
    try:
        if live := try_live():
            f1 = {one.name: one.f1 for one in check_stored(live.tag).test.classes}
    except ModelError:
        pass  # the counts are worth showing all the same
    counts = [np.bincount(read_split(dataset, split).labels, minlength=len(names)).tolist() for split in SPLITS]
    for label, name in enumerate(names):
        yield {"label": label, "name": name, "train": counts[0][label], "test": counts[1][label], "f1": f1.get(name)}
    for name in f1.keys() - set(names):
        yield {"label": None, "name": name, "train": None, "test": None, "f1": f1[name]}


def _print_change(done: "ClassesChanged", as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(done), default=str))
        return
    entry, dataset = done.entry, done.dataset
    print(f"{entry.change}: {len(dataset.contract.classes)} classes, dataset {dataset.version}, {dataset.rows:,} rows")
    for name, (before, now) in done.moved.items():
        print(f"{name} has number {now} now, not {before}: it fills the number that was freed")
    for reason, count in done.rejected.items():
        print(f"  {count:,} not imported: {reason}")
    if done.rejects:
        print(f"rejects: {done.rejects}")
    if done.called_back:
        print(f"back in the inbox after waiting for a class: {', '.join(done.called_back[:10])}")
    if not entry.undone:
        print("the next training uses them; the live model keeps its own. Undo with 'fashion classes undo'")
