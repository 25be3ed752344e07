"""The layer sizes of each model preset. Hybrids: three GDN layers, then one of attention."""

from __future__ import annotations

from dataclasses import dataclass

MAX_LAYERS = 1000
"""That a stack may have."""
ATTENTION_INTERVAL = 4
"""Every fourth layer is full attention."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What decides the time of a layer."""

    layers: int
    hidden: int
    key_heads: int
    value_heads: int
    head_size: int
    """Of keys and values of the GDN layers."""

    query_heads: int
    """Of the attention layers; each query comes with an output gate of its size."""

    kv_heads: int
    attention_head_size: int
    feedforward: int
    """Active width: of a mixture of experts, that of all the experts one token goes through."""

    tokens: int
    """Prefill tokens a step, unless the user says otherwise."""

    batch: int
    """Sequences a step, unless the user says otherwise."""

    @property
    def key_width(self) -> int:
        """Channels of all keys."""
        return self.key_heads * self.head_size

    @property
    def value_width(self) -> int:
        """Channels of all values."""
        return self.value_heads * self.head_size

    @property
    def conv_width(self) -> int:
        """Channels of the short convolution: queries, keys and values."""
        return 2 * self.key_width + self.value_width


# `tiny` is for Triton's interpreter, whose time goes with the number of (chunk, value head) pairs: with two value
# heads a step takes one core 1.5 to 2 s. In the others layers, hidden size and GDN heads are the published ones.
# Experts: ten routed and one shared, 512 (80B) or 1024 (397B) wide each. The attention heads and the width of the 2B
# model's feed-forward are stand-ins of the family's proportions.
PRESETS = {
    "tiny": ModelShape(4, 64, 1, 2, 16, 2, 1, 32, 128, tokens=150, batch=3),
    "qwen3.5-2b": ModelShape(24, 2048, 16, 16, 128, 8, 2, 256, 6144, tokens=8192, batch=8),
    "qwen3-next-80b": ModelShape(48, 2048, 16, 32, 128, 16, 2, 256, 11 * 512, tokens=8192, batch=8),
    "qwen3.5-397b": ModelShape(60, 4096, 16, 64, 128, 32, 2, 256, 11 * 1024, tokens=8192, batch=8),
}
