"""Prometheus' own tool, on the rules in deploy."""

import shutil
import subprocess

import pytest

from components.settings import CHECKOUT

FOLDER = CHECKOUT / "deploy" / "prometheus"


def promtool(*arguments: object) -> str:
    """What it says; it fails the test where it finds fault."""
    if shutil.which("promtool") is None:
        pytest.skip("no promtool is installed; it comes with Debian's package prometheus")
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
