"""The objects that applications use: handles, streams, bindings; and the delivery of events to them.

Both clients share it. It uses the session by its public methods only.
"""
