"""The reference of the command line, from the help of each command."""

from typing import Any

import typer

from fashion.cli.app import app


def describe_commands() -> str:
    """A page with every command by group: its help, arguments, options and example."""
    root: Any = typer.main.get_command(app)
    lines = ["# Command line", "", _help(root), ""]
    lines += _options(root, "fashion")
    groups = dict[str, list[tuple[str, Any]]]()
    for name, command in root.commands.items():
        groups.setdefault(command.rich_help_panel, []).append((name, command))
    for group, commands in groups.items():
        lines += [f"## {group}", ""]
        for name, command in commands:
            lines += _describe(command, f"fashion {name}", 3)
    return "\n".join(lines).rstrip() + "\n"


def _describe(command: Any, name: str, level: int) -> list[str]:
    lines = [f"{'#' * level} {name}", "", _help(command), ""]
    children = getattr(command, "commands", {})
    lines += _options(command, name)
    if example := (command.epilog or "").removeprefix("Example: "):
        lines += ["```console", f"$ {example}", "```", ""]
    for child, inner in children.items():
        lines += _describe(inner, f"{name} {child}", level + 1)
    return lines


def _help(command: Any) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n"))


def _options(command: Any, name: str) -> list[str]:
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join(command.get_usage(context).removeprefix("Usage: ").split())
    lines = ["```text", usage, "```", ""]
    records = [record for parameter in command.get_params(context) if (record := parameter.get_help_record(context))]
    rows = [f"| `{_cell(names)}` | {_escape(text)} |" for names, text in records if "--help" not in names]
    return [*lines, "| argument or option | |", "| --- | --- |", *rows, ""] if rows else lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _escape(text: str) -> str:
    """A table cell; angle brackets and stars are text, not HTML or emphasis."""
    escaped = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
    return escaped.replace("[", "\\[")
