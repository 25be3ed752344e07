"""Answers: what are the rows of our own export called? What writes them and what reads them back agree here."""

from __future__ import annotations

OWN_KEY = "syncwatch"
"""The key beside `traceEvents` that other readers ignore: what Chrome's events have no place for."""
OWN_SCHEMA = "syncwatch.chrome/1"

CALL = "cuda_runtime"
DRIVER_CALL = "cuda_driver"
KERNEL = "kernel"
COPY = "gpu_memcpy"
MEMSET = "gpu_memset"
RANGE = "user_annotation"
FLOW = "ac2g"
"""These six are kineto's."""

STEP = "syncwatch.step"
SYNC = "syncwatch.sync"
BUBBLE = "syncwatch.bubble"
