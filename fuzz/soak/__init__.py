"""Hours of faults against a running server: `python -m fuzz.soak --minutes 40 --server sockudo`.

One process for each client (asyncio, trio, blocking), one for the server, and this one with a proxy that breaks
connections, an auth endpoint that fails, and a publisher of numbered events. Each round of faults ends in a calm, in
which clients and server must agree about connections, channels and members. `fuzz.weather` simulates such faults
without sockets, much faster.
"""
