"""Comparing presets and seeds."""

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fashion.cli.arguments import Json, SampleFallback, Source, resume_command
from fashion.cli.progress import waiting
from fashion.cli.tables import print_next, print_table, program
from fashion.cli.training import quiet_expected_errors, read_fields

if TYPE_CHECKING:
    from components.training.sweeps.candidates import Outcome
    from flows.sweep import Sweep

COLUMNS = ("PRESET", "SEED", "ACCURACY", "LOSS", "EPOCHS", "SECONDS", "PARAMETERS", "")


def sweep(
    presets: Annotated[str, typer.Option(help="Presets, separated by commas.")] = "dense-128",
    seeds: Annotated[str, typer.Option(help="Random seeds, separated by commas.")] = "0,1,2",
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training images [default: each preset's].")
    ] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Any other field, for all presets; repeatable."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Trainings that run at a time.")] = 2,
    source: Source = "auto",
    sample_fallback: SampleFallback = False,
    save: Annotated[bool, typer.Option("--save", help="Save the model with the best validation accuracy.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep finished trainings and resume unfinished ones.")
    ] = False,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="CSV file to write the table to.")] = None,
    as_json: Json = False,
) -> None:
    """Train each preset with each seed and rank them by validation accuracy; the test split is not used to choose.

    Starts a temporary Prefect server, in about ten seconds, unless PREFECT_API_URL names one.
    """
    from components.errors import SettingsError

    names = tuple(name.strip() for name in presets.split(","))
    try:
        numbers = tuple(map(int, seeds.split(",")))
    except ValueError as error:
        raise SettingsError(f"--seeds {seeds}: expected whole numbers separated by commas") from error
    overrides = read_fields(fields or []) | ({} if epochs is None else {"epochs": epochs})
    from components.files import require_writable
    from components.registry.store import home
    from components.settings import load_settings
    from components.training.presets import configure
    from fashion.training import open_sweep
    from ops.stopping import stop

    for name in names:  # bad settings fail here, before a server starts
        configure(name, {**overrides, "seed": numbers[0]})
    require_writable(load_settings().data_dir, home(), *([output.parent] if output else []))
    stop.keep("finished and unfinished trainings are kept", can_resume=True)
    stop.command = resume_command(source)
    with waiting("starting Prefect"):
        sweep = open_sweep()
    quiet_expected_errors()
    found = sweep(names, numbers, overrides, workers, source, sample_fallback, save, resume)
    if output:
        write_table(output, found.outcomes)
    if as_json:
        print(json.dumps(asdict(found)))
    else:
        print_results(found)


def write_table(path: Path, outcomes: "list[Outcome]") -> None:
    """Write one row per training, best first."""
    from components.files import whole_file

    rows = [asdict(outcome) for outcome in outcomes]
    with whole_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def print_results(found: "Sweep") -> None:
    """Print the table and the best training."""
    print_table(list(map(_line, found.outcomes)), COLUMNS)
    best = found.outcomes[0]
    print(f"\nbest by validation: {best.preset}, seed {best.seed}")
    if found.saved:
        print(f"saved as {found.saved}, test accuracy {found.test_accuracy:.4f}")
        print_next([(f"{program()} promote {found.saved}", "make it live if it passes the gate and the canary")])


def _line(outcome: "Outcome") -> tuple[str, ...]:
    if outcome.validation_accuracy is None:
        return (outcome.preset, str(outcome.seed), "-", "-", "-", "-", f"{outcome.parameters:,}", outcome.error)
    figures = f"{outcome.validation_accuracy:.4f}", f"{outcome.validation_loss:.4f}", str(outcome.epochs)
    return (outcome.preset, str(outcome.seed), *figures, f"{outcome.seconds:.1f}", f"{outcome.parameters:,}", "")
