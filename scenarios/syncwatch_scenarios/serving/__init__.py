"""A serving engine's side of a scenario: requests, the scheduler of continuous batches, and what clients measure."""
