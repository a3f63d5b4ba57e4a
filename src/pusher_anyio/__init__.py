"""A client for the Pusher Channels protocol on asyncio and trio: `async with open_pusher(options) as client`.

The names of `pusher_proto` that programs use (options, authorizations, events, errors) are here as well.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from pusher_proto import vocabulary
from pusher_proto.vocabulary import *  # noqa: F403 - the one list of these names has an `__all__`

__all__ = ["Authorizer", "Binding", "Channel", "Client", "Stream", "User", "open_pusher"]
__all__ += vocabulary.__all__

if TYPE_CHECKING:
    from ._bindings import Binding
    from ._channel import Channel, Stream, User
    from ._client import Authorizer, Client, open_pusher
else:
    # Imported when they are asked for: the command line is in this package too, and need not wait for the client
    # when it only says what it can do.

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        in_client, in_bindings = name in ("Authorizer", "Client", "open_pusher"), name == "Binding"
        home = "._client" if in_client else "._bindings" if in_bindings else "._channel"
        value = globals()[name] = getattr(_import_module(home, __name__), name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})
