"""Telemetry is disabled in every process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.settings import CHECKOUT
from components.telemetry import OFF


def test_configuration_files_disable_telemetry_too() -> None:
    """In the image of a Bento, and in runs of a Prefect worker that was started separately."""
    bento = {one["name"]: one["value"] for one in yaml.safe_load((CHECKOUT / "bentofile.yaml").read_text())["envs"]}
    work_pool = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["definitions"]["work_pool"]
    runs = work_pool["job_variables"]["env"]
    assert bento["BENTOML_DO_NOT_TRACK"] == OFF["BENTOML_DO_NOT_TRACK"]
    assert {name: value for name, value in runs.items() if name in OFF} == {
        name: value for name, value in OFF.items() if not name.startswith("PREFECT_SERVER")
    }


@pytest.mark.parametrize("module", ["components.registry.store", "components.export.onnx"])
def test_modules_that_import_such_packages_disable_telemetry(module: str, tmp_path: Path) -> None:
    code = f"import {module}, os, json; print(json.dumps(dict(os.environ)))"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(f'"{name}": "{value}"' in done.stdout for name, value in OFF.items())
