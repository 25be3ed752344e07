"""A user's Triton kernels run on the virtual device, unmodified."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

KERNEL = """
import triton
import triton.language as tl

@triton.jit
def double(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n
    tl.store(out_ptr + offsets, 2 * tl.load(x_ptr + offsets, mask=mask), mask=mask)
"""
LAUNCH = """
import json, torch
from syncwatch.sense.recorder import Recorder
from syncwatch.sense.virtual.device import VirtualDevice
device = VirtualDevice()
recorder = Recorder(now_ns=device.now_ns)
device.start(recorder)
from kernel import double
x = torch.arange(10.0, device="cuda")
out = torch.empty_like(x)
before = len(recorder.kernels)
double[(2,)](x, out, 10, BLOCK=8)
names = [kernel.name for kernel in recorder.kernels[before:]]
quiet = (sum(sync.api is None for sync in recorder.syncs), len(recorder.copies))
print(json.dumps([names, quiet, out.is_cuda, out.tolist()]))
device.stop()
"""
TOO_LATE = """
import kernel
from syncwatch.errors import NotMeasuredError
from syncwatch.sense.virtual.device import VirtualDevice
try:
    VirtualDevice().start()
except NotMeasuredError as error:
    print(error)
"""


def python(script: str, folder: Path) -> str:
    (folder / "kernel.py").write_text(KERNEL, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    path = os.pathsep.join([str(folder), *(entry for entry in sys.path if entry)])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**environment, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_launch_is_one_kernel_and_nothing_else(tmp_path: Path) -> None:
    names, quiet, on_device, values = json.loads(python(LAUNCH, tmp_path))

    assert names == ["double"]
    assert quiet == [0, 0]
    assert on_device
    assert values == [2.0 * n for n in range(10)]


def test_kernels_defined_before_the_device_are_refused_with_a_next_step(tmp_path: Path) -> None:
    said = python(TOO_LATE, tmp_path)

    assert "kernel.double was defined before the virtual device started" in said
    assert "TRITON_INTERPRET=1" in said
