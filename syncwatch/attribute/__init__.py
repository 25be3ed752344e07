"""Answers: which line waited, and why? Reads a recording, knows nothing of torch."""
