"""Answers: what does a person open in a browser? One file with the figures, the lines and the timeline."""
