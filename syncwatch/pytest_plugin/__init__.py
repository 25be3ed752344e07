"""Answers: how does a test say that its code must not wait? Markers, a fixture and options for pytest."""
