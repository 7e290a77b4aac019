"""Prefect artifacts of a training run: dataset, metrics, confusion matrix, verdict, impact and result.

Images are embedded as data: URLs, which Prefect's UI renders in Markdown.
"""

import base64
from pathlib import Path

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from components.contract import Dataset, Metrics, ModelCard, Validated, Verdict
from components.errors import ValidationError
from components.evaluation.compare import Changes
from components.evaluation.figures import draw_confusion
from components.promotion.promote import Promotion
from flows.escaping import escape, to_paths, to_table

SAMPLE = "**Synthetic sample**: these metrics say nothing about real photos."
Row = dict[str, str]


def show_dataset(validated: Validated) -> None:
    """Show the training data and the path of its validation page."""
    dataset = validated.dataset
    rows = {
        "version": dataset.version,
        "source": dataset.source,
        "images": f"{dataset.rows:,}",
        "expectations": f"{validated.expectations} met",
    }
    create_markdown_artifact(
        f"# Dataset {escape(dataset.version)}\n\n{to_table(rows)}\n\n{to_paths({'validation page': validated.docs})}",
        key="dataset",
        description=f"{dataset.rows:,} images, {validated.expectations} expectations met",
    )


def show_rejection(dataset: Dataset, error: ValidationError) -> None:
    """Show why a dataset was rejected, and the path of its validation page."""
    broken = "\n".join(f"- {escape(str(one))}" for one in error.broken)
    pages = to_paths({"validation page": error.page}) if error.page else ""
    create_markdown_artifact(
        f"# Dataset {escape(dataset.version)} rejected\n\n{pages}\n\nFailed expectations:\n\n{broken}",
        key="dataset",
        description=f"{dataset.rows:,} images, {len(error.broken)} expectations failed",
    )


def show_metrics(card: ModelCard) -> None:
    """Show the test metrics by class and the confusion matrix."""
    metrics = card.test
    low, high = metrics.accuracy_interval
    summary = f"test accuracy {metrics.accuracy:.4f} ({low:.4f} to {high:.4f}), coverage {metrics.coverage:.1%}"
    if card.known:
        summary += f", unknown {card.known.test_refused:.1%}"
    create_table_artifact(to_class_rows(metrics), key="metrics", description=summary)
    image = f"![confusion matrix]({to_data_url(draw_confusion(metrics))})"  # an image artifact would print the full URL
    create_markdown_artifact(image, key="confusion", description="rows: true classes, columns: predicted classes")


def show_verdict(promotion: Promotion) -> None:
    """Show the verdict of the gate and the canary, one row per check."""
    if verdict := promotion.verdict:
        summary = f"{verdict.outcome}: {verdict.challenger} compared with {verdict.champion or 'no other model'}"
        create_table_artifact(to_check_rows(verdict), key="verdict", description=summary)


def show_impact(tag: str, other: str, changes: Changes, page: Path) -> None:
    """Show how many test images get another label than from the other model."""
    summary = f"{changes.flips:,} of {changes.images:,} test images change label"
    rows = {"compared with": other, "label changes": f"{changes.flips:,} of {changes.images:,}"}
    if changes.labelled:
        rows |= {"fixed": f"{changes.fixed:,}", "regressed": f"{changes.regressed:,}"}
    text = f"# Impact of {escape(tag)}\n\n{to_table(rows)}\n\n{to_paths({'page with images': page})}"
    create_markdown_artifact(text, key="impact", description=summary)


def show_result(heading: str, rows: dict[str, str], verdict: str, paths: dict[str, Path], *, sample: bool) -> None:
    """Show the result of the run. The verdict is not in the table, because Prefect's UI truncates long cells."""
    note = f"{SAMPLE}\n\n" if sample else ""
    table = f"{to_table(rows)}\n\n" if rows else ""
    text = f"# {escape(heading)}\n\n{note}{table}Verdict: {escape(verdict)}\n\n{to_paths(paths)}"
    create_markdown_artifact(text, key="training", description=escape(heading))


def to_class_rows(metrics: Metrics) -> list[Row]:
    """One row per class, and one for all classes."""
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
    total = {
        "class": "all",
        "images": f"{metrics.rows:,}",
        "precision": "",
        "recall": f"{metrics.accuracy:.4f}",
        "f1": "",
    }
    return [*rows, total]


def to_check_rows(verdict: Verdict) -> list[Row]:
    """One row per check."""
    return [
        {
            "check": escape(check.name),
            "measured": escape(check.measured),
            "bound": escape(check.bound),
            "outcome": "passed" if check.passed else "FAILED",
        }
        for check in verdict.checks
    ]


def to_data_url(svg: str) -> str:
    """Return a data: URL of an SVG, with a white background for dark mode."""
    opaque = svg.replace("<svg", '<svg style="background:#fff;color:#111"', 1)
    return f"data:image/svg+xml;base64,{base64.b64encode(opaque.encode()).decode()}"
