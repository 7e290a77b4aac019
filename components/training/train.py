"""Trains a network on a validated dataset.

The training split is one tensor that is batched by indexing: no data loader, no workers, no copy per item. Validation
rows are held out from the training split and drive model selection; the test split is not read here.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel

from components.contract import DataContract, Epoch, Labels, Revision, Validated
from components.dataset.manifest import Examples, read_manifest, read_split
from components.errors import SettingsError, TrainingDiverged, TrainingError
from components.model.known import fit_known, sampling_of
from components.model.mlp import MLP
from components.revisions import Lineage
from components.training.config import TrainConfig
from components.training.data import TrainingData, divide
from components.training.gradients import Gradients
from components.training.hardware import Hardware, pick_device, pick_precision, use_threads
from components.training.optimizer import FusedAdam, Muon, rate_at
from components.training.resume import START_OVER, State, read_state, state_path, write_state
from components.training.starting import Start
from components.training.tied import TiedMLP, to_dense

log = logging.getLogger(__name__)
FEWEST_KNOWN = 20  # validation rows to detect unknown inputs; of 19, one is 5 %
AT_ONCE = 8_192  # images whose distances are measured at a time


@dataclass(frozen=True)
class Trained:
    """Result of a training."""

    network: MLP  # dense layers and activations, in evaluation mode, on the CPU
    config: TrainConfig
    history: tuple[Epoch, ...]  # all completed epochs
    best_epoch: int  # epoch of the weights: the last, or with patience the one of lowest validation loss
    seconds: float  # of all epochs
    hardware: dict[str, str | int]  # device, precision and threads that were used
    validation_logits: Tensor  # float32 (m, classes)
    validation_labels: Labels  # (m,)
    validation_distances: NDArray[np.float32] | None = None  # (m,), see `model.known`; None: too few rows

    def __repr__(self) -> str:
        accuracy = self.history[self.best_epoch - 1].validation_accuracy
        layers = "-".join(str(layer.out_features) for layer in self.network if isinstance(layer, nn.Linear))
        epochs = f"{len(self.history)} epochs in {self.seconds:.1f} s"
        return f"Trained({layers}: {epochs}, validation accuracy {accuracy:.4f})"


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
        validated: Receipt of a passed validation.
        config: Configuration of the training.
        on_epoch: Called after each epoch, once its state is saved.
        keep_in: Folder in which to save the state after each epoch, removed at the end. None: save no state.
        resume: Resume from the saved state of the same configuration and dataset, if any.
        start: Model to start from; must be the one that `config.start_from` names.

    Raises:
        DatasetError: The data changed since its validation.
        TrainingError: The loss is not finite, there are too few images, or the saved state is damaged.
        SettingsError: CUDA was requested but is not available, or the configuration does not fit the images or `start`.
    """
    if config.start_from != (given := start.tag if start else ""):
        raise SettingsError(f"start_from: {config.start_from!r}; expected the tag of the model passed, {given!r}")
    examples = read_split(validated.dataset, "train")
    torch.set_flush_denormal(True)  # Adam's moments of always-black pixels turn denormal: 10 to 25 % slower
    threads = use_threads(config.threads)
    path = state_path(keep_in, validated.dataset.version, config) if keep_in else None
    try:
        run = Run(examples, config, start, read_manifest(validated.dataset).revisions)
        if resume and path and path.is_file():
            _restore(run, path)
            log.warning("resuming after epoch %d", len(run.history))
        elif resume:
            log.warning("no unfinished training with these settings on this dataset; starting from epoch 1")
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
            log.warning("stopped; completed epochs are saved. To continue, run the same command with --resume")
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
        reason = (str(error).splitlines() or [""])[0]
        raise TrainingError(f"{path}: not the state of this training: {reason}; {START_OVER}") from error


