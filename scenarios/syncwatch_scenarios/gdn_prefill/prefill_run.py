"""One run of `gdn-prefill`: its options made into shapes, batches and host work."""

from __future__ import annotations

from dataclasses import dataclass, replace

from syncwatch.bench import require_range
from syncwatch.errors import UsageError
from syncwatch_scenarios.gdn_prefill import MAX_TOKENS, PrefillOptions
from syncwatch_scenarios.gdn_prefill.batches import Batch, draw_batch, fixed_batch, parse_lengths
from syncwatch_scenarios.gdn_prefill.host_work import HostWork, Regime, host_work_in, tokens_in
from syncwatch_scenarios.hybrid_model.sizes import ATTENTION_INTERVAL, PRESETS, ModelShape


@dataclass(frozen=True, slots=True)
class PrefillRun:
    """What a run of the scenario is made of."""

    preset: str
    shape: ModelShape
    lengths: tuple[int, ...] | None
    """Tokens of each sequence, the same in every step; None where they are drawn anew for each."""
    regime: str | None
    work: HostWork | None
    """What the host does in each step besides launching."""
    cache_miss: bool
    seed: int

    def batch(self, index: int) -> Batch:
        """Return the sequences of step `index`."""
        if self.lengths is not None:
            return fixed_batch(self.lengths, self.seed, index)
        return draw_batch(self.shape.tokens, self.shape.batch, self.seed, index)

    @property
    def parameters(self) -> dict[str, str]:
        """What is run, for the report."""
        shape = self.shape
        attention = shape.layers // ATTENTION_INTERVAL
        return {
            "preset": self.preset,
            "layers": f"{shape.layers - attention} GDN, {attention} in place of attention",
            "hidden size": str(shape.hidden),
            "GDN heads": f"{shape.key_heads} key, {shape.value_heads} value, of {shape.head_size}",
            "tokens a step": str(shape.tokens),
            "sequences a step": self._sequences(),
            "metadata cache": "missed at each layer" if self.cache_miss else "by identity, fresh objects each step",
            "regime": self.regime or "none",
            "host work": _described(self.work),
            "dtype": "bfloat16, state float32",
            "seed": str(self.seed),
        }

    def _sequences(self) -> str:
        if self.lengths is None:
            return f"{self.shape.batch}, ragged"
        if len(set(self.lengths)) == 1:
            return f"{len(self.lengths)} of {self.lengths[0]}"
        return f"{len(self.lengths)} of {min(self.lengths)} to {max(self.lengths)}"


def _described(work: HostWork | None) -> str:
    if work is None:
        return "launching only"
    low, high = round(100 * (1 - work.spread)), round(100 * (1 + work.spread))
    return f"{work.mean_us / 1000:g} ms a step besides launching, {low} to {high} % of it by step"


def prefill_run(options: PrefillOptions) -> PrefillRun:
    """Return the run that the user chose.

    Raises:
        UsageError: if an option is out of range, with the range, or two contradict each other.
    """
    preset = options.preset
    regime = None if options.regime is None else Regime(options.regime)
    shape = PRESETS[preset]
    if regime is not None:
        shape = replace(shape, tokens=tokens_in(regime, preset, shape.tokens))
    lengths = _fixed_lengths(options)
    shape = _drawn_shape(shape, options) if lengths is None else _fixed_shape(shape, lengths)
    layers = shape.layers if options.layers is None else options.layers
    shape = replace(shape, layers=layers)
    work = None if regime is None else host_work_in(regime, preset, shape)
    return PrefillRun(preset, shape, lengths, options.regime, work, options.cache_miss, options.seed)


def _fixed_lengths(options: PrefillOptions) -> tuple[int, ...] | None:
    lengths = parse_lengths(options.lengths)
    if lengths is not None:
        for option, given in (("--tokens", options.tokens), ("--batch", options.batch)):
            if given is not None:
                raise UsageError(f"--lengths {options.lengths} and {option} say the same twice. Leave {option} out.")
    return lengths


def _fixed_shape(shape: ModelShape, lengths: tuple[int, ...]) -> ModelShape:
    require_range("the sum of --lengths", sum(lengths), 1, MAX_TOKENS)
    return replace(shape, tokens=sum(lengths), batch=len(lengths))


def _drawn_shape(shape: ModelShape, options: PrefillOptions) -> ModelShape:
    tokens = shape.tokens if options.tokens is None else options.tokens
    batch = min(shape.batch, tokens) if options.batch is None else options.batch
    require_range("--batch", batch, 1, tokens)
    return replace(shape, tokens=tokens, batch=batch)
