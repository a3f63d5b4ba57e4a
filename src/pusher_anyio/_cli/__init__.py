"""The command line. It imports little before a command runs, so that `--help` is quick."""
