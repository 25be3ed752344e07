"""Finds how fast a step would be if it read nothing back: its host values are recorded once, and replayed."""
