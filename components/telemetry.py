"""Disables the telemetry of all packages through environment variables."""

import os

OFF = {
    "BENTOML_DO_NOT_TRACK": "true",  # BentoML ignores "1"
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "ORT_DISABLE_TELEMETRY": "1",  # otherwise onnxruntime writes an identifier to the home folder and reports usage
    "DO_NOT_TRACK": "1",
}


def disable_telemetry() -> None:
    """Set the variables that are unset, for packages imported later and for child processes."""
    for name, value in OFF.items():
        os.environ.setdefault(name, value)
