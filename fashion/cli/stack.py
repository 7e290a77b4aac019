"""Running the whole system on this machine: up, status, down."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from fashion.cli.arguments import Json
from fashion.cli.tables import print_table

if TYPE_CHECKING:
    from ops.layout import StackLayout
    from ops.start import Piece


def up(as_json: Json = False) -> None:
    """Start the Prefect server, its deployments, a worker and the service, and keep them running."""
    from ops import supervisor
    from ops.catalogues import asked_of_running, find_scheduled, kept_scheduled
    from ops.layout import read_layout, running_layout
    from ops.lock import alone
    from ops.project import write_project
    from ops.start import bring_up, deploy, look
    from ops.stopping import stop

    def echo(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    stop.keep("what is up stays up; 'fashion up' starts the rest, 'fashion down' stops everything")
    layout = read_layout()
    with alone(layout):
        if supervisor.is_up(layout):
            layout = running_layout()
            scheduled = asked_of_running(layout.home)
        else:
            scheduled = find_scheduled()
        was_up = [piece.is_well for piece in look(layout)]
        if not was_up or not all(was_up):
            bring_up(layout, scheduled, echo)
        elif scheduled != kept_scheduled(layout.home):
            deploy(layout, scheduled, echo)
        else:
            echo("already up")
        write_project(layout, Path.cwd())
    _show(layout, look(layout), as_json)


def status(as_json: Json = False) -> None:
    """Show whether each piece of the stack runs and answers, and where. Exit status 1 unless all do."""
    from components.errors import StackError
    from ops import supervisor
    from ops.layout import running_layout
    from ops.start import look

    layout = running_layout()
    pieces = look(layout)
    if pieces or as_json:
        _show(layout, pieces, as_json)
    if not pieces and (left := supervisor.orphans(layout)):
        found = ", ".join(f"{name} ({', '.join(str(one.pid) for one in left[name])})" for name in sorted(left))
        raise StackError(f"supervisord does not answer, but {found} still run. Run 'fashion up' to replace them")
    if not pieces:
        raise StackError("the stack is down; 'fashion up' starts it")
    if bad := [piece.name for piece in pieces if not piece.is_well]:
        raise StackError(f"not well: {', '.join(bad)}. See the logs in {layout.logs}")


def down(as_json: Json = False) -> None:
    """Stop everything that 'fashion up' started, including flow runs."""
    from ops import supervisor
    from ops.layout import running_layout
    from ops.lock import alone
    from ops.project import remove_project
    from ops.stopping import stop

    stop.keep("some of it may still be up; run the same command again")
    layout = running_layout()
    with alone(layout):
        remove_project(layout)
        if not supervisor.is_up(layout) and not supervisor.marked(layout):
            print(json.dumps({"was_up": False, "runs": 0}) if as_json else "already down")
            return
        runs = supervisor.stop(layout)
    if as_json:
        print(json.dumps({"was_up": True, "runs": runs}))
        return
    print(f"the stack is down{f'; {runs} processes of flow runs were stopped' if runs else ''}")


def _show(layout: "StackLayout", pieces: "list[Piece]", as_json: bool) -> None:
    from ops.catalogues import describe_scheduled, kept_scheduled
    from ops.project import find_project
    from ops.start import find_model_problem, sends_notifications

    is_served = any(piece.name == "service" and piece.is_well for piece in pieces)
    problem = find_model_problem(layout) if is_served else ""
    catalogues = kept_scheduled(layout.home).names
    if as_json:
        rows = {piece.name: {**asdict(piece), "is_well": piece.is_well} for piece in pieces}
        summary = {
            "pieces": rows,
            "api": layout.api,
            "logs": str(layout.logs),
            "sends_notifications": sends_notifications(layout),
        }
        print(json.dumps({**summary, "model_problem": problem, "catalogues": catalogues}))
        return
    print_table(
        [
            (piece.name, _state_of(piece), layout.addresses.get(piece.name, ("",))[0], _log_of(layout, piece))
            for piece in pieces
        ]
    )
    print(f"\ncatalogues: {describe_scheduled(catalogues)}")
    if problem:
        print(f"\nmodel: {problem}")
    if sends_notifications(layout) is False:
        print("\nno one is notified of failures: set FASHION_NOTIFY_URL, then run 'fashion down' and 'fashion up'")
    if project := find_project(layout):
        print(f"\n'prefect' reaches this server in {project.parent}; elsewhere, and for 'fashion train':")
    else:
        print("\nfor 'prefect' and 'fashion train' in this shell:")
    print(f"export PREFECT_API_URL={layout.api}")


def _state_of(piece: "Piece") -> str:
    return "does not answer" if piece.state == "RUNNING" and not piece.answers else piece.state.lower()


def _log_of(layout: "StackLayout", piece: "Piece") -> str:
    return str(layout.logs / f"{piece.name}.log")
