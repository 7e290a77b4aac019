"""Settings of the Dask cluster; this module does not import Prefect."""

import re

import pydantic
from pydantic_settings import BaseSettings, SettingsConfigDict

LOCAL = "local"


class ClusterSettings(BaseSettings):
    """Where batches are scored."""

    model_config = SettingsConfigDict(env_prefix="FASHION_", frozen=True)

    dask_address: str = ""  # of a scheduler; "local": a temporary cluster for the run; empty: local threads

    @pydantic.field_validator("dask_address")
    @classmethod
    def _check_address(cls, address: str) -> str:
        if address not in {"", LOCAL} and not re.fullmatch(r"\S+:\S+", address):
            expected = f"{LOCAL!r}, or the address of a scheduler, as in tcp://10.0.0.5:8786"
            raise ValueError(f"found {address[:60]!r}, expected {expected}")
        return address
