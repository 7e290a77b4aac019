"""The probation of a newly promoted model."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from fashion.cli.arguments import Json
from fashion.cli.tables import print_table

if TYPE_CHECKING:
    from components.probation.check import ProbationCheck
    from components.probation.judge import Measure

ROLLED_BACK = 3  # the exit status; 1 is an error, 2 a wrong option
COLUMNS = ("MEASURE", "BEFORE", "FOUND", "ALLOWED", "CHANCE", "OUTCOME")


def probation(
    check: Annotated[
        bool, typer.Option("--check", help="Judge the model now, if a look is due, and roll back after a breach.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the probation of the live model: its traffic compared with that of the champion before.

    The exit status is 3 if --check rolled back, and 0 otherwise.
    """
    from components.probation.check import check_probation, mark_reported
    from flows.notify.message import of_probation
    from flows.notify.send import try_send

    found = check_probation(act=check)
    if check and found.probation and found.probation.state == "rolled back" and not found.probation.reported:
        try_send(of_probation(found.probation))
        mark_reported(found.probation)
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        _print_check(found)
    if found.move:
        sys.exit(ROLLED_BACK)


def _print_check(found: "ProbationCheck") -> None:
    one = found.probation
    if one is None:
        print("off: FASHION_PROBATION_MINUTES=0" if found.off else "no model is on probation")
        return
    print(f"{one.state}: {one.model}, promoted {one.since[:19]} UTC, compared with {one.before}")
    if one.why:
        print(one.why)
    if found.measures:
        print_table(list(map(_line, found.measures)), COLUMNS)
    if one.state == "running":
        print(
            f"\n{found.requests:,} requests and {found.images:,} images since the promotion; "
            f"{found.compared_with:,} requests before it"
        )
        print(f"looks: {one.looks} so far; the next one is due at {found.next_look}")
    if found.unreadable:
        print(f"{found.unreadable:,} lines of the records cannot be read")


def _line(one: "Measure") -> tuple[str, ...]:
    name = f"{one.name} ({one.about})" if one.about else one.name
    if one.outcome == "not judged":
        return name, "-", "-", "-", "-", one.outcome
    shares = [f"{value:.1%}" for value in (one.before, one.found, one.allowed)]
    return name, *shares, f"{one.chance:.2g}", "BREACH" if one.outcome == "breach" else one.outcome
