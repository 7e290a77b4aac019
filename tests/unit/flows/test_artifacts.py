"""Prefect artifacts: their content, and that external text cannot inject markup."""

import base64
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from components.contract import GateCheck, ModelCard
from components.evaluation.figures import draw_confusion
from components.promotion.bounds import GateBounds
from components.promotion.gate import verdict_of
from components.readers.folders.names import LeftOut
from components.scoring.job import Summary
from components.scoring.summary import Count
from fashion.cli.scoring import print_summary
from flows.artifacts import to_check_rows, to_class_rows, to_data_url
from flows.escaping import escape, to_paths, to_table
from flows.scoring import to_markdown

MARKDOWN = MarkdownIt("gfm-like", {"html": True, "linkify": False})


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '<img src=x onerror="alert(1)">',
        "[click](javascript:alert(1))",
        "![x](http://example.com/pixel.png)",
        "a | b | c",
        "`code` and **bold** and ~~gone~~",
        "back\\slash \\| pipe",
        "5 < 6 & 7 > 2",
        "&lt;b&gt;",
    ],
)
def test_text_is_displayed_literally(text: str) -> None:
    """With the Markdown rules of Prefect's UI: GitHub's, with HTML enabled."""
    html = MARKDOWN.render(to_table({"source": text}))
    cells = MARKDOWN.parse(to_table({"source": text}))
    inline = [token for token in cells if token.type == "inline" and token.content]
    assert len(inline) == 2, "always two cells"
    assert {child.type for child in inline[1].children or ()} <= {"text", "text_special"}, html
    assert "".join(child.content for child in inline[1].children or ()) == text


def test_line_breaks_and_secrets_are_removed() -> None:
    assert escape("a\n# heading\n\ntoken=abc123") == r"a # heading token=\*\*\*"


def test_a_file_is_a_link_that_shows_its_path() -> None:
    assert to_paths({"report": Path("/data/a [b] (c).html")}) == (
        r"- report: [/data/a \[b\] (c).html](file:///data/a%20%5Bb%5D%20%28c%29.html)"
    )
    assert "file:" not in to_paths({"report": Path("/data/token=abc123/a.html")})


def test_a_verdict_has_one_escaped_row_per_check() -> None:
    checks = [
        GateCheck("accuracy", True, "0.9", "at least 0.8", ""),
        GateCheck("[x](http://y)", False, "<b>", "at least 0.8", ""),
    ]
    good, bad = to_check_rows(verdict_of("fashion-mlp:aaaaaaaa", None, checks, GateBounds()))
    assert good == {"check": "accuracy", "measured": "0.9", "bound": "at least 0.8", "outcome": "passed"}
    assert bad["outcome"] == "FAILED"
    assert bad["check"] == r"\[x\](http://y)"
    assert bad["measured"] == "&lt;b&gt;"


def test_metrics_have_one_row_per_class_and_a_total(card: ModelCard) -> None:
    *classes, total = to_class_rows(card.test)
    assert [row["class"] for row in classes] == [one.name for one in card.test.classes]
    assert classes[3]["f1"] == f"{card.test.classes[3].f1:.4f}"
    assert (total["images"], total["recall"]) == (f"{card.test.rows:,}", f"{card.test.accuracy:.4f}")


def test_the_confusion_matrix_is_readable_in_dark_mode(card: ModelCard) -> None:
    kind, _, content = to_data_url(draw_confusion(card.test)).partition(",")
    assert kind == "data:image/svg+xml;base64"
    svg = base64.b64decode(content).decode()
    assert svg.startswith('<svg style="background:#fff;color:#111"')
    assert 'xmlns="http://www.w3.org/2000/svg"' in svg


@pytest.mark.parametrize(
    ("unknown", "printed"), [(7, "2 of them not sure, 7 unknown -> out.csv"), (0, "not sure -> out.csv")]
)
def test_the_summary_of_a_scoring_run_has_the_unknown_rows(
    unknown: int, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    count = Count(rows=100, scored=100, not_sure=2, unknown=unknown)
    summary = Summary(count, 2.0, 0, "fashion-mlp:aaaaaaaa", "", "", "", "", LeftOut())
    assert f"| unknown | {unknown} |" in to_markdown(summary, "in.csv", "out.csv")
    print_summary(summary, Path("out.csv"), as_json=False)
    assert printed in capsys.readouterr().out
