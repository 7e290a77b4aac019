"""A network and its card in one file: what training hands on before the model has a tag."""

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
    """A file by its path and content: safetensors, with the card in its metadata."""

    path: Path
    sha256: str


def write_checkpoint(folder: Path, network: MLP, card: ModelCard) -> Checkpoint:
    """Write a network under a name made of its content.

    Raises:
        ModelError: the card is about another contract.
    """
    require_equal(card.contract, network.contract, card.preset, ModelError)
    content = pack(network.state_dict(), "card", card)
    sha256 = hashlib.sha256(content).hexdigest()
    path = folder / f"{card.preset}-{sha256[:16]}.safetensors"
    write_whole(path, content)
    return Checkpoint(path, sha256)


def read_checkpoint(checkpoint: Checkpoint) -> tuple[MLP, ModelCard]:
    """The network, in evaluation mode, and its card.

    Raises:
        ModelError: the file is missing or not the one that was written.
    """
    if not checkpoint.path.is_file() or sha256_of(checkpoint.path) != checkpoint.sha256:
        raise ModelError(f"{checkpoint.path}: missing, or changed since it was written")
    try:
        weights, told = unpack(checkpoint.path.read_bytes(), "card")
        card = read_card(told, f"{checkpoint.path}: card")
        network = MLP(read_config(card, f"{checkpoint.path}: card"), card.contract)
        network.load_state_dict(weights)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{checkpoint.path}: {str(error).splitlines()[0]}") from error
    return network.eval(), card
