"""Hours of faults against a running server: `python -m fuzz.soak --minutes 40 --server sockudo`.

One process for each client (asyncio, trio, blocking), one for the server, and this one with a proxy that breaks
connections, an auth endpoint that fails, and a publisher of numbered events. Rounds of faults end in a calm, in which
clients, server and lists of members must agree. `fuzz.weather` simulates the same without sockets, and much faster.
"""
