"""The part of a driver without I/O: for programs that embed the core in another event loop.

A `Driver` runs one session on an `IO`, which the embedder writes: it dials, moves bytes, sets a timer, and calls
functions of the application. A `Wire` is one byte stream between the two. Nothing in this package opens sockets, starts
threads or runs an event loop; `ssl` is used on bytes in memory.
"""

from .addresses import STAGGER, in_turns, peer_of
from .application import call_plain, outcome_of
from .calling import EventLoop, call_on_loop
from .driver import IO, Driver, DriverOptions
from .loop import LoopIO
from .messages import MessageWire, checked_connection, checked_message, connection_errors
from .protocol import WireProtocol
from .reading import READ_SIZE, RECORD_SIZE, SMALL_READ
from .sockets import WireSocket
from .streams import WireStream
from .tls import SSLContext, Tls, cached_context, default_context, must_return
from .wire import Wire, WireState

__all__ = [
    "IO",
    "READ_SIZE",
    "RECORD_SIZE",
    "SMALL_READ",
    "STAGGER",
    "Driver",
    "DriverOptions",
    "EventLoop",
    "LoopIO",
    "MessageWire",
    "SSLContext",
    "Tls",
    "Wire",
    "WireProtocol",
    "WireSocket",
    "WireState",
    "WireStream",
    "cached_context",
    "call_on_loop",
    "call_plain",
    "checked_connection",
    "checked_message",
    "connection_errors",
    "default_context",
    "in_turns",
    "must_return",
    "outcome_of",
    "peer_of",
]
