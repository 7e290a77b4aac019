"""Classify product photos: the public Python API.

    import fashion

    model = fashion.load_model("live")              # or "previous", "latest", or the start of a tag
    found = fashion.classify("boot.png", model=model)
    print(found.names, found.confidences, found.sure)

    fashion.score("catalogue.csv", "predictions.csv")
    fashion.train(preset="dense-128")               # from raw data to a live model, if it passes the gate

The same, step by step:

    dataset = fashion.ingest("sample").dataset
    validated = fashion.validate(dataset)
    trained = fashion.fit(validated, fashion.configure("dense-128"))
    card = fashion.write_card("dense-128", validated, trained)
    tag = fashion.save_model(trained.network, card)
    promotion = fashion.promote(tag, "the first one")

`load_model`, `classify`, `score` and `train` read ./fashion.toml, as the commands do.
A name is imported when it is first used, so that importing this package is cheap.
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
    from components.registry.champion import rollback as rollback
    from components.registry.store import save_model as save_model
    from components.scoring.predict import predict as predict
    from components.training.presets import configure as configure
    from components.training.train import train as fit_network
    from fashion.api import classify as classify
    from fashion.api import load_model as load_model
    from fashion.api import score as score
    from fashion.api import train as train

    fit = fit_network
    __version__: str

API = {
    "classify": "fashion.api:classify",
    "configure": "components.training.presets:configure",
    "evaluate": "components.evaluation.metrics:evaluate",
    "fit": "components.training.train:train",
    "ingest": "components.dataset.ingest:ingest",
    "load_model": "fashion.api:load_model",
    "predict": "components.scoring.predict:predict",
    "promote": "components.promotion.promote:promote",
    "rollback": "components.registry.champion:rollback",
    "save_model": "components.registry.store:save_model",
    "score": "fashion.api:score",
    "train": "fashion.api:train",
    "validate": "components.dataset.validate:validate",
    "write_card": "components.evaluation.card:write_card",
    "write_report": "components.evaluation.report:write_report",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("fashion")
    if name not in API:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return resolve_name(API[name])


def __dir__() -> list[str]:
    return sorted([*API, "__version__"])
