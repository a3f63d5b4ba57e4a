"""The Pusher Channels protocol, version 7, as a pure state machine: no sockets, threads or clocks.

Most programs want a client: `pusher_anyio.open_pusher` or `pusher_sync.open_pusher`. To embed the protocol in
another event loop, drive a `Session`.
"""

from . import vocabulary
from ._channels.channel import ChannelSnapshot
from ._channels.user import UserSnapshot
from ._version import __version__
from .effects import (
    Authorize,
    AuthorizeMany,
    CallApplication,
    CancelCall,
    CloseMessages,
    CloseTransport,
    Effect,
    OpenMessages,
    OpenTransport,
    SendData,
    SendMessage,
    StartTls,
)
from .gaps import CatchUp
from .options import CLIENT, PROTOCOL
from .outbox import Outbox
from .session import Session
from .vocabulary import *  # noqa: F403 - the one list of these names has an `__all__`

__all__ = [
    "CLIENT",
    "PROTOCOL",
    "CatchUp",
    "ChannelSnapshot",
    "Outbox",
    "Session",
    "UserSnapshot",
    "__version__",
]
__all__ += [
    "Authorize",
    "AuthorizeMany",
    "CallApplication",
    "CancelCall",
    "CloseMessages",
    "CloseTransport",
]
__all__ += ["Effect", "OpenMessages", "OpenTransport", "SendData", "SendMessage", "StartTls"]
__all__ += vocabulary.__all__
