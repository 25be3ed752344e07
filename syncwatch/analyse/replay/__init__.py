"""Replays a recording with and without its waits: how much shorter would a step be? Integers in, nanoseconds out."""
