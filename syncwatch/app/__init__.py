"""What a user can ask for, a file each; the command line, the pytest plugin and the Python API call these."""
