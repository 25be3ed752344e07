"""Lets `python -m syncwatch` do what `syncwatch` does."""

from syncwatch.cli.entry import main

main()
