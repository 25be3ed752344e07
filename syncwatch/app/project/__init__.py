"""What a project decided, and where its files are: its configuration, its sources, and the paths in its baseline."""
