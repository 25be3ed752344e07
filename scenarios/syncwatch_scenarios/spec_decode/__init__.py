"""The scenario spec-decode."""

from syncwatch_scenarios.spec_decode.workload import SCENARIO as SCENARIO
