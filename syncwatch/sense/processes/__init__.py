"""Other processes and threads that ran as part of the target, and how they ended."""
