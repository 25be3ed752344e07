"""The sensors of a CUDA GPU: torch's hooks, CUPTI's callbacks and records, and how what they saw is joined."""
