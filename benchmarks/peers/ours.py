"""The preset as trained by this project."""

from pathlib import Path

import torch

from benchmarks.peers.job import Answer, Job, give, read_job
from components.contract import Validated
from components.dataset.ingest import ingest
from components.model.tensors import to_input
from components.training.presets import configure
from components.training.train import train


def run(job: Job) -> Answer:
    """Train on the data of FASHION_SOURCE."""
    torch.set_num_threads(job.threads)
    receipt = Validated(ingest().dataset, expectations=0, docs=Path(), checked_at="")
    trained = train(receipt, configure(job.preset, {"epochs": job.epochs, "threads": job.threads}))
    arrays = job.load()
    with torch.inference_mode():
        predicted = trained.network(to_input(arrays["test_images"])).argmax(1).numpy()
    accuracy = float((predicted == arrays["test_labels"]).mean())
    return Answer([epoch.seconds for epoch in trained.history[1:]], accuracy)


if __name__ == "__main__":
    give(run(read_job()))
