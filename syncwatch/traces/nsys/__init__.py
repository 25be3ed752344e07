"""Answers: how does a session become Nsight Systems' SQLite export, and such a file a session?"""
