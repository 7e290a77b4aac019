"""Progress of a flow: a bar on a terminal, log lines elsewhere."""

import sys
import time
from collections.abc import Callable

from tqdm import tqdm

from components.contract import Epoch
from components.training.config import TrainConfig
from components.training.sweeps.candidates import Outcome
from ops.stopping import stop


class EpochBar:
    """The epochs of a training."""

    def __init__(self, config: TrainConfig, log: Callable[..., None]) -> None:
        self.bar = tqdm(total=config.total_epochs, unit="epoch", file=sys.stderr) if sys.stderr.isatty() else None
        self.config, self.log = config, log

    def update(self, epoch: Epoch) -> None:
        """Show a completed epoch."""
        place = self.config.place(epoch.number)
        stop.keep(f"epoch {place} is saved", can_resume=True)
        losses = (
            f"loss {epoch.loss:.4f}, validation {epoch.validation_loss:.4f}, accuracy {epoch.validation_accuracy:.4f}"
        )
        if self.bar is None:
            self.log("epoch %s: %s, %.2f s", place, losses, epoch.seconds)
        else:
            self.bar.set_description_str(f"epoch {place}", refresh=False)
            self.bar.set_postfix_str(losses, refresh=False)
            self.bar.update()

    def close(self) -> None:
        """Close the bar and leave it on the terminal."""
        if self.bar is not None:
            self.bar.close()


class CandidateBar:
    """The trainings of a sweep."""

    def __init__(self, count: int, log: Callable[..., None]) -> None:
        self.count, self.log = count, log
        self.done, self.began = 0, time.monotonic()
        self.bar = tqdm(total=count, unit="training", file=sys.stderr) if sys.stderr.isatty() else None
        if self.bar is not None:
            self.bar.set_description_str(f"candidate 1 of {count}")

    def update(self, outcome: Outcome) -> None:
        """Show a finished training."""
        self.done += 1
        found = outcome.error or f"accuracy {outcome.validation_accuracy:.4f}"
        if self.bar is not None:
            self.bar.set_description_str(f"candidate {min(self.done + 1, self.count)} of {self.count}", refresh=False)
            self.bar.set_postfix_str(f"{outcome.preset}, seed {outcome.seed}: {found}", refresh=False)
            self.bar.update()
            return
        left = (time.monotonic() - self.began) / self.done * (self.count - self.done)
        self.log("candidate %d of %d: %s: %s; about %.0f s left", self.done, self.count, outcome.key, found, left)

    def close(self) -> None:
        """Close the bar and leave it on the terminal."""
        if self.bar is not None:
            self.bar.close()
