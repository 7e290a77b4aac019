"""The preset's layers, batch size, learning rate and epochs in scikit-learn, without dropout and schedules.

It trains on the same rows as the others and does not validate. The time per epoch is the mean over all epochs.
"""

import time
import warnings

from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from benchmarks.peers.job import Answer, Job, give, read_job


def run(job: Job) -> Answer:
    """Train and measure."""
    warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed
    arrays = job.load()
    images = (arrays[f"{split}_images"] for split in ("train", "test"))
    x_train, x_test = (pixels.reshape(-1, 784).astype("float32") / 255 for pixels in images)
    rows = job.trained_rows(len(x_train))
    model = MLPClassifier(
        job.hidden,
        alpha=0,
        batch_size=job.config["batch_size"],
        learning_rate_init=job.config["learning_rate"],
        max_iter=job.epochs,
        n_iter_no_change=job.epochs,
        random_state=job.config["seed"],
    )
    began = time.perf_counter()
    model.fit(x_train[:rows], arrays["train_labels"][:rows])
    seconds = (time.perf_counter() - began) / model.n_iter_
    return Answer([seconds], model.score(x_test, arrays["test_labels"]))


if __name__ == "__main__":
    give(run(read_job()))