class Run:
    """A training in progress: a sequence of phases, see `TrainConfig.phases`."""

    def __init__(
        self, examples: Examples, config: TrainConfig, start: Start | None = None, revisions: tuple[Revision, ...] = ()
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.contract = config, examples.contract
        self.phases = config.for_image(self.contract.input).phases()
        self.device = pick_device(config.device)
        self.data = divide(examples, config, self.device, start.rows if start else None)
        self.history: list[Epoch] = []
        self.number = 0  # of the phase
        network = build(self.phases[0], self.contract)
        if start:
            start.copy_weights(network, self.contract, self.phases[0], Lineage(self.contract.classes, revisions))
        self.phase = Phase(network, self.phases[0], self.data)

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are done."""
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
        """Return the result, on the CPU."""
        network = to_dense(self.phase.result()).eval()
        with torch.inference_mode():
            logits = network(self.data.validation_x.cpu())
            distances = self._fit_known(network) if len(logits) >= FEWEST_KNOWN else None
        return Trained(
            network=network,
            config=self.config,
            history=tuple(self.history),
            best_epoch=len(self.history) - self.phase.epoch + self.phase.chosen_epoch,
            seconds=sum(epoch.seconds for epoch in self.history),
            hardware=self.phase.hardware.describe(),
            validation_logits=logits,
            validation_labels=self.data.validation_labels.to("cpu", torch.uint16).numpy(),
            validation_distances=distances,
        )

    def _fit_known(self, network: MLP) -> NDArray[np.float32]:
        """Fit the measure of unknown inputs, and return the distances of the validation images."""
        sampling = sampling_of(self.contract)
        rows = np.random.default_rng(self.config.seed).permutation(len(self.data.labels))[: sampling.kept]
        inputs = self.data.images.unchanged(torch.from_numpy(rows).to(self.device)).cpu()
        network.known = fit_known(inputs.numpy(), network.hidden(inputs).numpy(), sampling.rank, self.contract)
        measure = network.known.measure(self.contract)
        parts = self.data.validation_x.cpu().split(AT_ONCE)
        return np.concatenate([measure(part.numpy(), network.hidden(part).numpy()) for part in parts])

    def state(self) -> State:
        """Return everything that the next epoch depends on, except the data and the configuration."""
        tensors, facts = self.phase.state()
        tensors["rng"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["cuda rng"] = torch.cuda.get_rng_state()
        return State(tensors, {"phase": self.number, "history": [asdict(epoch) for epoch in self.history], **facts})

    def restore(self, state: State) -> None:
        """Restore a training from its state."""
        self.number = state.facts["phase"]
        self.history = [Epoch(**epoch) for epoch in state.facts["history"]]
        config = self.phases[self.number]
        self.phase = Phase(build(config, self.contract), config, self.data, bfloat16=state.facts["bfloat16"])
        self.phase.restore(state)
        torch.set_rng_state(state.tensors["rng"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state.tensors["cuda rng"])


class Phase:
    """One phase of a training: a network with its optimizer and schedule."""

    def __init__(
        self, network: MLP | TiedMLP, config: TrainConfig, data: TrainingData, bfloat16: bool | None = None
    ) -> None:
        self.config, self.data = config, data
        self.network = network.to(data.labels.device)
        if bfloat16 is None:
            bfloat16 = pick_precision(config.precision, network, data.validation_x[: config.batch_size])
        self.hardware = Hardware(data.labels.device, bfloat16)
        self.gradients = Gradients(network) if Gradients.fit(network, config, self.hardware) else None
        self.targets = self.gradients.rows(data.targets) if self.gradients else data.targets
        trained = self.gradients.parameters() if self.gradients else network.parameters()
        self.optimizer = FusedAdam(trained, config.weight_decay)
        if config.muon:
            self.optimizer = Muon(network, config.muon / config.learning_rate, config.weight_decay, bfloat16)
        self.average = _averaged(network, config.average) if config.average else None
        self.step = self.epoch = self.best_epoch = 0
        self.steps = config.epochs * count_batches(len(data.labels), config)
        self.best, self.best_weights = math.inf, network.state_dict()

    @property
    def chosen_epoch(self) -> int:
        """Epoch of the selected weights, from 1: the last, or with patience the one of lowest validation loss."""
        return self.best_epoch if self.config.patience else self.epoch

    @property
    def evaluated(self) -> MLP | TiedMLP:
        """The network that is validated and returned: the average of the weights, if configured."""
        return cast(MLP | TiedMLP, self.average.module) if self.average else self.network

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are done, or patience has run out."""
        patience = self.config.patience or math.inf
        return self.epoch == self.config.epochs or (self.epoch - self.best_epoch >= patience)

    def advance(self, number: int) -> Epoch:
        """Run one epoch.

        Raises:
            TrainingDiverged: A loss is not finite.
        """
        began = time.perf_counter()
        loss, accuracy = self._train()
        validation_loss, validation_accuracy = self._validate()
        if not math.isfinite(loss) or not math.isfinite(validation_loss):
            raise TrainingDiverged(
                f"epoch {number}: training loss {loss}, validation loss {validation_loss}; expected finite losses. "
                f"Nothing was saved; try a learning rate below {self.config.learning_rate}"
            )
        self.epoch += 1
        if validation_loss < self.best:
            self.best, self.best_epoch = validation_loss, self.epoch
            if self.config.patience:
                self.best_weights = {name: weight.clone() for name, weight in self.evaluated.state_dict().items()}
        return Epoch(number, loss, accuracy, validation_loss, validation_accuracy, time.perf_counter() - began)

    def result(self) -> MLP | TiedMLP:
        """Return the network of the chosen epoch, on the CPU."""
        network = self.evaluated
        if self.config.patience:
            network.load_state_dict(self.best_weights)
        for weight in network.parameters():
            weight.data = weight.data.contiguous()  # `Gradients` transposes them
        return network.cpu()

    def _train(self) -> tuple[float, float]:
        """Run one pass over the training images in a new order. Returns mean loss and accuracy of its steps."""
        self.network.train()
        order = self.data.draw_order()
        batches = order.split(self.config.batch_size)[: count_batches(len(order), self.config)]
        targets = self.targets.index_select(0, order).split(self.config.batch_size)
        with torch.inference_mode(self.gradients is not None):
            steps = zip(batches, targets, strict=False)  # a last batch of one image may be dropped
            outputs = torch.cat([self.learn(self.data.images(rows), part) for rows, part in steps])
        return _score(outputs, self.data.labels[order[: len(outputs)]])

    def learn(self, x: Tensor, targets: Tensor) -> Tensor:
        """Run one optimizer step.

        Args:
            x: float32 (b, pixels * channels).
            targets: int64 (b,), or float32 (b, classes); the latter for `Gradients`.

        Returns:
            The logits of the forward pass, float32 (b, classes).
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

    def _validate(self) -> tuple[float, float]:
        """Return loss and accuracy on the validation rows."""
        network = self.evaluated.eval()
        with torch.inference_mode():
            return _score(network(self.data.validation_x), self.data.validation_labels)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors of the state by name, and the JSON-serializable rest."""
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
        """Restore the phase from its state."""
        named = {group: _under(group, state.tensors) for group in ("network", "average", "best", "optimizer")}
        self.network.load_state_dict(named["network"])
        self.optimizer.load_state_dict(named["optimizer"])
        if self.average:
            self.average.load_state_dict(named["average"])
        self.best_weights = named["best"]
        for name in ("step", "epoch", "best", "best_epoch"):
            setattr(self, name, state.facts[name])


def count_batches(images: int, config: TrainConfig) -> int:
    """Return the steps per epoch. With batch norm, a last batch of one image is dropped: it has no variance."""
    left_over = images % config.batch_size
    return images // config.batch_size + (left_over > (1 if config.model.batch_norm else 0))


def build(config: TrainConfig, contract: DataContract) -> MLP | TiedMLP:
    """Build the initial network of a training.

    Dense layers are initialized as in Keras, which the published presets were written for: Glorot uniform weights
    (Glorot and Bengio, 2010), biases 0. PyTorch's default weights are less than half as large.

    Raises:
        SettingsError: Tied layers do not fit the images, or the network is too large.
    """
    config.require_fit(contract.input)
    config = config.for_image(contract.input)
    if config.tied:
        return TiedMLP(config.model, config.tied, contract, config.strides)
    network = MLP(config.model, contract)
    for layer in network:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def _averaged(network: MLP | TiedMLP, decay: float) -> AveragedModel:
    """Return an exponential moving average with a decay that warms up, as in TensorFlow's ExponentialMovingAverage."""

    @torch.no_grad()
    def update(averaged: Any, current: Any, count: Any) -> None:
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + count.item()) / (10 + count.item())))

    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)


def _score(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return the mean cross-entropy, in nats, and the accuracy."""
    return cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).float().mean().item()


def _under(group: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.partition("/")[2]: tensor for name, tensor in tensors.items() if name.startswith(f"{group}/")}
