"""Only the matrix products of the preset's epoch: a lower bound for float32 training with torch."""

import time
from itertools import pairwise

import torch
from torch import Tensor

from benchmarks.peers.job import Answer, Job, give, read_job

Product = tuple[Tensor, Tensor, Tensor]  # left, right, output buffer


def products(widths: list[int], batch: int) -> list[Product]:
    """The products of one step: each layer's output, weight gradient and, except for the first, input gradient."""
    made = []
    for number, (before, after) in enumerate(pairwise(widths)):
        x, weight, gradient = torch.rand(batch, before), torch.rand(after, before), torch.rand(batch, after)
        made += [(x, weight.T, torch.empty_like(gradient)), (gradient.T, x, torch.empty_like(weight))]
        if number:
            made.append((gradient, weight, torch.empty_like(x)))
    return made


def run(job: Job) -> Answer:
    """Multiply for the job's number of epochs; the first is not counted."""
    torch.set_num_threads(job.threads)
    batch = job.config["batch_size"]
    step = products([784, *job.hidden, 10], batch)
    steps = -(-job.trained_rows(len(job.load()["train_labels"])) // batch)
    seconds = []
    for _ in range(job.epochs):
        began = time.perf_counter()
        for _ in range(steps):
            for left, right, out in step:
                torch.mm(left, right, out=out)
        seconds.append(time.perf_counter() - began)
    return Answer(seconds[1:])


if __name__ == "__main__":
    give(run(read_job()))
