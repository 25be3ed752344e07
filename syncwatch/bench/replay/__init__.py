"""Answers: how fast would a step be if it read nothing back? Host values recorded once, and replayed."""
