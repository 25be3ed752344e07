"""The names of syncwatch's own ranges, by which a trace of ours can be told."""

STEP_RANGE = "syncwatch.step"
"""Followed by a blank and the number of the step."""
PACING_RANGE = "syncwatch.pacing"
BUILD_RANGE = "build metadata"
"""In it a scenario builds on the host what its kernels need; its time is reported apart."""
WINDOW_RANGE = "syncwatch.window"
"""Holds everything to be counted: the profiler's own synchronizations lie outside it."""
