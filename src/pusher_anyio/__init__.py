"""A client for the Pusher Channels protocol on asyncio and trio: `async with open_pusher(options) as client`.

The names of `pusher_proto` that programs use (options, authorizations, events, errors) are here as well.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pusher_proto import vocabulary
    from pusher_proto.vocabulary import *  # noqa: F403 - the one list of these names has an `__all__`

    from ._bindings import Binding
    from ._channel import Channel, Stream, User
    from ._client import Authorizer, Client, open_pusher
    from ._io import ConnectMessages, MessageConnection
    from ._merging import Merged, merge

    __all__ = ["Authorizer", "Binding", "Channel", "Client", "ConnectMessages", "Merged"]
    __all__ += ["MessageConnection", "Stream", "User", "merge", "open_pusher", *vocabulary.__all__]
else:
    # All names are imported on first use. The command line and the pytest plugin are in this package too, and do not
    # need the client, nor the core, to start.
    _OURS = ("Authorizer", "Binding", "Channel", "Client", "ConnectMessages", "Merged")
    _OURS += ("MessageConnection", "Stream", "User", "merge", "open_pusher")
    _ELSEWHERE = {
        "Merged": "._merging",
        "MessageConnection": "._io",
        "Stream": "._channel",
        "merge": "._merging",
    }

    def __getattr__(name):
        vocabulary = _import_module("pusher_proto.vocabulary")
        if name == "__all__":
            value = [*_OURS, *vocabulary.__all__]
        elif name in _OURS:
            home = _ELSEWHERE.get(name, "._client")
            value = getattr(_import_module(home, __name__), name)
        elif name in vocabulary.__all__:
            value = getattr(vocabulary, name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__():
        return sorted({*globals(), *__getattr__("__all__")})
