"""A client for the Pusher Channels protocol on asyncio and trio: `async with open_pusher(options) as client`.

The names of `pusher_proto` that programs use (options, authorizations, events, errors) are here as well.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pusher_proto.vocabulary import *  # noqa: F403 - the one list of these names has an `__all__`

    from . import _names
    from ._names import *  # noqa: F403 - as above

    __all__ = [*_names.__all__]
else:
    # All names are imported on first use. The command line and the pytest plugin are in this package too, and do not
    # need the client, nor the core, to start.
    def __getattr__(name):
        names = _import_module("._names", __name__)
        if name != "__all__" and name not in names.__all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(names, name)
        return value

    def __dir__():
        return sorted({*globals(), *__getattr__("__all__")})
