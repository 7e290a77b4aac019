"""Checking the set-up of this machine."""

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import typer

from fashion.cli.arguments import Json
from fashion.cli.tables import in_bytes, print_table

OLDEST = (3, 11)  # Python
SPACE = 2_000_000_000  # bytes: a dataset, ten flagship models and a job's temporary files


@dataclass(frozen=True)
class Finding:
    """One thing that was checked."""

    state: str  # ok, warning, failed
    what: str
    found: str
    remedy: str = ""


def doctor(as_json: Json = False) -> None:
    """Check Python, packages, disk, ports, Prefect, settings and the live model, with a remedy for each problem."""
    found = list(examine())
    if as_json:
        print(json.dumps([asdict(one) for one in found]))
    else:
        print_table([(one.state, one.what, one.found) for one in found])
        if problems := [one for one in found if one.remedy]:
            print("\nwhat to do")
            for one in problems:
                print(f"  {one.what}: {one.remedy}")
    if any(one.state == "failed" for one in found):
        raise typer.Exit(1)


def examine() -> Iterator[Finding]:
    """Everything that is checked, in the order in which one would mend it."""
    version = ".".join(map(str, sys.version_info[:3]))
    old = sys.version_info < OLDEST
    yield Finding("failed" if old else "ok", "Python", version, "install Python 3.11 or later" if old else "")
    yield _check_packages()
    yield (settings := _check_settings())
    if settings.state != "failed":
        yield from _check_folders()
        yield from _check_ports()
    yield _check_prefect()
    yield _check_live()


def _check_packages() -> Finding:
    from importlib.metadata import PackageNotFoundError, requires, version

    wrong = []
    for requirement in requires("fashion") or []:
        name, needed, marker = re.fullmatch(r"([\w-]+)[^>;]*(?:>=([\d.]+))?[^;]*(.*)", requirement).groups()  # type: ignore[union-attr]
        if marker and ("extra" in marker or "win32" in marker):
            continue
        try:
            if needed and _numbers(version(name)) < _numbers(needed):
                wrong.append(f"{name} {version(name)}, expected {needed} or later")
        except PackageNotFoundError:
            wrong.append(f"{name} is missing")
    if wrong:
        return Finding("failed", "packages", "; ".join(wrong), "run 'make setup', or install the wheel again")
    return Finding(
        "ok", "packages", f"torch {version('torch')}, prefect {version('prefect')}, bentoml {version('bentoml')}"
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3])


def _check_settings() -> Finding:
    from components.errors import DatasetError, SettingsError
    from fashion.cli.every_setting import check_every_setting
    from ops.settings_file import FILE, NAMES, VARIABLE, given

    try:
        check_every_setting()
    except (SettingsError, DatasetError) as error:
        return Finding("failed", "settings", str(error), "correct the variable, or its line in fashion.toml")
    prefixes = ("FASHION_GATE_", "FASHION_DRIFT_", "FASHION_STACK_", VARIABLE)
    names = [name for name in os.environ if name.startswith("FASHION_") and not name.startswith(prefixes)]
    if unknown := sorted(set(names) - NAMES):
        return Finding("warning", "settings", f"unknown: {', '.join(unknown)}", "see docs/settings.md for their names")
    source = f"{len(given)} of them from {os.environ.get(VARIABLE) or FILE}" if given else "from the environment"
    return Finding("ok", "settings", f"{len(names)} set, {source}")


def _check_folders() -> Iterator[Finding]:
    from components.registry.store import bentoml_home
    from components.settings import load_settings

    for what, folder in (("data folder", load_settings().data_dir), ("BENTOML_HOME", bentoml_home())):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        try:
            tempfile.TemporaryFile(dir=existing).close()
        except OSError as error:
            yield Finding("failed", what, f"{folder}: {error.strerror}", f"make {existing} writable, or choose another")
            continue
        free = shutil.disk_usage(existing).free
        remedy = "" if free >= SPACE else f"free {in_bytes(SPACE - free)}; 'fashion prune' removes old models"
        yield Finding("warning" if remedy else "ok", what, f"{folder}, {in_bytes(free)} free", remedy)


def _check_ports() -> Iterator[Finding]:
    from components.errors import SettingsError
    from ops.layout import read_layout
    from ops.ports import find_occupant, refuse_used_port
    from ops.start import look

    ours = {piece.name for piece in look(read_layout()) if piece.is_well}
    for name, piece, default in (("PORT", "service", 3000), ("PREFECT_PORT", "prefect", 4200)):
        port = int(os.environ.get(name) or default)
        if piece in ours:
            yield Finding("ok", f"port {port}", "in use by this stack")
            continue
        try:
            refuse_used_port("127.0.0.1", port, name)
            yield Finding("ok", f"port {port}", "free")
        except SettingsError as error:
            occupant = find_occupant("127.0.0.1", port)
            if piece == "service" and occupant.is_ours:
                yield Finding("ok", f"port {port}", f"in use by {occupant}; stop it before 'fashion up'")
            else:
                yield Finding("warning", f"port {port}", str(error), f"stop that process, or set {name}")


def _check_prefect() -> Finding:
    from flows.notify.redact import redact

    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return Finding("ok", "Prefect", "a temporary server for each training")
    import httpx

    try:
        answer = httpx.get(f"{url.rstrip('/')}/health", timeout=5)
        found = "" if answer.status_code < 500 else f"status {answer.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        found = str(error) or type(error).__name__
    if found:
        return Finding("failed", "Prefect", f"{redact(url)}: {found}", "run 'fashion up', or unset PREFECT_API_URL")
    return Finding("ok", "Prefect", f"the server at {redact(url)} answers")


def _check_live() -> Finding:
    from components.errors import FashionError
    from components.registry.champion import check_live, live_move

    try:
        move = live_move()
        card = check_live(move)
    except FashionError as error:
        missing = "no model is live" in str(error)
        remedy = "run 'fashion train'" if missing else "run 'fashion rollback'"
        return Finding("warning" if missing else "failed", "live model", str(error), remedy)
    return Finding("ok", "live model", f"{move.tag}, test accuracy {card.test.accuracy:.4f}, since {move.when[:10]}")
