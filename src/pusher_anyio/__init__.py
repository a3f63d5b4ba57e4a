"""A client for the Pusher Channels protocol on asyncio and trio: `async with open_pusher(options) as client`."""

from ._channel import Binding, Channel, Stream, User
from ._client import Authorizer, Client, open_pusher

__all__ = ["Authorizer", "Binding", "Channel", "Client", "Stream", "User", "open_pusher"]
