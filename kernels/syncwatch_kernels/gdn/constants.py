"""Sizes that are fixed whatever the batch looks like, and the constants of the norms."""

from __future__ import annotations

CHUNK_SIZE = 64
"""Tokens in a chunk. It never depends on the lengths, so one compiled variant serves every batch."""

CONV_WIDTH = 4
"""Taps of the causal convolution; its state holds `CONV_WIDTH - 1` past inputs."""

L2_NORM_EPS = 1e-6
"""Added to the squared norm of a query or key, as the served models do."""

RMS_NORM_EPS = 1e-6
"""Added to the mean square of an output head, as the served models do."""
