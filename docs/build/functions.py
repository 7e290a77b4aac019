"""The reference of the Python API: directives that mkdocstrings replaces by docstrings."""

import fashion

VALUES = (
    "components.model.classifier.Classifier",
    "components.contract.Predictions",
    "components.scoring.job.Summary",
    "flows.training.TrainingResult",
    "components.contract.DataContract",
    "components.contract.Dataset",
    "components.contract.Validated",
    "components.training.train.Trained",
    "components.contract.Metrics",
    "components.contract.ModelCard",
    "components.promotion.promote.Promotion",
    "components.contract.Verdict",
    "components.registry.champion.Move",
)
PUBLIC = ("load_model", "classify", "predict", "score", "train")  # first what most programs need


def describe_functions() -> str:
    """A page with every name of `fashion.API`, the values they return, and the exceptions they raise."""
    lines = ["# Python API", "", "::: fashion", "    options:", "      show_root_heading: false"]
    lines += ["      show_root_toc_entry: false", "      members: []", ""]
    steps = [name for name in fashion.API if name not in PUBLIC]
    for heading, names in (("Predict and train", PUBLIC), ("Step by step", tuple(steps))):
        lines += [f"## {heading}", ""]
        for name in names:
            lines += _directive(fashion.API[name].replace(":", "."), f"fashion.{name}")
    lines += ["## Values", ""]
    for path in VALUES:
        lines += _directive(path, path.rpartition(".")[2])
    lines += ["## Exceptions", "", "::: components.errors", "    options:", "      heading_level: 3", ""]
    return "\n".join(lines)


def _directive(path: str, name: str) -> list[str]:
    return [f"::: {path}", "    options:", f"      heading: {name}", f"      toc_label: {name}", ""]
