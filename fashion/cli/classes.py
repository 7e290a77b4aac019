"""Classes that change: what there is, and add, rename, merge, split, remove, undo."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fashion.cli.arguments import Json

if TYPE_CHECKING:
    from components.dataset.classes.changing import ClassesChanged

classes = typer.Typer(
    name="classes",
    rich_markup_mode=None,
    help="Show the classes with their images and F1, or change them: each change is a new dataset version.",
)

Why = Annotated[str, typer.Option(help="Kept with the change.")]
AllowSmall = Annotated[bool, typer.Option("--allow-small", help="Take a class of 2 to 9 pictures too.")]


@classes.callback(invoke_without_command=True)
def show(context: typer.Context, as_json: Json = False) -> None:
    """Show the classes with their images and the live model's F1, or change them.

    A change makes a new dataset version. The live model keeps the classes it was trained with until one that was
    trained on the new version passes the gate.
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
        note = "" if number is not None else "  (of the live model alone)"
        print(f"{'' if number is None else number:>4}  {row['name']:{wide}}  {counts}  {score:>6}{note}")


@classes.command()
def add(
    name: Annotated[str, typer.Argument(help="The new class.")],
    folder: Annotated[Path, typer.Option("--from", metavar="FOLDER", help="Its pictures, at any depth.")],
    why: Why = "asked for",
    allow_small: AllowSmall = False,
    as_json: Json = False,
) -> None:
    """Add a class. A test split is drawn of its pictures; the other classes keep theirs."""
    from components.dataset.classes.changing import add_class

    _tell(add_class(name, folder, why, allow_small=allow_small), as_json)


@classes.command()
def rename(
    name: Annotated[str, typer.Argument(help="A class.")],
    to: Annotated[str, typer.Argument(help="Its new name.")],
    why: Why = "asked for",
    as_json: Json = False,
) -> None:
    """Give a class another name; it keeps its number. Labels by the old name are still understood."""
    from components.dataset.classes.changing import rename_class

    _tell(rename_class(name, to, why), as_json)


@classes.command()
def merge(
    names: Annotated[list[str], typer.Argument(help="Two classes or more.")],
    into: Annotated[str, typer.Option(help="The class that they become: one of them, or a new name.")],
    why: Why = "asked for",
    as_json: Json = False,
) -> None:
    """Make one class of several."""
    from components.dataset.classes.changing import merge_classes

    _tell(merge_classes(names, into, why), as_json)


@classes.command()
def split(
    name: Annotated[str, typer.Argument(help="A class.")],
    table: Annotated[Path, typer.Option("--from", metavar="CSV", help="id,label: which of its rows is what now.")],
    why: Why = "asked for",
    allow_small: AllowSmall = False,
    as_json: Json = False,
) -> None:
    """Make several classes of one. Rows that the table does not name stay in it."""
    from components.dataset.classes.changing import split_class

    _tell(split_class(name, table, why, allow_small=allow_small), as_json)


@classes.command()
def remove(
    name: Annotated[str, typer.Argument(help="A class.")], why: Why = "asked for", as_json: Json = False
) -> None:
    """Leave a class and its images out of the next versions."""
    from components.dataset.classes.changing import remove_class

    _tell(remove_class(name, why), as_json)


@classes.command()
def undo(
    why: Why = "asked for",
    force: Annotated[bool, typer.Option("--force", help="Although labels taken in since get lost.")] = False,
    as_json: Json = False,
) -> None:
    """Take the newest change back: the dataset of before it is in use again."""
    from components.dataset.classes.changing import undo_change

    _tell(undo_change(why, force=force), as_json)


@classes.command()
def history(as_json: Json = False) -> None:
    """Show every change of the classes, oldest first."""
    from components.dataset.classes.journal import read_journal
    from components.settings import load_settings

    found = read_journal(load_settings().datasets_dir)
    if as_json:
        print(json.dumps([asdict(one) for one in found]))
        return
    for one in found:
        print(f"{one.time[:19]}  {one.who}  {one.change}  ({one.why})  {one.before} -> {one.after}")
    if not found:
        print("the classes were never changed")


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
        raise DatasetError("nothing was ingested yet, so there are no classes; 'fashion ingest' comes first")
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


def _tell(done: "ClassesChanged", as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(done), default=str))
        return
    entry, dataset = done.entry, done.dataset
    print(f"{entry.change}: {len(dataset.contract.classes)} classes, dataset {dataset.version}, {dataset.rows:,} rows")
    for name, (before, now) in done.moved.items():
        print(f"{name} has the number {now} now, not {before}: a number was freed, and numbers have no gaps")
    for reason, count in done.rejected.items():
        print(f"  {count:,} not taken: {reason}")
    if done.rejects:
        print(f"rejects: {done.rejects}")
    if done.called_back:
        print(f"in the inbox again, where it waited for a class: {', '.join(done.called_back[:10])}")
    if not entry.undone:
        print("the next training learns them; the live model keeps its own. 'fashion classes undo' takes it back")
