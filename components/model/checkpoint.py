"""Checkpoints: a network and its card in one file, before the model is stored under a tag."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from components.contract import ModelCard, require_equal
from components.errors import ModelError
from components.files import sha256_of, write_whole
from components.model.cards import read_card, read_config
from components.model.mlp import MLP
from components.model.packing import pack, unpack


@dataclass(frozen=True)
class Checkpoint:
    """A safetensors file with the card in its metadata."""

    path: Path
    sha256: str  # of the content


def write_checkpoint(folder: Path, network: MLP, card: ModelCard) -> Checkpoint:
    """Write a network and its card to a file named after the content hash.

    Raises:
        ModelError: The card and the network have different data contracts.
    """
    require_equal(card.contract, network.contract, card.preset, ModelError)
    content = pack(network.to_tensors(), "card", card)
    sha256 = hashlib.sha256(content).hexdigest()
    path = folder / f"{card.preset}-{sha256[:16]}.safetensors"
    write_whole(path, content)
    return Checkpoint(path, sha256)


def read_checkpoint(checkpoint: Checkpoint) -> tuple[MLP, ModelCard]:
    """Return the network, in evaluation mode, and its card.

    Raises:
        ModelError: The file is missing or has changed.
    """
    if not checkpoint.path.is_file() or sha256_of(checkpoint.path) != checkpoint.sha256:
        raise ModelError(f"{checkpoint.path}: missing, or changed since it was written")
    try:
        weights, metadata = unpack(checkpoint.path.read_bytes(), "card")
        card = read_card(metadata, f"{checkpoint.path}: card")
        network = MLP(read_config(card, f"{checkpoint.path}: card"), card.contract)
        network.from_tensors(weights)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{checkpoint.path}: {str(error).splitlines()[0]}") from error
    return network.eval(), card
