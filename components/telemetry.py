"""No usage data leaves the machine: what each package reads in its environment to report nothing."""

import os

OFF = {
    "BENTOML_DO_NOT_TRACK": "true",  # the word: BentoML ignores 1
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "ORT_DISABLE_TELEMETRY": "1",  # else importing onnxruntime leaves an identifier at home and reports usage
    "DO_NOT_TRACK": "1",
}


def disable_telemetry() -> None:
    """Set what is not set yet, for packages that are imported after it and for processes that this one starts."""
    for name, value in OFF.items():
        os.environ.setdefault(name, value)
