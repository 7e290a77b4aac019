"""What an error offers, in the words of the command that it ended: only options that this command has."""

import functools
import inspect
import shlex
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from components.errors import FashionError, Way

P = ParamSpec("P")
R = TypeVar("R")


def advising(command: Callable[P, R]) -> Callable[P, R]:
    """A command whose errors name those of its options that help."""
    options = inspect.signature(command).parameters

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except FashionError as error:
            if ways := [_spell(way) for way in error.ways if way.parameter in options]:
                error.add_note(", ".join(ways))
            raise

    return run


def _spell(way: Way) -> str:
    """--drop image reads the pixels"""
    value = "tab" if way.value == "\t" else shlex.quote(way.value) if way.value else ""
    return " ".join(filter(None, [f"--{way.parameter}", value, way.effect]))
