"""What applications hold: handles, streams, bindings, and the delivery of events to them.

Shared by both clients; knows the session by its public methods only.
"""
