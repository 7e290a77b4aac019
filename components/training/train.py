"""Validated dataset -> trained network.

The training split is one tensor, sliced by index: no loader, no worker, no copy an item. The validation rows come out
of the training split and make every choice; the test split is not read here.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel

from components.contract import DataContract, Epoch, Labels, Revision, Validated
from components.dataset.manifest import Examples, read_manifest, read_split
from components.errors import SettingsError, TrainingDiverged, TrainingError
from components.model.mlp import MLP
from components.revisions import Lineage
from components.training.config import TrainConfig
from components.training.data import TrainingData, divide
from components.training.gradients import Gradients
from components.training.hardware import Hardware, pick_device, pick_precision, use_threads
from components.training.optimizer import FusedAdam, rate_at
from components.training.resume import START_ANEW, State, read_state, state_path, write_state
from components.training.starting import Start
from components.training.tied import TiedMLP, to_dense

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """What a training gave."""

    network: MLP  # dense layers and activations, in evaluation mode, on the CPU
    config: TrainConfig
    history: tuple[Epoch, ...]  # every epoch that ran
    best_epoch: int  # the one whose weights these are: the last, or with patience the one of lowest validation loss
    seconds: float  # of all epochs
    hardware: dict[str, str | int]  # device, precision and threads, as used
    validation_logits: Tensor  # float32 (m, classes), of the network
    validation_labels: Labels  # (m,)


def train(
    validated: Validated,
    config: TrainConfig,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    keep_in: Path | None = None,
    resume: bool = False,
    start: Start | None = None,
) -> Trained:
    """Train on the training split of a validated dataset.

    Args:
        validated: the receipt of a passed validation.
        config: the recipe.
        on_epoch: called after each epoch, once its state is kept, for a progress bar or a log.
        keep_in: a folder for the state after each epoch, which is removed at the end; None: none is kept.
        resume: go on from the state kept there by the same recipe on the same data, where there is one.
        start: the model that the recipe says to go on from.

    Raises:
        DatasetError: the data changed since it was validated.
        TrainingError: the loss is not finite, there are too few images, or the kept state is damaged.
        SettingsError: CUDA was asked for and there is none, or the recipe does not fit the images or the start.
    """
    if config.start_from != (given := start.tag if start else ""):
        raise SettingsError(f"start_from: the recipe says {config.start_from!r}, and {given!r} is given")
    examples = read_split(validated.dataset, "train")
    torch.set_flush_denormal(True)  # Adam's moments of ever-black pixels turn denormal: 10 to 25 % of the time
    threads = use_threads(config.threads)
    path = state_path(keep_in, validated.dataset.version, config) if keep_in else None
    try:
        run = Run(examples, config, start, read_manifest(validated.dataset).revisions)
        if resume and path and path.is_file():
            _restore(run, path)
            log.warning("going on after epoch %d", len(run.history))
        elif resume:
            log.warning("no unfinished training of this recipe on this data; starting anew")
        while not run.is_finished:
            epoch = run.advance()
            if path:
                write_state(path, run.state())
            on_epoch(epoch)
        trained = run.finish()
    except TrainingDiverged:
        if path:
            path.unlink(missing_ok=True)
        raise
    except KeyboardInterrupt:
        if path and path.is_file():
            log.warning("stopped; the epochs so far are kept, and the same command with --resume goes on from there")
        raise
    finally:
        torch.set_flush_denormal(False)
        use_threads(threads)
    if path:
        path.unlink(missing_ok=True)
    return trained


def _restore(run: "Run", path: Path) -> None:
    state = read_state(path)
    try:
        run.restore(state)
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        told = (str(error).splitlines() or [""])[0]
        raise TrainingError(f"{path}: not the state of this training: {told}; {START_ANEW}") from error


class Run:
    """A training in progress, phase after phase; see `TrainConfig.phases`."""

    def __init__(
        self, examples: Examples, config: TrainConfig, start: Start | None = None, revisions: tuple[Revision, ...] = ()
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.contract = config, examples.contract
        self.phases = config.for_image(self.contract.image).phases()
        self.device = pick_device(config.device)
        self.data = divide(examples, config, self.device, start.rows if start else None)
        self.history: list[Epoch] = []
        self.number = 0  # of the phase
        network = build(self.phases[0], self.contract)
        if start:
            start.give_layers(network, self.contract, self.phases[0], Lineage(self.contract.classes, revisions))
        self.phase = Phase(network, self.phases[0], self.data)

    @property
    def is_finished(self) -> bool:
        """Whether no epoch is left."""
        return self.number == len(self.phases) - 1 and self.phase.is_finished

    def advance(self) -> Epoch:
        """Run the next epoch."""
        if self.phase.is_finished:
            self.number += 1
            network = to_dense(self.phase.result())
            self.phase = Phase(network, self.phases[self.number], self.data)
        self.history.append(self.phase.advance(len(self.history) + 1))
        return self.history[-1]

    def finish(self) -> Trained:
        """The result, on the CPU."""
        network = to_dense(self.phase.result()).eval()
        with torch.inference_mode():
            logits = network(self.data.validation_x.cpu())
        return Trained(
            network=network,
            config=self.config,
            history=tuple(self.history),
            best_epoch=len(self.history) - self.phase.epoch + self.phase.chosen_epoch,
            seconds=sum(epoch.seconds for epoch in self.history),
            hardware=self.phase.hardware.describe(),
            validation_logits=logits,
            validation_labels=self.data.validation_labels.to("cpu", torch.uint16).numpy(),
        )

    def state(self) -> State:
        """Everything that the next epoch depends on, but for the data and the configuration."""
        tensors, facts = self.phase.state()
        tensors["rng"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["cuda rng"] = torch.cuda.get_rng_state()
        return State(tensors, {"phase": self.number, "history": [asdict(epoch) for epoch in self.history], **facts})

    def restore(self, state: State) -> None:
        """Become the training that the state was taken of."""
        self.number = state.facts["phase"]
        self.history = [Epoch(**epoch) for epoch in state.facts["history"]]
        config = self.phases[self.number]
        self.phase = Phase(build(config, self.contract), config, self.data, bfloat16=state.facts["bfloat16"])
        self.phase.restore(state)
        torch.set_rng_state(state.tensors["rng"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state.tensors["cuda rng"])


class Phase:
    """One network, its optimizer and its schedule."""

    def __init__(
        self, network: MLP | TiedMLP, config: TrainConfig, data: TrainingData, bfloat16: bool | None = None
    ) -> None:
        self.config, self.data = config, data
        self.network = network.to(data.labels.device)
        if bfloat16 is None:
            bfloat16 = pick_precision(config.precision, network, data.validation_x[: config.batch_size])
        self.hardware = Hardware(data.labels.device, bfloat16)
        self.gradients = Gradients(network) if Gradients.fit(network, config, self.hardware) else None
        self.optimizer = FusedAdam(network.parameters(), config.weight_decay)
        self.average = _averaged(network, config.average) if config.average else None
        self.step = self.epoch = self.best_epoch = 0
        self.steps = config.epochs * count_batches(len(data.labels), config)
        self.best, self.best_weights = math.inf, network.state_dict()

    @property
    def chosen_epoch(self) -> int:
        """The epoch whose weights count, from 1: the last, or with patience the one of lowest validation loss."""
        return self.best_epoch if self.config.patience else self.epoch

    @property
    def judged(self) -> MLP | TiedMLP:
        """The network that is examined and handed on."""
        return cast(MLP | TiedMLP, self.average.module) if self.average else self.network

    @property
    def is_finished(self) -> bool:
        """Whether no epoch is left, or too many went by without a lower validation loss."""
        patience = self.config.patience or math.inf
        return self.epoch == self.config.epochs or (self.epoch - self.best_epoch >= patience)

    def advance(self, number: int) -> Epoch:
        """Run one epoch.

        Raises:
            TrainingDiverged: a loss is not finite.
        """
        began = time.perf_counter()
        loss, accuracy = self._train()
        validation_loss, validation_accuracy = self._examine()
        if not math.isfinite(loss) or not math.isfinite(validation_loss):
            raise TrainingDiverged(
                f"epoch {number}: the loss is {loss}, the validation loss {validation_loss}; nothing is saved; "
                f"a learning rate below {self.config.learning_rate} may help"
            )
        self.epoch += 1
        if validation_loss < self.best:
            self.best, self.best_epoch = validation_loss, self.epoch
            if self.config.patience:
                self.best_weights = {name: weight.clone() for name, weight in self.judged.state_dict().items()}
        return Epoch(number, loss, accuracy, validation_loss, validation_accuracy, time.perf_counter() - began)

    def result(self) -> MLP | TiedMLP:
        """The network of the chosen epoch, on the CPU."""
        network = self.judged
        if self.config.patience:
            network.load_state_dict(self.best_weights)
        return network.cpu()

    def _train(self) -> tuple[float, float]:
        """One pass over the training images in a new order: mean loss and accuracy of its steps."""
        self.network.train()
        order = self.data.draw_order()
        batches = order.split(self.config.batch_size)[: count_batches(len(order), self.config)]
        outputs = torch.cat(
            [self.learn(self.data.images(rows), self.data.targets.index_select(0, rows)) for rows in batches]
        )
        return _score(outputs, self.data.labels[order[: len(outputs)]])

    def learn(self, x: Tensor, targets: Tensor) -> Tensor:
        """Make one step of the optimizer.

        Args:
            x: float32 (b, numbers of an image).
            targets: int64 (b,), or float32 (b, classes).

        Returns:
            The logits it was made with, float32 (b, classes).
        """
        if self.gradients:
            logits = self.gradients(x, targets)
        else:
            with self.hardware.autocast():
                logits = self.network(x).float()
            loss = cross_entropy(logits, targets, label_smoothing=self.config.label_smoothing)
            self.optimizer.zero_grad()
            loss.backward()
        self.optimizer.step(rate_at(self.step, self.steps, self.config))
        self.step += 1
        if self.average:
            self.average.update_parameters(self.network)
        return logits.detach()

    def _examine(self) -> tuple[float, float]:
        """The validation rows' loss and accuracy."""
        network = self.judged.eval()
        with torch.inference_mode():
            return _score(network(self.data.validation_x), self.data.validation_labels)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors by name, and the rest as JSON."""
        groups = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict() if self.average else {},
            "best": self.best_weights if self.config.patience else {},
            "optimizer": self.optimizer.state_dict(),
        }
        tensors = {f"{group}/{name}": tensor for group, named in groups.items() for name, tensor in named.items()}
        names = ("step", "epoch", "best", "best_epoch")
        return tensors, {"bfloat16": self.hardware.bfloat16, **{name: getattr(self, name) for name in names}}

    def restore(self, state: State) -> None:
        """Become the phase that the state was taken of."""
        named = {group: _under(group, state.tensors) for group in ("network", "average", "best", "optimizer")}
        self.network.load_state_dict(named["network"])
        self.optimizer.load_state_dict(named["optimizer"])
        if self.average:
            self.average.load_state_dict(named["average"])
        self.best_weights = named["best"]
        for name in ("step", "epoch", "best", "best_epoch"):
            setattr(self, name, state.facts[name])


def count_batches(images: int, config: TrainConfig) -> int:
    """Steps of an epoch: with batch norm, a last image on its own is left out, because it has no variance."""
    left_over = images % config.batch_size
    return images // config.batch_size + (left_over > (1 if config.model.batch_norm else 0))


def build(config: TrainConfig, contract: DataContract) -> MLP | TiedMLP:
    """The network that a training starts with.

    Dense layers start as in Keras, which the published recipes were written for: weights by Glorot and Bengio (2010),
    biases 0. PyTorch's own first weights are less than half as large.

    Raises:
        SettingsError: layers that are tied do not fit the images, or the network is too large.
    """
    config.require_fit(contract.image)
    config = config.for_image(contract.image)
    if config.tied:
        return TiedMLP(config.model, config.tied, contract)
    network = MLP(config.model, contract)
    for layer in network:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def _averaged(network: MLP | TiedMLP, decay: float) -> AveragedModel:
    """An exponential average that forgets the first weights sooner, as TensorFlow's ExponentialMovingAverage does."""

    @torch.no_grad()
    def update(averaged: Any, current: Any, count: Any) -> None:
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + count.item()) / (10 + count.item())))

    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)


def _score(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy with the labels, nats, and accuracy."""
    return cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).float().mean().item()


def _under(group: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.partition("/")[2]: tensor for name, tensor in tensors.items() if name.startswith(f"{group}/")}
