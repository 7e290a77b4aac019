"""Build a Bento that holds one exact model."""

import subprocess
import sys
from pathlib import Path

import yaml

from components.errors import ModelError
from components.files import write_whole
from components.registry.champion import load_model
from components.registry.store import BUNDLED
from components.settings import CHECKOUT, Settings, load_settings


def build_bento(tag: str | None = None, *, settings: Settings | None = None) -> str:
    """Build from `bentofile.yaml` with a model added under the alias that `bundled_tag` looks for.

    Args:
        tag: exact; None: the live model's.
        settings: where the completed build file goes; None: from the environment.

    Returns:
        The Bento's exact tag.

    Raises:
        NoLiveModel, ModelNotFound, ModelError: the model cannot be loaded, or the build failed.
    """
    model = load_model(tag)
    options = yaml.safe_load((CHECKOUT / "bentofile.yaml").read_text())
    options["models"] = [{"tag": model.tag, "alias": BUNDLED}]
    options["labels"] = {**options["labels"], "model": model.tag.replace(":", "-"), "source": model.card.source}
    completed = (settings or load_settings()).data_dir / "bento" / "bentofile.yaml"
    write_whole(completed, yaml.safe_dump(options, sort_keys=False).encode())
    return _build(completed)


def _build(bentofile: Path) -> str:
    bentoml = Path(sys.executable).with_name("bentoml")
    command = [str(bentoml), "build", str(CHECKOUT), "--bentofile", str(bentofile), "--output", "tag"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT)
    marker = "__tag__:"
    if done.returncode or marker not in done.stdout:
        raise ModelError(f"bentoml build failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout.split(marker, 1)[1].strip()
