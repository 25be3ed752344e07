"""Answers: how does a session become a trace that other tools open, and their trace a session? One format a folder."""
