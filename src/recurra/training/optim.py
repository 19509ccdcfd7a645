"""Optimisers by name, with weight decay where it belongs, and penalties on the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn, optim

from recurra.base.errors import ConfigError, message
from recurra.base.registry import Registry
from recurra.training.config import OptimConfig

__all__ = ["OPTIMISERS", "add_penalty_gradient", "is_matrix", "optimiser", "parameter_groups", "penalty"]

Factory = Callable[[list[dict[str, Any]], OptimConfig], optim.Optimizer]

OPTIMISERS: Registry[Factory] = Registry("optimiser")
"""Name -> (parameter groups, settings) -> torch optimiser."""


@OPTIMISERS.register("sgd")
@OPTIMISERS.register("asgd")
@OPTIMISERS.register("nt_asgd")
def _sgd(groups: list[dict[str, Any]], config: OptimConfig) -> optim.Optimizer:
    # Averaged SGD steps as SGD does; the average is kept beside it (training/average.py).
    return optim.SGD(groups, lr=config.learning_rate)


@OPTIMISERS.register("momentum")
def _momentum(groups: list[dict[str, Any]], config: OptimConfig) -> optim.Optimizer:
    return optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)


@OPTIMISERS.register("nesterov")
def _nesterov(groups: list[dict[str, Any]], config: OptimConfig) -> optim.Optimizer:
    return optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=True)


@OPTIMISERS.register("adam")
def _adam(groups: list[dict[str, Any]], config: OptimConfig) -> optim.Optimizer:
    return optim.Adam(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), eps=config.epsilon)


@OPTIMISERS.register("adamw")
def _adamw(groups: list[dict[str, Any]], config: OptimConfig) -> optim.Optimizer:
    return optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), eps=config.epsilon)


@OPTIMISERS.register("rmsprop")
def _rmsprop(groups: list[dict[str, Any]], config: OptimConfig) -> optim.Optimizer:
    return optim.RMSprop(groups, lr=config.learning_rate, alpha=config.alpha, eps=config.epsilon)


def optimiser(model: nn.Module, config: OptimConfig) -> optim.Optimizer:
    """The optimiser `config.name` over the trainable parameters of `model`, grouped by `parameter_groups`.

    Raises ConfigError where nothing is trainable.
    """
    groups = parameter_groups(model, config.weight_decay, config.decay)
    if not groups:
        raise ConfigError(message("optimiser", "the model has no trainable parameter"))
    return OPTIMISERS[config.name](groups, config)


def parameter_groups(model: nn.Module, weight_decay: float, decay: str = "matrices") -> list[dict[str, Any]]:
    """Parameter groups for a torch optimiser: decayed ones first, then those that are not.

    A bias or a gain has no scale to be kept small: decaying it only moves the activation it sets.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trainable if decay == "all" or is_matrix(parameter)]
    chosen = {id(parameter) for parameter in decayed}
    rest = [parameter for parameter in trainable if id(parameter) not in chosen]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def is_matrix(parameter: Tensor) -> bool:
    """Whether it has two axes or more; a bias, a gain and a peephole have one."""
    return parameter.dim() >= 2


def penalty(model: nn.Module, l1: float = 0.0, l2: float = 0.0, decay: str = "matrices") -> Tensor:
    """l1 * sum |w| + l2/2 * sum w^2 over the matrices (or all parameters), a scalar with a gradient."""
    total = torch.zeros(())
    for parameter in _penalised(model.parameters(), decay):
        total = total.to(parameter.device)
        total = total + l1 * parameter.abs().sum() + 0.5 * l2 * parameter.square().sum()
    return total


@torch.no_grad()
def add_penalty_gradient(model: nn.Module, l1: float = 0.0, l2: float = 0.0, decay: str = "matrices") -> None:
    """Add the gradient of `penalty` to `.grad`: no graph, and the reported loss stays that of the data."""
    if not l1 and not l2:
        return
    for parameter in _penalised(model.parameters(), decay):
        if parameter.grad is None:
            continue
        if l1:
            parameter.grad.add_(parameter.sign(), alpha=l1)
        if l2:
            parameter.grad.add_(parameter, alpha=l2)


def _penalised(parameters: Iterable[nn.Parameter], decay: str) -> list[nn.Parameter]:
    return [p for p in parameters if p.requires_grad and (decay == "all" or is_matrix(p))]
