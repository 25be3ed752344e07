"""The command line of syncwatch. One file a command; `app` is the only catcher of errors."""
