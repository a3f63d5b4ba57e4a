"""The parts of a session that connect its rooms: dispatch, the queue of events, the receive buffer, timers.

Knows all rooms below the session, and is used by the session alone.
"""
