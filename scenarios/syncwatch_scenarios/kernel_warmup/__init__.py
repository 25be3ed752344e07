"""The scenario kernel-warmup."""

from syncwatch_scenarios.kernel_warmup.scenario import SCENARIO as SCENARIO
