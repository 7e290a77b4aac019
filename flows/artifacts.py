"""What Prefect's page shows of a training: dataset, metrics, confusion matrix, verdict, what changes, the result.

Pictures are data: URLs, which the page shows in a text.
"""

import base64
from pathlib import Path

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from components.contract import Metrics, ModelCard, Validated, Verdict
from components.evaluation.compare import Changes
from components.evaluation.figures import draw_confusion
from components.promotion.promote import Promotion
from flows.escaping import escape, to_paths, to_table

SAMPLE = "**sample**: drawn stand-ins, these figures say nothing about real clothes."
Row = dict[str, str]


def show_dataset(validated: Validated) -> None:
    """Which data was trained on, and where its Data Docs are."""
    dataset = validated.dataset
    rows = {
        "version": dataset.version,
        "source": dataset.source,
        "images": f"{dataset.rows:,}",
        "expectations": f"{validated.expectations} met",
    }
    create_markdown_artifact(
        f"# Dataset {escape(dataset.version)}\n\n{to_table(rows)}\n\n{to_paths({'Data Docs': validated.docs})}",
        key="dataset",
        description=f"{dataset.rows:,} images, {validated.expectations} expectations met",
    )


def show_metrics(card: ModelCard) -> None:
    """What the model does on the test split: a table by class, and the confusion matrix."""
    metrics = card.test
    low, high = metrics.accuracy_interval
    told = f"test accuracy {metrics.accuracy:.4f} ({low:.4f} to {high:.4f}), sure of {metrics.coverage:.1%}"
    create_table_artifact(to_class_rows(metrics), key="metrics", description=told)
    picture = f"![confusion matrix]({to_picture(draw_confusion(metrics))})"  # an image artifact shows its whole address
    create_markdown_artifact(picture, key="confusion", description="true classes down, predicted ones across")


def show_verdict(promotion: Promotion) -> None:
    """What the gate and the canary said, a row a check."""
    if verdict := promotion.verdict:
        told = f"{verdict.outcome}: {verdict.challenger} beside {verdict.champion or 'nothing'}"
        create_table_artifact(to_check_rows(verdict), key="verdict", description=told)


def show_impact(tag: str, other: str, changes: Changes, page: Path) -> None:
    """How many test images change label in the place of another model."""
    told = f"{changes.flips:,} of {changes.images:,} test images change label"
    rows = {"beside": other, "change label": f"{changes.flips:,} of {changes.images:,}"}
    if changes.labelled:
        rows |= {"right now, wrong before": f"{changes.mended:,}", "wrong now, right before": f"{changes.broken:,}"}
    text = f"# What changes with {escape(tag)}\n\n{to_table(rows)}\n\n{to_paths({'page with pictures': page})}"
    create_markdown_artifact(text, key="impact", description=told)


def show_result(heading: str, rows: dict[str, str], verdict: str, paths: dict[str, Path], *, sample: bool) -> None:
    """How the run ended, as the flow tells it. A verdict is longer than a cell, which the page cuts off."""
    note = f"{SAMPLE}\n\n" if sample else ""
    table = f"{to_table(rows)}\n\n" if rows else ""
    text = f"# {escape(heading)}\n\n{note}{table}Verdict: {escape(verdict)}\n\n{to_paths(paths)}"
    create_markdown_artifact(text, key="training", description=escape(heading))


def to_class_rows(metrics: Metrics) -> list[Row]:
    """A row a class, and one for all."""
    rows = [
        {
            "class": one.name,
            "images": f"{one.support:,}",
            "precision": f"{one.precision:.4f}",
            "recall": f"{one.recall:.4f}",
            "f1": f"{one.f1:.4f}",
        }
        for one in metrics.classes
    ]
    whole = {
        "class": "all",
        "images": f"{metrics.rows:,}",
        "precision": "",
        "recall": f"{metrics.accuracy:.4f}",
        "f1": "",
    }
    return [*rows, whole]


def to_check_rows(verdict: Verdict) -> list[Row]:
    """A row a check."""
    return [
        {
            "check": escape(check.name),
            "measured": escape(check.measured),
            "bound": escape(check.bound),
            "outcome": "passed" if check.passed else "FAILED",
        }
        for check in verdict.checks
    ]


def to_picture(svg: str) -> str:
    """A data: URL of a drawing, readable on a dark page too."""
    paper = svg.replace("<svg", '<svg style="background:#fff;color:#111"', 1)
    return f"data:image/svg+xml;base64,{base64.b64encode(paper.encode()).decode()}"
