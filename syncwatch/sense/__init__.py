"""Answers: what happened? The only stage, with `bench`, that imports torch."""
