"""What is wrong with the data."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from fashion.cli.arguments import Json


def audit(
    preset: Annotated[str, typer.Option(help="The recipe of the five networks that judge the labels.")] = "dense-128",
    as_json: Json = False,
) -> None:
    """Look through the current dataset for wrong labels, copies and outliers: a page, and tables to correct.

    Change the column label of train-labels.csv where you are sure, then 'fashion label import' it.
    """
    from components.audit.audit import audit
    from components.dataset.manifest import current_dataset
    from components.errors import DatasetError
    from components.settings import load_settings

    dataset = current_dataset(load_settings().datasets_dir)
    if dataset is None:
        raise DatasetError("nothing to look through; 'fashion ingest' comes first")
    found = audit(dataset, preset, echo=lambda text: print(text, file=sys.stderr))
    if as_json:
        print(json.dumps(asdict(found), default=str))
        return
    for split, count in found.suspects.items():
        print(f"{count:,} {split} labels in doubt")
    for where, count in found.copies.items():
        print(f"{count:,} pairs as good as copies: {where}")
    print(f"page: {found.page}\nto correct and import: {found.corrections}")
