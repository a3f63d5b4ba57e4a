"""The protocol in the event loop of Tornado, with its streams and timers.

    pip install tornado
    python examples/embed_tornado.py wss://ws-eu.pusher.com/app/KEY prices news

A driver has three duties: carry out each effect, deliver each event, and call `handle_timeout` when it is due.
"""

import asyncio
import ssl
import sys
import time
from collections.abc import Callable

from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpclient import TCPClient

import pusher_proto as proto


class Driver:
    """Runs one session. `tell` gives it an input, as in `driver.tell(session.subscribe, "room")`."""

    def __init__(self, session: proto.Session, on_event: Callable[[proto.Event], object]) -> None:
        self.session, self.on_event, self.loop = session, on_event, IOLoop.current()
        self.tasks: dict[int, asyncio.Future[None]] = {}
        self.streams: dict[int, IOStream] = {}
        self.timer: object = self.loop.call_later(0, session.next_deadline)
        self.loop.add_callback(self.tell, session.connect)

    def tell(self, command: Callable[..., None], *details: object) -> None:
        command(*details, now=time.monotonic())
        while (effect := self.session.next_effect()) is not None:
            self.carry_out(effect)
        while (event := self.session.next_event()) is not None:
            self.on_event(event)
        self.loop.remove_timeout(self.timer)
        due = self.session.next_deadline()
        delay = 86400 if due is None else max(0, due - time.monotonic())
        self.timer = self.loop.call_later(delay, self.tell, self.session.handle_timeout)

    def carry_out(self, effect: proto.Effect) -> None:
        match effect:
            case proto.OpenTransport(number):
                self.tasks[number] = asyncio.ensure_future(self.live(effect))
            case proto.SendData(number, data) if number in self.streams:
                self.loop.add_callback(self.write, number, self.streams[number], data)
            case proto.CloseTransport(number, abort) if abort and number in self.streams:
                self.streams[number].close()
            case proto.CloseTransport(number) if number in self.streams:
                self.loop.add_callback(self.write, number, self.streams[number], b"", last=True)
            case proto.CloseTransport(number) if number in self.tasks:
                self.tasks[number].cancel()  # it is still being opened

    async def live(self, effect: proto.OpenTransport) -> None:
        number, tls = effect.transport, ssl.create_default_context() if effect.tls else None
        why: BaseException | None
        try:
            stream = await TCPClient().connect(effect.host, effect.port, ssl_options=tls)
            self.streams[number] = stream
            self.tell(self.session.transport_opened, number)
            while True:  # events are processed at once, so reading never has to pause
                data = await stream.read_bytes(65536, partial=True)
                self.tell(self.session.receive_data, number, data)
        except StreamClosedError as error:
            why = error.real_error
        except (OSError, asyncio.CancelledError) as error:
            why = error
        if isinstance(why, ssl.SSLCertVerificationError):
            why = proto.ConnectionUnsafe(str(why))
        was_open = self.streams.pop(number, None) is not None
        del self.tasks[number]
        answer = self.session.transport_closed if was_open else self.session.transport_failed
        self.tell(answer, number, why)

    async def write(self, number: int, stream: IOStream, data: bytes, last: bool = False) -> None:
        try:
            await stream.write(data)
        except StreamClosedError:
            return  # `live` reports it
        self.tell(self.session.data_sent, number, len(data))
        if last:
            stream.close()


if __name__ == "__main__":
    url, *channels = sys.argv[1:]
    driver = Driver(proto.Session(proto.Options.from_url(url)), lambda e: print(e, flush=True))
    for name in channels:
        driver.loop.add_callback(driver.tell, driver.session.subscribe, name)
    driver.loop.start()
