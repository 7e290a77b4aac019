"""Scoring the files in an inbox once, by hand; `flows/inbox.py` does it on a schedule."""

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from fashion.cli.arguments import Json


def inbox(
    folder: Annotated[
        Path | None, typer.Argument(help="Inbox folder [default: FASHION_INBOX_DIR, or data/inbox/scoring].")
    ] = None,
    settle: Annotated[
        float, typer.Option(min=0, help="Seconds a file must stay unchanged to count as complete.")
    ] = 10.0,
    max_reject_rate: Annotated[
        float, typer.Option(min=0, max=1, help="Largest share of rejects; above it a file fails.")
    ] = 1.0,
    check: Annotated[
        Literal["fail", "warn", "off"], typer.Option(help="Action when the input sanity check fails.")
    ] = "fail",
    as_json: Json = False,
) -> None:
    """Score each file in the inbox, and move it to done/ or failed/ with its predictions."""
    from components.errors import InputError
    from components.inbox import find_work, open_inbox
    from components.registry.champion import load_model
    from components.scoring.delivery import deliver, describe_failures
    from components.scoring.input_check import InputChecker

    opened, model, found = open_inbox(folder), load_model(), []
    with closing(InputChecker()) as checker:
        for item in find_work(opened, settle):
            if delivery := deliver(opened, item, model, max_reject_rate, check, checker):
                found.append(delivery)
                if not as_json:
                    print(delivery)
    if as_json:
        print(json.dumps([asdict(delivery) for delivery in found], default=str))
    elif not found:
        print(f"nothing to score in {opened.folder}")
    if message := describe_failures(found):
        raise InputError("inbox", message)
