"""Runs promtool on the Prometheus rules in deploy."""

import shutil
import subprocess

import pytest

from components.settings import CHECKOUT

FOLDER = CHECKOUT / "deploy" / "prometheus"


def promtool(*arguments: object) -> str:
    """Run promtool and return its output; fails the test if promtool reports an error."""
    if shutil.which("promtool") is None:
        pytest.skip("no promtool is installed; it comes with Debian's package prometheus")
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
