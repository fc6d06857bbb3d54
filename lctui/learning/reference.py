"""Training the reference net.

Owns the epochs of plain SGD that every scheme of one net shares.  Keeps nothing on disk; `lctui.references` does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

from torch import Tensor

from lctui.errors import Diverged, Interrupted
from lctui.events import ReferenceEpoch
from lctui.learning.evaluate import Splits, evaluate
from lctui.learning.finite import is_finite
from lctui.learning.net import FlatNet
from lctui.learning.train import Position, SgdSettings, Stop, Trainer, never
from lctui.memory import memory_for
from lctui.scheme import Scheme

REFERENCE_ADVICE = "lower reference.batch_size, use precision bfloat16, or take a smaller model"


@dataclass
class ReferenceState:
    """Where reference training stands, besides the net itself."""

    position: Position = field(default_factory=Position)
    momentum: Tensor | None = None


def train_reference(
    net: FlatNet,
    splits: Splits,
    scheme: Scheme,
    state: ReferenceState,
    stop: Stop = never,
    on_batch: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[ReferenceEpoch]:
    """Trains to the last epoch of `scheme.reference`, from wherever `state` stands; yields one event an epoch.

    Raises:
        Interrupted: `stop` said so; `state` stands after the last finished batch, all of it finite.
        OutOfMemory: there was not enough.
        Diverged: the loss or the weights are not finite.
    """
    options = scheme.reference
    settings = SgdSettings(
        options.batch_size, options.momentum, options.nesterov, options.weight_decay, scheme.precision
    )
    with memory_for("for training the reference", REFERENCE_ADVICE):
        trainer = Trainer(
            net,
            splits.train,
            settings,
            scheme.seed,
            stop=stop,
            on_batch=on_batch,
            loss=splits.objective.loss,
            augment=splits.augment,
        )
    trainer.begin(("reference",), state.position, state.momentum)
    state.momentum = trainer.momentum
    while trainer.position.epoch < options.epochs:
        lr = options.lr * options.lr_decay**trainer.position.epoch
        started = time.perf_counter()
        try:
            with memory_for("while the reference was trained", REFERENCE_ADVICE):
                loss = trainer.epoch(lr)
        except Interrupted:
            # Only what is finite may be kept as the place to go on from.
            _require_finite(net, trainer, trainer.position.loss_sum, lr)
            raise
        finally:
            state.position = trainer.position
        _require_finite(net, trainer, loss, lr)
        errors = evaluate(net.module, splits)
        seconds = time.perf_counter() - started
        yield ReferenceEpoch(state.position.epoch, options.epochs, lr, loss, **asdict(errors), seconds=seconds)


def _require_finite(net: FlatNet, trainer: Trainer, loss: float, lr: float) -> None:
    if is_finite(loss, net.w, trainer.momentum):
        return
    epoch = trainer.position.epoch + (trainer.position.batch > 0)
    raise Diverged(
        f"the loss or the weights are no longer finite in reference epoch {epoch}: lower reference.lr (here {lr:g})"
    )
