"""The examples: the drawn files, and what the Compose file refers to."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from prefect.settings import Settings as PrefectSettings
from pydantic import AliasChoices
from pydantic_settings import BaseSettings

from components.catalogues.fashion_mnist import CONTRACT
from components.readers.images.photos import read_photo
from components.settings import CHECKOUT
from docs.build.variables import CLASSES
from examples.client import main
from examples.draw import GARMENTS, SIZE, draw_photo
from flows.training import training
from ops.layout import SERVER_DEFAULTS
from serving.guard import Guard

EXAMPLES = CHECKOUT / "examples"
COMPOSE: dict[str, Any] = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("prefect", "register", "worker", "service")


# --- drawn files ---


@pytest.mark.parametrize("name", GARMENTS)
def test_each_photo_is_what_the_script_draws(name: str) -> None:
    path = EXAMPLES / "photos" / f"{name}.png"
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"), np.int16)
    assert pixels.shape == (SIZE, SIZE, 3)
    assert np.abs(pixels - np.asarray(draw_photo(name), np.int16)).mean() < 3  # saved with 64 colours
    assert path.stat().st_size < 5000


def test_the_catalogue_names_every_photo_and_one_that_is_missing() -> None:
    header, *rows = (EXAMPLES / "catalogue.csv").read_text().splitlines()
    assert header == "sku,image"
    missing = [row for row in rows if not (EXAMPLES / row.split(",")[1]).is_file()]
    assert len(rows) == len(GARMENTS) + 1
    assert missing == ["A-007,photos/not-delivered.png"]


def test_the_pixels_are_those_of_the_first_photos() -> None:
    header, *rows = (EXAMPLES / "pixels.csv").read_text().splitlines()
    assert header.split(",")[::784] == ["id", "pixel784"]
    for row, name in zip(rows, GARMENTS, strict=False):
        photo = read_photo((EXAMPLES / "photos" / f"{name}.png").read_bytes(), CONTRACT)
        np.testing.assert_array_equal(np.array(row.split(",")[1:], np.uint8), photo.ravel())


# --- client.py ---


def test_the_client_needs_nothing_but_the_standard_library() -> None:
    command = [sys.executable, "-I", "-S", str(EXAMPLES / "client.py")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "usage: client.py PHOTO...\n")


def test_the_client_reports_a_missing_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([str(tmp_path / "gone.png")]) == 1
    assert capsys.readouterr().err.startswith("failed: [Errno 2] No such file or directory")


# --- compose.yaml ---


def variables_of(kind: type[BaseSettings]) -> Iterator[str]:
    """Every environment variable that a settings class reads, nested classes included."""
    prefix = str(kind.model_config.get("env_prefix", ""))
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseSettings):
            yield from variables_of(field.annotation)
            continue
        yield f"{prefix}{name}".upper()
        if isinstance(field.validation_alias, AliasChoices):
            yield from (str(choice).upper() for choice in field.validation_alias.choices)


def test_every_variable_exists() -> None:
    kinds: list[type[BaseSettings]] = [PrefectSettings, *CLASSES.values()]
    known = {name for kind in kinds for name in variables_of(kind)}
    known |= {"BENTOML_HOME", *re.findall(r"FASHION_[A-Z_]+", Guard.__doc__ or ""), "FASHION_TOKEN"}
    for name in OURS:
        assert SERVICES[name]["environment"].keys() - known == set()


def test_the_server_is_set_up_as_the_stack_sets_it_up() -> None:
    environment = SERVICES["prefect"]["environment"]
    own = {name for name in environment if name.startswith("PREFECT_SERVER_")}
    assert {name: environment[name] for name in own} == {name: SERVER_DEFAULTS[name] for name in own}
    worker = SERVICES["worker"]["environment"]
    for name in ("PREFECT_WORKER_ENABLE_CANCELLATION", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"):
        assert worker[name] == SERVER_DEFAULTS[name]


@pytest.mark.parametrize("name", OURS)
def test_every_command_is_installed(name: str) -> None:
    program = Path(SERVICES[name]["command"][0])
    assert program.parent == Path(".venv/bin")
    assert Path(sys.executable).with_name(program.name).exists()


def test_services_volumes_and_secrets_refer_to_each_other() -> None:
    for service in SERVICES.values():
        assert service.get("depends_on", {}).keys() <= SERVICES.keys()
        assert {volume.split(":")[0] for volume in service["volumes"]} <= COMPOSE["volumes"].keys()
        assert set(service.get("secrets", ())) <= COMPOSE["secrets"].keys()
    for name in OURS:
        folders = [volume.split(":")[1] for volume in SERVICES[name]["volumes"]]
        environment = SERVICES[name]["environment"]
        assert folders == [environment["BENTOML_HOME"], environment["FASHION_DATA_DIR"]]


def test_ports_are_open_on_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_images_have_a_version() -> None:
    assert re.fullmatch(r"postgres:\d+\.\d+-\w+", SERVICES["database"]["image"])
    assert re.search(r"^FROM python:3\.\d+-slim-\w+$", (EXAMPLES / "Dockerfile").read_text(), re.MULTILINE)


def test_the_training_that_it_suggests_has_these_parameters() -> None:
    suggested = re.findall(r"deployment run (\S+) --param (\w+)=", (EXAMPLES / "compose.yaml").read_text())
    assert suggested == [("training/on-demand", "preset")]
    assert "preset" in training.parameters.properties
