"""The queue of effects for the driver."""

from __future__ import annotations

from ..effects import Effect, SendData

__all__ = ["EffectQueue"]


class EffectQueue(list[Effect]):
    """Effects in the order in which the driver carries them out. A list: an empty deque takes 700 bytes."""

    __slots__ = ()

    def next(self) -> Effect | None:
        """Remove and return the next effect, or None. Joins consecutive writes to one stream."""
        if not self:
            return None
        effect, count = self[0], 1
        if type(effect) is SendData:
            chunks = [effect.data]
            for following in self[1:]:
                if type(following) is not SendData or following.transport != effect.transport:
                    break
                chunks.append(following.data)
                count += 1
            if count > 1:
                effect = SendData(effect.transport, b"".join(chunks))
        del self[:count]
        return effect

    def drop(self, transport: int) -> None:
        """Remove the effects of a stream that has ended: the driver gets none after it reported the end."""
        self[:] = [effect for effect in self if getattr(effect, "transport", None) != transport]
