"""Time each stage of the pipeline on the archives of FASHION_SOURCE, and print the table of docs/performance.md.

    .venv/bin/python -m benchmarks.pipeline [--runs 5]

Each stage runs in a separate process, as a command does. Prints the median and the range of the runs. Scoring is
compared with a script that uses pandas.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

IMPORTS = "import os; from pathlib import Path; import time; began = time.perf_counter();"
STAGES = {
    "ingest 70,000 images": f"""{IMPORTS}
from components.dataset.ingest import ingest
began = time.perf_counter()
assert ingest().written""",
    "ingest again, nothing to do": f"""{IMPORTS}
from components.dataset.ingest import ingest
began = time.perf_counter()
assert not ingest().written""",
    "validate 70,000 rows, imports included": f"""{IMPORTS}
from components.dataset.validate import validate
from components.dataset.manifest import current_dataset
from components.settings import load_settings
validate(current_dataset(load_settings().datasets_dir))""",
    "train dense-128, an epoch of 54,000 at batch 32": f"""{IMPORTS}
from dataclasses import replace
from components.contract import Validated
from components.dataset.manifest import current_dataset
from components.settings import load_settings
from components.training.presets import configure
from components.training.train import train
receipt = Validated(current_dataset(load_settings().datasets_dir), 0, Path(), "")
trained = train(receipt, configure("dense-128", {{"epochs": 3}}))
began = time.perf_counter() - trained.seconds / 3""",
    "score a CSV of 60,000 rows": f"""{IMPORTS}
import fashion
from components.scoring.job import run_job
model = fashion.load_model()
began = time.perf_counter()
run_job(model, Path(os.environ["TABLE"]), Path(os.environ["TABLE"] + ".scored.csv"))""",
    "the same with pandas and torch": f"""{IMPORTS}
import fashion, pandas, torch
from components.model.mlp import to_mlp
model = fashion.load_model()
network = to_mlp(model.network)
began = time.perf_counter()
table = pandas.read_csv(os.environ["TABLE"])
pixels = torch.tensor(table.drop(columns="label").to_numpy("float32") / 255)
with torch.inference_mode():
    confidence, label = torch.softmax(network(pixels), 1).max(1)
names = [model.card.classes[number] for number in label.tolist()]
answer = pandas.DataFrame({{"id": table.index + 1, "label": label.numpy(), "name": names, "confidence": confidence}})
answer.assign(model=model.tag).to_csv(os.environ["TABLE"] + ".pandas.csv", index=False)""",
}
PRINT_SECONDS = "\nprint(time.perf_counter() - began)"

PREPARE = """
import os
from pathlib import Path
from components.catalogues.fashion_mnist import CONTRACT
from components.readers.tables.columns import pixel_columns
from components.contract import Validated
from components.dataset.ingest import ingest
from components.dataset.manifest import read_split
from components.registry import champion, store
from components.evaluation.card import write_card
from components.evaluation.metrics import evaluate
from components.training.presets import configure
from components.training.train import train
dataset = ingest().dataset
examples = read_split(dataset, "train")
with Path(os.environ["TABLE"]).open("w") as file:
    file.write(",".join(["label", *pixel_columns(CONTRACT.image)]) + chr(10))
    for label, image in zip(examples.labels, examples.images.reshape(-1, 784)):
        file.write(",".join(map(str, [label, *image.tolist()])) + chr(10))
receipt = Validated(dataset, 0, Path(), "")
trained = train(receipt, configure("dense-128"))
champion.make_live(store.save_model(trained.network, write_card("dense-128", receipt, trained)), "benchmark")
"""


def run(code: str, environment: dict[str, str]) -> str:
    """Run code in a fresh interpreter and return what it printed."""
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def main() -> None:
    """Print the machine, the accuracies and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "BENTOML_HOME": f"{folder}/bentoml",
            "FASHION_DATA_DIR": f"{folder}/data",
            "TABLE": f"{folder}/table.csv",
        }
        run(PREPARE, environment)
        times: dict[str, list[float]] = {name: [] for name in STAGES}
        for number in range(runs):
            for name, code in STAGES.items():
                fresh = (
                    {**environment, "FASHION_DATA_DIR": f"{folder}/data{number}"} if "ingest" in name else environment
                )
                times[name].append(float(run(code + PRINT_SECONDS, fresh)))
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "pyarrow", "great-expectations", "pandas"))
    print(f"{time.strftime('%Y-%m-%d')}: {os.cpu_count()} cores of {cpu_name()}; Python {platform.python_version()},")
    print(packages)
    print(f"\n| stage | median of {runs}, s | range, s |\n| --- | ---: | ---: |")
    for name, found in times.items():
        print(f"| {name} | {statistics.median(found):.2f} | {min(found):.2f} to {max(found):.2f} |")


def cpu_name() -> str:
    """The CPU model, from /proc/cpuinfo on Linux."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    main()
