"""No package reports usage, whoever starts it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.settings import CHECKOUT
from components.telemetry import OFF


def test_what_starts_without_python_of_ours_says_the_same() -> None:
    """A Bento's image, and a worker of Prefect's that somebody else started."""
    bento = {one["name"]: one["value"] for one in yaml.safe_load((CHECKOUT / "bentofile.yaml").read_text())["envs"]}
    work_pool = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["definitions"]["work_pool"]
    runs = work_pool["job_variables"]["env"]
    assert bento["BENTOML_DO_NOT_TRACK"] == OFF["BENTOML_DO_NOT_TRACK"]
    assert {name: value for name, value in runs.items() if name in OFF} == {
        name: value for name, value in OFF.items() if not name.startswith("PREFECT_SERVER")
    }


@pytest.mark.parametrize("module", ["components.registry.store", "components.export.onnx"])
def test_modules_that_import_such_packages_switch_it_off(module: str, tmp_path: Path) -> None:
    code = f"import {module}, os, json; print(json.dumps(dict(os.environ)))"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(f'"{name}": "{value}"' in done.stdout for name, value in OFF.items())
