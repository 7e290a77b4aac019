"""Map label numbers to class names from a Parquet schema, such as Hugging Face's `ClassLabel`.

Classes are identified by name, so the names in the schema may be in any order.
"""

import orjson
import pyarrow as pa

from components.contract import DataContract
from components.readers.tables.numbers import UNLABELLED, read_label


def name_classes(labels: pa.Array, schema: pa.Schema, contract: DataContract, column: str = "label") -> pa.Array:
    """Replace the integers of a label column with the class names in the schema.

    Args:
        labels: (n,), the values of `column`, dictionary-encoded or not.
        schema: of the file, with metadata.
        contract: of the classes.
        column: the column's name in the schema.

    Returns:
        Dictionary-encoded names; a number without a name becomes text that matches no class. `labels` itself if the
        schema has no names or the values are not integers.
    """
    names = class_names_of(schema, column)
    coded = labels if pa.types.is_dictionary(labels.type) else None
    kind = coded.type.value_type if coded else labels.type
    if not names or not pa.types.is_integer(kind):
        return labels
    coded = coded or labels.dictionary_encode()
    texts = [_name(number, names, contract) for number in coded.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(coded.indices, pa.array(texts, pa.string()))


def class_names_of(schema: pa.Schema, column: str = "label") -> tuple[str, ...]:
    """The class names in label order; () if the schema has none."""
    try:
        features = orjson.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
    except (KeyError, TypeError, ValueError):
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _name(number: int | None, names: tuple[str, ...], contract: DataContract) -> str | None:
    if number is None:
        return None
    if 0 <= number < len(names):
        return names[number]
    return str(number) if read_label(str(number), contract) == UNLABELLED else f"{number} (no name)"
