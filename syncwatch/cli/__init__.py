"""The command line of syncwatch. A file for each command, one for those on saved runs; `screen` catches all errors."""
