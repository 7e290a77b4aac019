"""The public Python API.

    import fashion

    model = fashion.load_model()                    # the live one, or load_model("fashion-mlp:<version>")
    predictions = fashion.predict(model, images)    # uint8 (n, height, width[, 3]), as model.contract.image says
    print(predictions.names, predictions.confidences, predictions.sure)

From data to a live model, step by step:

    dataset = fashion.ingest("sample").dataset
    validated = fashion.validate(dataset)
    trained = fashion.train(validated, fashion.configure("dense-128"))
    card = fashion.write_card("dense-128", validated, trained)
    tag = fashion.save_model(trained.network, card)
    promotion = fashion.promote(tag, "the first one")

A name is looked up when it is first used, so that importing this package stays cheap.
"""

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.dataset.ingest import ingest as ingest
    from components.dataset.validate import validate as validate
    from components.evaluation.card import write_card as write_card
    from components.evaluation.metrics import evaluate as evaluate
    from components.evaluation.report import write_report as write_report
    from components.promotion.promote import promote as promote
    from components.registry.champion import load_model as load_model
    from components.registry.champion import rollback as rollback
    from components.registry.store import save_model as save_model
    from components.scoring.job import run_job
    from components.scoring.predict import predict as predict
    from components.training.presets import configure as configure
    from components.training.train import train as train

    score = run_job

API = {
    "configure": "components.training.presets:configure",
    "evaluate": "components.evaluation.metrics:evaluate",
    "ingest": "components.dataset.ingest:ingest",
    "load_model": "components.registry.champion:load_model",
    "predict": "components.scoring.predict:predict",
    "promote": "components.promotion.promote:promote",
    "rollback": "components.registry.champion:rollback",
    "save_model": "components.registry.store:save_model",
    "score": "components.scoring.job:run_job",
    "train": "components.training.train:train",
    "validate": "components.dataset.validate:validate",
    "write_card": "components.evaluation.card:write_card",
    "write_report": "components.evaluation.report:write_report",
}


def __getattr__(name: str) -> Any:
    if name not in API:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return resolve_name(API[name])


def __dir__() -> list[str]:
    return sorted(API)
