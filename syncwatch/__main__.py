"""Lets `python -m syncwatch` do what `syncwatch` does."""

from syncwatch.cli.app import main

main()
