"""Finds the line that waited, and why. Reads a recording, knows nothing of torch."""
