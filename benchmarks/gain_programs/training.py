"""Training steps of a small model, with what people write in them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.gain_programs.machine import Machine
from benchmarks.gain_programs.registry import Step, add, waits

_LAYERS, _ROWS = 8, 256


class Training:
    """A model of eight layers, its optimizer, and a batch."""

    def __init__(self, machine: Machine) -> None:
        layers = [nn.Linear(machine.width, machine.width, device="cuda") for _ in range(_LAYERS)]
        self.model = nn.Sequential(*[part for layer in layers for part in (layer, nn.SiLU())])
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-6)
        self.scaler = torch.amp.GradScaler("cuda", growth_interval=1_000_000)
        self.batch = torch.ones(_ROWS, machine.width, device="cuda")

    def backward(self) -> torch.Tensor:
        """Run both passes and return the loss."""
        self.optimizer.zero_grad()
        loss: torch.Tensor = self.model(self.batch).square().mean()
        loss.backward()
        return loss.detach()


@waits
def clip_strictly(training: Training) -> object:
    return nn.utils.clip_grad_norm_(training.model.parameters(), 1.0, error_if_nonfinite=True)


@waits
def stop_if_nan(training: Training, loss: torch.Tensor) -> None:
    if torch.isnan(loss):
        training.optimizer.zero_grad()


@waits
def log_loss(loss: torch.Tensor) -> object:
    return loss.item()


@waits
def scaled_step(training: Training) -> None:
    training.scaler.step(training.optimizer)


def _strict_clip(training: Training, _loss: torch.Tensor, remove: bool) -> None:
    if remove:
        norm: Any = nn.utils.clip_grad_norm_(training.model.parameters(), 1.0)
        # What decides is computed all the same.
        torch.logical_or(norm.isnan(), norm.isinf())
    else:
        clip_strictly(training)
    training.optimizer.step()


def _nan_check(training: Training, loss: torch.Tensor, remove: bool) -> None:
    if remove:
        torch.isnan(loss)
    else:
        stop_if_nan(training, loss)
    training.optimizer.step()


def _logged(training: Training, loss: torch.Tensor, remove: bool) -> None:
    training.optimizer.step()
    if not remove:
        log_loss(loss)


def _unscaled(training: Training, _loss: torch.Tensor, remove: bool) -> None:
    training.scaler.scale(_loss)
    if remove:
        # As `GradScaler.step` does, save for the look at what `unscale_` found.
        training.scaler.unscale_(training.optimizer)
        training.optimizer.step()
    else:
        scaled_step(training)
    training.scaler.update()


def train(machine: Machine, end: Callable[[Training, torch.Tensor, bool], None], host_us: float = 800) -> Step:
    """Removed: what a step reads of the loss, the norm or the overflow. Stays: both passes and the optimizer."""
    training = Training(machine)

    def step(_index: int, remove: bool) -> None:
        machine.gpu(300)
        end(training, training.backward(), remove)
        machine.host(host_us)

    return step


add("training", "clip-grad-norm", partial(train, end=_strict_clip), "clip_strictly")
add("training", "nan-check", partial(train, end=_nan_check), "stop_if_nan")
add("training", "log-loss", partial(train, end=_logged), "log_loss")
add("training", "log-loss-idle-host", partial(train, end=_logged, host_us=0), "log_loss")
add("training", "grad-scaler", partial(train, end=_unscaled), "scaled_step")
