"""The preset in the style of PyTorch's quickstart: a Dataset of pictures, ToTensor, a DataLoader and a loop."""

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, Dataset, random_split
from torchvision.transforms import ToTensor

from benchmarks.peers.job import Answer, Job, give, read_job


class Pictures(Dataset[tuple[Tensor, int]]):
    """A dataset like torchvision.datasets.FashionMNIST."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        self.images, self.labels, self.transform = images, labels, ToTensor()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def build(job: Job) -> nn.Sequential:
    """Build the network."""
    layers: list[nn.Module] = [nn.Flatten()]
    width = 28 * 28
    for units in job.hidden:
        layers += [nn.Linear(width, units), nn.ReLU()]
        if job.dropout:
            layers.append(nn.Dropout(job.dropout))
        width = units
    return nn.Sequential(*layers, nn.Linear(width, 10))


def schedule(job: Job, optimizer: optim.Optimizer, steps: int) -> Any:
    """The learning rate schedule, per step."""
    schedules, decay = optim.lr_scheduler, job.config["decay"]
    if job.config["schedule"] == "one-cycle":
        return schedules.OneCycleLR(optimizer, job.config["learning_rate"], steps)
    return schedules.LambdaLR(optimizer, lambda step: 1 / (1 + decay * step)) if decay else None


def train(model: nn.Module, batches: Any, optimizer: optim.Optimizer, rates: Any) -> None:
    """Train for one epoch."""
    model.train()
    for x, y in batches:
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if rates:
            rates.step()


def accuracy_of(model: nn.Module, batches: Any) -> float:
    """Accuracy, 0 to 1."""
    model.eval()
    with torch.no_grad():
        right = sum((model(x).argmax(1) == y).sum().item() for x, y in batches)
    return float(right / len(batches.dataset))


def run(job: Job) -> Answer:
    """Train and validate; the first epoch is not counted, as for the other contestants."""
    torch.set_num_threads(job.threads)
    torch.manual_seed(job.config["seed"])
    arrays, batch = job.load(), job.config["batch_size"]
    whole, test = (Pictures(arrays[f"{split}_images"], arrays[f"{split}_labels"]) for split in ("train", "test"))
    rows = job.trained_rows(len(whole))
    rest, held_out = random_split(whole, [rows, len(whole) - rows])
    batches = DataLoader(rest, batch, shuffle=True)
    model = build(job)
    optimizer = optim.Adam(model.parameters(), job.config["learning_rate"])
    rates = schedule(job, optimizer, job.epochs * len(batches))
    seconds = []
    for _ in range(job.epochs):
        began = time.perf_counter()
        train(model, batches, optimizer, rates)
        accuracy_of(model, DataLoader(held_out, batch))
        seconds.append(time.perf_counter() - began)
    return Answer(seconds[1:], accuracy_of(model, DataLoader(test, batch)))


if __name__ == "__main__":
    give(run(read_job()))
