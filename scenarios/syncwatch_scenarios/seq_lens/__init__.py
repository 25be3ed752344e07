"""The scenario seq-lens."""

from syncwatch_scenarios.seq_lens.workload import SCENARIO as SCENARIO
