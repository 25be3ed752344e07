"""Computes what each line costs a step, and how two variants compare. Integers in, a report out."""
