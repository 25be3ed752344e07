"""Answers: which programs of which libraries are both devices tried on? Written as their users write them."""
