"""What an error offers, in the words of the command that it ended: only options that this command has."""

import functools
import inspect
import shlex
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from components.errors import FashionError, Remedy

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
            if remedies := [_spell(remedy) for remedy in error.remedies if remedy.parameter in options]:
                error.add_note(", ".join(remedies))
            raise

    return run


def _spell(remedy: Remedy) -> str:
    """--drop image reads the pixels"""
    value = "tab" if remedy.value == "\t" else shlex.quote(remedy.value) if remedy.value else ""
    return " ".join(filter(None, [f"--{remedy.parameter}", value, remedy.effect]))
