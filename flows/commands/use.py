"""What a model is for: to score files, to be served, and to be taken elsewhere."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.commands.arguments import Json, Tag, dataset_of


def export(
    tag: Tag,
    file_format: Annotated[Literal["onnx"], typer.Option("--format", help="Of the file.")] = "onnx",
    precision: Annotated[
        Literal["float32", "int8"], typer.Option(help="int8 is a quarter of the size, and accurate to 0.003.")
    ] = "float32",
    output: Annotated[Path | None, typer.Option(help="The file [data/exports/TAG.PRECISION.onnx].")] = None,
    as_json: Json = False,
) -> None:
    """Write a model for phones and browsers, once it answers on the test split as the stored one does."""
    from components.registry.champion import load_model
    from components.registry.onnx import export_onnx
    from components.settings import load_settings

    model = load_model(tag)
    path = output or load_settings().exports_dir / f"{tag.replace(':', '-')}.{precision}.{file_format}"
    done = export_onnx(model, dataset_of(model.card), path, precision)
    if as_json:
        print(json.dumps(asdict(done), default=str))
        return
    print(f"accuracy {done.accuracy:.4f}, the model's {done.torch_accuracy:.4f}; {done.agreement:.2%} the same labels")
    print(f"{done.path}: {done.bytes / 1e6:.1f} MB, {done.precision}")


def score(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="CSV or Parquet: [id,][label,]pixel1,...,pixel784.")],
    output: Annotated[Path, typer.Argument(help="In kind: id,label,name,confidence,sure,model; rejects go beside it.")],
    model: Annotated[str | None, typer.Option(help="An exact tag [the live model's].")] = None,
    as_json: Json = False,
) -> None:
    """Classify every row of a table. Rows that cannot be read go to OUTPUT's .rejects.csv, with line and reason."""
    from components.errors import InputError
    from components.inference.score import rejects_path, score_file
    from components.registry.champion import load_model

    count = score_file(load_model(model), source, output)
    if as_json:
        print(json.dumps(asdict(count)))
    else:
        print(f"{count.rows:,} rows: {count.scored:,} scored in {count.seconds:.1f} s by {count.model} -> {output}")
        if count.rejected:
            print(f"{count.rejected:,} rejected -> {rejects_path(output)}")
    if count.rows and not count.scored:
        raise InputError(str(source), f"no row could be scored; {rejects_path(output)} says why")


def serve(
    port: Annotated[int, typer.Option(min=1, max=65535, envvar="PORT")] = 3000,
    host: Annotated[str, typer.Option(help="127.0.0.1 keeps it on this machine.")] = "127.0.0.1",
) -> None:
    """Serve the live model over HTTP, with BentoML."""
    from components.settings import CHECKOUT

    _refuse_used_port(host, port)
    program = str(Path(sys.executable).with_name("bentoml"))
    address = ["--host", host, "--port", str(port)]
    os.execv(program, [program, "serve", str(CHECKOUT), *address])


def bento(tag: Annotated[str | None, typer.Argument(help="An exact tag [the live model's].")] = None) -> None:
    """Build a Bento that holds one exact model and the serving code, and nothing else."""
    from components.registry.bento import build_bento

    built = build_bento(tag)
    print(built.tag if built.is_new else f"{built.tag}, built before from the same content")
    print(f"with {built.model}, verdict: {built.verdict}\nserve it from any folder: bentoml serve {built.tag}")


def _refuse_used_port(host: str, port: int) -> None:
    """BentoML answers a port in use with a page of traceback."""
    import socket

    from components.errors import SettingsError

    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host}, port {port}: {error.strerror}; PORT=... takes another"
        ) from error
