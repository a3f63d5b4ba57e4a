"""The programs of `examples/`, each as a process of its own against a server in this one."""
