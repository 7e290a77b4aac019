"""Safetensors files with JSON in their metadata."""

import json
from collections.abc import Mapping
from typing import Any

import orjson
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor


def pack(tensors: Mapping[str, Tensor], name: str, facts: Any) -> bytes:
    """Serialize tensors and metadata to bytes. Equal inputs give equal bytes.

    Args:
        tensors: Tensors of any shape and dtype, by name.
        name: Metadata key.
        facts: Metadata value; anything that orjson can serialize.
    """
    contiguous = {key: tensor.contiguous() for key, tensor in tensors.items()}
    return save(contiguous, metadata={name: orjson.dumps(facts).decode()})


def unpack(content: bytes, name: str) -> tuple[dict[str, Tensor], str]:
    """Return the tensors and the JSON that `pack` wrote.

    Raises:
        ValueError: The content is not a safetensors file, or its metadata lacks the key `name`.
    """
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise ValueError(str(error).splitlines()[0]) from error
    size = int.from_bytes(content[:8], "little")  # header size; see "Format" in the safetensors documentation
    metadata = json.loads(content[8 : 8 + size]).get("__metadata__", {})
    if name not in metadata:
        raise ValueError(f"metadata: key {name!r} is missing")
    return tensors, metadata[name]
