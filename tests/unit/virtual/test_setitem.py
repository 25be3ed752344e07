"""Assigning through square brackets waits and uploads as CUDA does in the installed torch, whichever that is.

torch's own fake tensors come down to the operators that CUDA tensors come down to, and need no GPU: a read ends them
with an exception, and an operand from the host is one that has to be uploaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from syncwatch.model.events import Direction
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.device import VirtualDevice


class Tensors:
    """What the statements work on."""

    def __init__(self) -> None:
        self.x = torch.ones(8, device="cuda")
        self.y = torch.ones(4, 4, device="cuda")
        self.many = torch.ones(2, dtype=torch.int64, device="cuda")
        self.table = torch.ones(2, 2, dtype=torch.int64, device="cuda")
        self.narrow = torch.ones(2, dtype=torch.int32, device="cuda")
        self.one = torch.ones((), dtype=torch.int64, device="cuda")
        self.one_narrow = torch.ones((), dtype=torch.int32, device="cuda")
        self.mask = torch.ones(8, dtype=torch.bool, device="cuda")
        self.number = torch.ones((), device="cuda")
        self.other_type = torch.ones((), dtype=torch.float64, device="cuda")
        self.host = torch.ones(())
        self.host_mask = torch.ones(8, dtype=torch.bool)
        self.host_many = torch.ones(2, dtype=torch.int64)


Write = Callable[[Tensors], object]
WRITES: dict[str, Write] = {
    "x[0] = 2": lambda t: t.x.__setitem__(0, 2.0),
    "x[0] = True": lambda t: t.x.__setitem__(0, True),
    "x[:4] = 2": lambda t: t.x.__setitem__(slice(0, 4), 2.0),
    "x[...] = 2": lambda t: t.x.__setitem__(..., 2.0),
    "x[many] = 2": lambda t: t.x.__setitem__(t.many, 2.0),
    "x[narrow] = 2": lambda t: t.x.__setitem__(t.narrow, 2.0),
    "x[one] = 2": lambda t: t.x.__setitem__(t.one, 2.0),
    "x[one_narrow] = 2": lambda t: t.x.__setitem__(t.one_narrow, 2.0),
    "x[one] = number": lambda t: t.x.__setitem__(t.one, t.number),
    "x[one] = other type": lambda t: t.x.__setitem__(t.one, t.other_type),
    "x[one] = host": lambda t: t.x.__setitem__(t.one, t.host),
    "x[0] = number": lambda t: t.x.__setitem__(0, t.number),
    "x[0] = host": lambda t: t.x.__setitem__(0, t.host),
    "x[mask] = 2": lambda t: t.x.__setitem__(t.mask, 2.0),
    "x[many] = host": lambda t: t.x.__setitem__(t.many, t.host),
    "x[host_many] = 2": lambda t: t.x.__setitem__(t.host_many, 2.0),
    "y[0, 1] = 2": lambda t: t.y.__setitem__((0, 1), 2.0),
    "y[:, many] = 2": lambda t: t.y.__setitem__((slice(None), t.many), 2.0),
    "y[many, 0] = 2": lambda t: t.y.__setitem__((t.many, 0), 2.0),
    "y[many, many] = 2": lambda t: t.y.__setitem__((t.many, t.many), 2.0),
    "y[table] = 2": lambda t: t.y.__setitem__(t.table, 2.0),
    "y[table.T] = 2": lambda t: t.y.__setitem__(t.table.T, 2.0),
    "y[one, one] = 2": lambda t: t.y.__setitem__((t.one, t.one), 2.0),
    "y[one, 0] = 2": lambda t: t.y.__setitem__((t.one, 0), 2.0),
    "y[one, :] = number": lambda t: t.y.__setitem__((t.one, slice(None)), t.number),
    "y[one, many] = 2": lambda t: t.y.__setitem__((t.one, t.many), 2.0),
}


class Asked(TorchDispatchMode):
    """Whether an operator reads a value, and how many operands lie on the host."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)
        self.reads = 0
        self.uploads = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = str(func)
        flat = [each for arg in args for each in (arg if isinstance(arg, (list, tuple)) else [arg])]
        tensors = [each for each in flat if isinstance(each, torch.Tensor)]
        there = [each for each in tensors if each.device.type == "cuda"]
        # One number through one mask becomes a masked_fill_ (`canDispatchToMaskedFill` in torch), with no upload.
        filled = name.startswith("aten.index_put_") and len(tensors) == 3 and tensors[1].dtype is torch.bool
        if name.startswith(("aten.index_put_", "aten.copy_")) and there and not filled:
            self.uploads += sum(each.device.type == "cpu" for each in tensors)
        try:
            return func(*args, **(kwargs or {}))
        except (DataDependentOutputException, DynamicOutputShapeException):
            self.reads += 1
            raise


def asked_by_cuda(write: Write) -> tuple[bool, int | None]:
    """Return whether CUDA reads a value, and how many operands it uploads; None behind a read, which ends it."""
    with FakeTensorMode():
        tensors = Tensors()
        with Asked() as asked:
            try:
                write(tensors)
            except (DataDependentOutputException, DynamicOutputShapeException):
                return True, None
    return False, asked.uploads


@pytest.fixture(scope="module")
def cuda() -> dict[str, tuple[bool, int | None]]:
    if torch.version.cuda is None:
        pytest.skip("a torch for the CPU cannot fake CUDA tensors between square brackets")
    try:
        return {name: asked_by_cuda(write) for name, write in WRITES.items()}
    except RuntimeError as error:
        pytest.skip(f"torch {torch.__version__} has no fake CUDA tensors without a driver: {error}")


@pytest.mark.parametrize("name", WRITES)
def test_a_write_asks_the_host_for_what_cuda_does(
    cuda: dict[str, tuple[bool, int | None]], module_device: VirtualDevice, name: str
) -> None:
    tensors = Tensors()
    module_device.record_into(recorder := Recorder(now_ns=module_device.now_ns))

    WRITES[name](tensors)

    module_device.record_into(None)
    directions = [copy.direction for copy in recorder.copies]
    reads, uploads = cuda[name]
    assert (Direction.D2H in directions) == reads
    if uploads is not None:
        assert directions.count(Direction.H2D) == uploads


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.usefixtures("module_device")
def test_a_write_writes_what_the_cpu_writes(name: str) -> None:
    there = Tensors()
    here = Tensors()
    for attribute, value in vars(there).items():
        setattr(here, attribute, value.cpu())

    WRITES[name](there)
    WRITES[name](here)

    assert torch.equal(there.x.cpu(), here.x)
    assert torch.equal(there.y.cpu(), here.y)
