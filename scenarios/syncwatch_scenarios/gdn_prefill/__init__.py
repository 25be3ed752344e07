"""The scenario gdn-prefill."""

from syncwatch_scenarios.gdn_prefill.workload import SCENARIO as SCENARIO
