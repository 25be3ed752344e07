"""Answers: what do the installed torch and this GPU really do? Measured, not remembered."""
