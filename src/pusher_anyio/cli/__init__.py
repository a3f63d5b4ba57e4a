"""The command line `pusher-proto`, on click and rich (the extra `cli`).

It imports only public names of the three packages. Little is imported before a
command runs, so that `--help` is quick. `listen`, `who`, `trigger` and `doctor` run on the blocking client, whose
thread keeps the connection alive while a terminal or a pipe takes nothing.
"""
