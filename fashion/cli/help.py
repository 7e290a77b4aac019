"""How help looks: in groups, each command with an example, no line cut, and plain outside a terminal."""

from typing import Any, Literal, TypedDict

from typer.core import TyperGroup

from fashion.cli.tables import is_rich

SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
MARKUP: Literal["rich"] | None = "rich" if is_rich() else None


class Shown(TypedDict):
    """Arguments of `Typer.command`."""

    epilog: str
    context_settings: dict[str, Any]


def show_example(example: str) -> Shown:
    """What a command needs for its help to end with an example."""
    return {"epilog": f"Example: {example}", "context_settings": SETTINGS}


class Grouped(TyperGroup):
    """Help that lists the commands by group and cuts no line, also where the output is not a terminal."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List each group under its name."""
        panels = dict[str, list[tuple[str, str]]]()
        for name, command in self.commands.items():
            panel = getattr(command, "rich_help_panel", None) or "Commands"
            panels.setdefault(panel, []).append((name, first_sentence(command.help or "")))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)


def first_sentence(text: str) -> str:
    """What a list says of a command: the first line of its help, up to the first full stop."""
    line = text.strip().partition("\n")[0]
    return line if ". " not in line else line[: line.index(". ") + 1]
