"""Tensors and what is known of them in one file: safetensors, with JSON in its metadata."""

import json
from collections.abc import Mapping
from typing import Any

import orjson
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor


def pack(tensors: Mapping[str, Tensor], name: str, facts: Any) -> bytes:
    """A file's bytes: the same for the same tensors and facts.

    Args:
        tensors: of any shape and dtype, by name.
        name: of the facts in the metadata.
        facts: what orjson writes.
    """
    whole = {key: tensor.contiguous() for key, tensor in tensors.items()}
    return save(whole, metadata={name: orjson.dumps(facts).decode()})


def unpack(content: bytes, name: str) -> tuple[dict[str, Tensor], str]:
    """The tensors and the JSON that `pack` was given.

    Raises:
        ValueError: it is no such file, or its metadata have no facts of that name.
    """
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise ValueError(str(error).splitlines()[0]) from error
    size = int.from_bytes(content[:8], "little")  # of the header, which follows: safetensors, "Format"
    metadata = json.loads(content[8 : 8 + size]).get("__metadata__", {})
    if name not in metadata:
        raise ValueError(f"its metadata has no {name!r}")
    return tensors, metadata[name]
