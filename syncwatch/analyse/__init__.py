"""Answers: what does each line cost a step, and how do two variants compare? Integers in, a report out."""
