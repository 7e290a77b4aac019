"""Auditing a dataset."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from fashion.cli.arguments import Json
from fashion.cli.progress import Bar


def audit(
    preset: Annotated[
        str, typer.Option(help="Preset of the five cross-validated networks that judge the labels.")
    ] = "dense-128",
    as_json: Json = False,
) -> None:
    """Find wrong labels, duplicates and outliers in the current dataset: a page, and tables to correct.

    Correct the column `label` of train-labels.csv where you are sure, then run 'fashion label import' on it.
    """
    from components.audit.audit import audit
    from components.dataset.manifest import current_dataset
    from components.errors import DatasetError
    from components.settings import load_settings

    dataset = current_dataset(load_settings().datasets_dir)
    if dataset is None:
        raise DatasetError("nothing to audit; run 'fashion ingest' first")
    bars = dict[str, Bar]()

    def progress(what: str, done: int, total: int) -> None:
        bars.setdefault(what, Bar(what)).update(done, total)

    try:
        found = audit(dataset, preset, progress=progress)
    finally:
        for bar in bars.values():
            bar.close()
    if as_json:
        print(json.dumps(asdict(found), default=str))
        return
    for split, count in found.suspects.items():
        print(f"{count:,} {split} doubtful labels")
    for where, count in found.copies.items():
        print(f"{count:,} pairs of duplicates: {where}")
    print(f"page: {found.page}\ntable to correct and import: {found.corrections}")
