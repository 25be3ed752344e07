"""Answers: what does a user type? One file a command; `app` is the only catcher of errors."""
