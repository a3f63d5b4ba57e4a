"""All names of the package, which `pusher_anyio` imports when the first one is used."""

from pusher_proto import vocabulary
from pusher_proto.vocabulary import *  # noqa: F403 - the one list of these names has an `__all__`

from ._bindings import Binding
from ._channel import Channel, Stream, User
from ._client import Authorizer, Client, open_pusher
from ._io import ConnectMessages, MessageConnection
from ._merging import Merged, merge

__all__ = ["Authorizer", "Binding", "Channel", "Client", "ConnectMessages", "Merged"]
__all__ += ["MessageConnection", "Stream", "User", "merge", "open_pusher", *vocabulary.__all__]
