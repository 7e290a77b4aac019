"""Several recipes with several seeds, side by side."""

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fashion.cli.arguments import Json, SampleFallback, Source, resume_command
from fashion.cli.tables import print_table
from fashion.cli.training import quiet_expected_errors, read_fields

if TYPE_CHECKING:
    from components.training.sweeps.candidates import Outcome
    from flows.sweep import Sweep

COLUMNS = ("PRESET", "SEED", "ACCURACY", "LOSS", "EPOCHS", "SECONDS", "PARAMETERS", "")


def sweep(
    presets: Annotated[str, typer.Option(help="Recipes, with commas between.")] = "dense-128",
    seeds: Annotated[str, typer.Option(help="Seeds, with commas between.")] = "0,1,2",
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images [each preset's].")] = None,
    fields: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Any other field, for all; see presets.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Trainings at a time.")] = 2,
    source: Source = "auto",
    sample_fallback: SampleFallback = False,
    save: Annotated[
        bool, typer.Option("--save", help="Store the best by validation as a model; 'fashion promote' asks the gate.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Take trainings that are done, go on with those begun.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="The table as a CSV file.")] = None,
    as_json: Json = False,
) -> None:
    """Train each preset with each seed and tell which is best by its validation rows. The test split chooses nothing.

    Without PREFECT_API_URL a temporary Prefect server is started, which takes ten seconds.
    """
    from components.errors import SettingsError

    names = tuple(name.strip() for name in presets.split(","))
    try:
        numbers = tuple(map(int, seeds.split(",")))
    except ValueError as error:
        raise SettingsError(f"--seeds {seeds}: expected whole numbers with commas between") from error
    overrides = read_fields(fields or []) | ({} if epochs is None else {"epochs": epochs})
    from components.files import require_writable
    from components.registry.store import home
    from components.settings import load_settings
    from components.training.presets import configure

    for name in names:  # bad settings end here, before a server is started
        configure(name, {**overrides, "seed": numbers[0]})
    require_writable(load_settings().data_dir, home(), *([output.parent] if output else []))
    from ops.server import use_server
    from ops.stopping import stop

    stop.keep("trainings that are done or begun are kept", can_resume=True)
    stop.command = resume_command(source)
    server = use_server()
    from flows.sweep import sweep

    server.wait()
    quiet_expected_errors()
    found = sweep(names, numbers, overrides, workers, source, sample_fallback, save, resume)
    if output:
        write_table(output, found.outcomes)
    if as_json:
        print(json.dumps(asdict(found)))
    else:
        print_results(found)


def write_table(path: Path, outcomes: "list[Outcome]") -> None:
    """A row a training, best first."""
    from components.files import whole_file

    rows = [asdict(outcome) for outcome in outcomes]
    with whole_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def print_results(found: "Sweep") -> None:
    """The table, and what it says."""
    print_table([COLUMNS, *map(_line, found.outcomes)])
    best = found.outcomes[0]
    print(f"\nbest by validation: {best.preset}, seed {best.seed}")
    if found.saved:
        print(f"saved as {found.saved}, test accuracy {found.test_accuracy:.4f}")
        print(f"next: fashion promote {found.saved}")


def _line(outcome: "Outcome") -> tuple[str, ...]:
    if outcome.validation_accuracy is None:
        return (outcome.preset, str(outcome.seed), "-", "-", "-", "-", f"{outcome.parameters:,}", outcome.error)
    figures = f"{outcome.validation_accuracy:.4f}", f"{outcome.validation_loss:.4f}", str(outcome.epochs)
    return (outcome.preset, str(outcome.seed), *figures, f"{outcome.seconds:.1f}", f"{outcome.parameters:,}", "")
