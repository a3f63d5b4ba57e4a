"""The protocol in a window: tkinter's loop runs the session, and no handler needs a lock.

    python examples/embed_tkinter.py wss://ws-eu.pusher.com/app/KEY prices news

A thread opens each connection, because that blocks. Everything else runs in the loop of the window, 25 times a second,
as in games and in programs on systems other than Unix. Only the last lines use Tk itself.
"""

import queue
import socket
import ssl
import sys
import threading
import time
import tkinter
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace as Stream
from typing import Any

import pusher_proto as proto

LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Driver:
    """Runs one session. `tell` gives it an input, as in `driver.tell(session.subscribe, "room")`."""

    def __init__(self, root: Any, session: proto.Session, on_event: Callable[..., object]) -> None:
        self.root, self.session, self.on_event = root, session, on_event
        self.streams: dict[int, Any] = {}
        self.opened: queue.SimpleQueue[tuple[int, socket.socket | OSError]] = queue.SimpleQueue()
        self.tell(session.connect)
        self.tick()

    def tell(self, command: Callable[..., None], *details: object) -> None:
        command(*details, now=time.monotonic())
        while (effect := self.session.next_effect()) is not None:
            match effect:
                case proto.OpenTransport(number):
                    self.streams[number] = Stream(sock=None, outbox=bytearray(), closing=False)
                    threading.Thread(target=self.open, args=(effect,), daemon=True).start()
                case proto.SendData(number, data) if number in self.streams:
                    self.streams[number].outbox += data
                case proto.CloseTransport(number, abort) if number in self.streams:
                    self.streams[number].closing = True
                    if abort:
                        self.streams[number].outbox.clear()
        while (event := self.session.next_event()) is not None:
            self.on_event(event)

    def open(self, effect: proto.OpenTransport) -> None:
        try:
            sock = socket.create_connection((effect.host, effect.port))
            if effect.tls:
                context = ssl.create_default_context()
                sock = context.wrap_socket(sock, server_hostname=effect.host)
            sock.setblocking(False)
            self.opened.put((effect.transport, sock))
        except OSError as error:
            self.opened.put((effect.transport, error))

    def tick(self) -> None:
        while not self.opened.empty():
            number, result = self.opened.get()
            if isinstance(result, OSError):
                self.end(number, result)
            elif number not in self.streams:  # given up by now
                result.close()
            else:
                self.streams[number].sock = result
                self.tell(self.session.transport_opened, number)
        for number, stream in list(self.streams.items()):
            try:
                with suppress(*LATER):
                    self.work(number, stream)
            except OSError as error:
                self.end(number, error)
        if (due := self.session.next_deadline()) is not None and due <= time.monotonic():
            self.tell(self.session.handle_timeout)
        self.root.after(40, self.tick)

    def work(self, number: int, stream: Stream) -> None:
        """Write and read as much as is possible without waiting."""
        with suppress(*LATER):
            while stream.sock is not None and stream.outbox:
                size = stream.sock.send(stream.outbox)
                del stream.outbox[:size]
                self.tell(self.session.data_sent, number, size)
        if stream.closing and (stream.sock is None or not stream.outbox):
            self.end(number, None)
        while (
            stream.sock is not None
        ):  # events are processed at once, so reading never has to pause
            if data := stream.sock.recv(65536):
                self.tell(self.session.receive_data, number, data)
            else:
                self.end(number, None)

    def end(self, number: int, why: OSError | None) -> None:
        if (stream := self.streams.pop(number, None)) is None:
            return
        sock, stream.sock = stream.sock, None
        if sock is not None:
            sock.close()
        unsafe = isinstance(why, ssl.SSLCertVerificationError)
        ended = self.session.transport_failed if sock is None else self.session.transport_closed
        self.tell(ended, number, proto.ConnectionUnsafe(str(why)) if unsafe else why)


if __name__ == "__main__":
    url, *channels = sys.argv[1:]
    window = tkinter.Tk()
    lines = tkinter.Listbox(window, width=100, height=30)
    lines.pack(fill="both", expand=True)
    session = proto.Session(proto.Options.from_url(url))
    driver = Driver(window, session, lambda event: lines.insert("end", repr(event)))
    for name in channels:
        driver.tell(session.subscribe, name)
    window.mainloop()
