"""The supervisor's configuration."""

import re

from components.paths import CHECKOUT
from ops.layout import CONFIG, read_layout


def test_every_script_in_the_configuration_exists() -> None:
    scripts = set(re.findall(r"%\(ENV_FASHION_STACK_CODE\)s/([^\"\s]+\.py)", CONFIG.read_text()))
    assert scripts
    assert [name for name in scripts if not (CHECKOUT / name).is_file()] == []


def test_every_variable_in_the_configuration_is_set() -> None:
    variables = set(re.findall(r"%\(ENV_(\w+)\)s", CONFIG.read_text()))
    assert variables <= set(read_layout().environment())
