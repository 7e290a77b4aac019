"""The preset in idiomatic Keras: NumPy arrays and model.fit. Runs in .venv-bench."""

import os
import time
from typing import Any

os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}

import keras
import tensorflow as tf

from benchmarks.peers.job import Answer, Job, give, read_job


class Clock(keras.callbacks.Callback):
    """Measures the seconds of each epoch, including validation."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop the clock; Keras has already validated."""
        self.seconds.append(time.perf_counter() - self.began)


def build(job: Job, steps: int) -> keras.Sequential:
    """Build and compile the model.

    Args:
        job: the training, with its preset.
        steps: total number of training steps.
    """
    from_logits = job.preset == "dense-128-logits"
    model = keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten()])
    for units in job.hidden:
        model.add(keras.layers.Dense(units, activation="relu"))
        if job.dropout:
            model.add(keras.layers.Dropout(job.dropout))
    model.add(keras.layers.Dense(10, activation=None if from_logits else "softmax"))
    losses = keras.losses
    loss = losses.CategoricalCrossentropy if job.one_hot else losses.SparseCategoricalCrossentropy
    model.compile(keras.optimizers.Adam(rate(job, steps)), loss(from_logits=from_logits), metrics=["accuracy"])
    return model


def rate(job: Job, steps: int) -> Any:
    """The learning rate schedule. Keras has no one-cycle schedule; a linear warm-up with cosine decay is closest."""
    highest, schedules = job.config["learning_rate"], keras.optimizers.schedules
    if job.config["schedule"] == "inverse-time":
        return schedules.InverseTimeDecay(highest, decay_steps=1, decay_rate=job.config["decay"])
    if job.config["schedule"] == "one-cycle":
        rising = round(0.3 * steps)
        return schedules.CosineDecay(highest / 25, steps - rising, warmup_target=highest, warmup_steps=rising)
    return highest


def run(job: Job) -> Answer:
    """Train; the first epoch compiles and is not counted."""
    tf.config.threading.set_intra_op_parallelism_threads(job.threads)
    tf.config.threading.set_inter_op_parallelism_threads(job.threads)
    keras.utils.set_random_seed(job.config["seed"])
    arrays = job.load()
    x_train, x_test = (arrays[f"{split}_images"].astype("float32") / 255 for split in ("train", "test"))
    y_train, y_test = (arrays[f"{split}_labels"] for split in ("train", "test"))
    if job.one_hot:
        y_train, y_test = (keras.utils.to_categorical(labels, 10) for labels in (y_train, y_test))
    batch, share, clock = job.config["batch_size"], job.config["validation_share"], Clock()
    model = build(job, job.epochs * -(-job.trained_rows(len(y_train)) // batch))
    model.fit(
        x_train, y_train, batch_size=batch, epochs=job.epochs, validation_split=share, callbacks=[clock], verbose=0
    )
    return Answer(clock.seconds[1:], model.evaluate(x_test, y_test, verbose=0)[1])


if __name__ == "__main__":
    give(run(read_job()))
