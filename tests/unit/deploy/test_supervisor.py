"""The supervisor's configuration."""

import re

from ops.layout import CONFIG


def test_every_script_in_the_configuration_exists() -> None:
    scripts = set(re.findall(r"%\(here\)s/([^\"\s]+\.py)", CONFIG.read_text()))
    assert scripts
    assert [name for name in scripts if not (CONFIG.parent / name).is_file()] == []
