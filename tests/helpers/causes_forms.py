"""Runs the examples on the page of each cause as they are printed, with the values that their names stand for."""

from __future__ import annotations

import linecache
import logging
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch.distributions import Categorical

from syncwatch.attribute.causes import CAUSES
from syncwatch.model.events import SyncKind

Names = dict[str, Any]
SIZE = 64


def run(code: str, form: str, names: Names) -> None:
    """Run the example `form` on the page of the cause `code`, as a file whose lines a stack can name."""
    text = getattr(CAUSES[code], form)
    filename = f"{code}_{form}.py"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    exec(compile(text, filename, "exec"), names)


def vector() -> torch.Tensor:
    return torch.linspace(0.0, 1.0, SIZE, device="cuda")


def ids() -> torch.Tensor:
    return torch.arange(SIZE, device="cuda") % 8


def mask() -> torch.Tensor:
    return torch.arange(SIZE, device="cuda") % 3 == 0


def pinned(size: int = SIZE) -> torch.Tensor:
    return torch.zeros(size, pin_memory=True)


def busy() -> torch.cuda.Event:
    """Queue work, and return an event that the example can record behind it."""
    x = torch.ones(1024, 1024, device="cuda")
    for _ in range(8):
        x = x @ x
    return torch.cuda.Event()


def logger() -> logging.Logger:
    log = logging.Logger("forms", logging.INFO)
    log.addHandler(logging.NullHandler())
    return log


def next_step() -> None:
    """Launch 1,024 kernels, so that the GPU has meanwhile passed what was recorded before."""
    x = torch.ones(1, device="cuda")
    for _ in range(1024):
        x = x + 1


def library(kind: SyncKind) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function that waits by itself, as a library does whose waits no operator and no hook announce."""

    def forward(x: torch.Tensor) -> torch.Tensor:
        from syncwatch.sense.virtual.device import running_engine

        engine = running_engine()
        if engine is not None:
            engine.wait(kind, op=None, explicit=False)
        return x

    return forward


NAMES: dict[str, Callable[[], Names]] = {
    "SW101": lambda: {"total": torch.zeros((), device="cuda"), "loss": vector().sum()},
    "SW102": lambda: {"cu_seqlens": ids().cumsum(0), "cu_seqlens_cpu": torch.arange(9)},
    "SW103": lambda: {"loss": vector().sum()},
    "SW104": lambda: {"logits": vector(), "pinned": pinned(), "done": busy(), "next_step": next_step},
    "SW105": lambda: {"log": logger(), "loss": vector().sum(), "losses": []},
    "SW201": lambda: {"tokens": vector(), "is_spec": mask(), "is_spec_cpu": torch.arange(SIZE) % 3 == 0},
    "SW202": lambda: {"mask": mask(), "n": 22},
    "SW203": lambda: {"x": vector(), "mask": mask()},
    "SW204": lambda: {"ids": ids(), "lengths": ids(), "total": 224},
    "SW205": lambda: {"expert_ids": ids(), "ids": ids(), "n": 8},
    "SW206": lambda: {"F": F, "labels": ids()},
    "SW207": lambda: {"ids": ids(), "n": 8},
    "SW208": lambda: {"x": vector(), "mask": mask(), "y": vector()[:22].clone(), "full_y": vector()},
    "SW209": lambda: {"Categorical": Categorical, "p": torch.softmax(vector(), 0)},
    "SW301": lambda: {"offsets": [0, 3, 5]},
    "SW302": lambda: {"batch": torch.zeros(SIZE), "device": "cuda"},
    "SW303": lambda: {"x": vector(), "index": ids()},
    "SW304": lambda: {"gpu": vector(), "pageable": torch.zeros(SIZE), "pinned": pinned()},
    "SW305": lambda: {"x": vector(), "lengths": ids(), "max_length": 7},
    "SW401": lambda: {"time": time},
    "SW402": lambda: {"side": torch.cuda.Stream()},
    "SW403": lambda: {"copied": busy(), "next_step": next_step},
    "SW501": lambda: {"a": torch.eye(8, device="cuda")},
    "SW502": lambda: {"x": vector(), "my_extension": SimpleNamespace(forward=library(SyncKind.DEVICE))},
    "SW601": lambda: {"device": "cuda", "largest_so_far": 1 << 28, "largest_there_will_be": 1 << 28, "size": SIZE},
    "SW602": lambda: {"batch": torch.zeros(1 << 22), "staging": pinned(1 << 22)},
    "SW900": lambda: {"x": vector(), "unknown_op": library(SyncKind.STREAM)},
}
"""The names that the examples of each cause use; made before the watch begins, so that only the example is watched."""
