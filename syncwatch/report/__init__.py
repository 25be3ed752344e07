"""Answers: how is a report shown? One format a file; a reporter returns text and opens nothing."""
