"""What is done: ingest, validate, train, evaluate, store, predict. Knows neither Prefect nor HTTP.

    import components

    model = components.load_model()                   # the live one, or load_model("fashion-mlp:<version>")
    predictions = components.predict(model, images)   # uint8 (n, 28, 28)

Both names are looked up when first used, so that importing a part of this package stays cheap.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.registry.champion import load_model
    from components.scoring.predict import predict

__all__ = ["load_model", "predict"]


def __getattr__(name: str) -> Any:
    if name == "load_model":
        from components.registry.champion import load_model

        return load_model
    if name == "predict":
        from components.scoring.predict import predict

        return predict
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
