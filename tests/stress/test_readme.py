"""The commands of the README that train again, compare, export and take back."""

from pathlib import Path

import pytest
from readme import AFTERWARDS, FIRST, User

pytestmark = pytest.mark.slow


def test_each_command_does_what_it_says(tmp_path: Path, archives: Path) -> None:
    User.prepare(tmp_path, archives).type_each([FIRST, *AFTERWARDS])
