"""The programs of `examples/`, each in its own process against a server in this one."""
