"""A FastAPI application that listens while it serves: the client lives as long as the application does.

    pip install fastapi uvicorn
    python examples/fastapi_app.py --url wss://ws-eu.pusher.com/app/KEY --port 8000

`GET /prices` returns the last price of each thing. `GET /health` answers 200 while connected, so that prices are up to
date, and 503 otherwise. In your own application copy `lifespan`.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response

from pusher_anyio import ChannelEvent, ConnectionState, Options, open_pusher


def make_app(options: Options) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Entering does not wait: the application also starts while the other server is down.
        async with open_pusher(options) as client:
            app.state.pusher = client
            app.state.prices = {}

            @client.subscribe("prices").bind("price")
            def on_price(event: ChannelEvent) -> None:
                app.state.prices[event.data["of"]] = event.data

            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/prices")
    async def prices(request: Request) -> dict[str, Any]:
        found: dict[str, Any] = request.app.state.prices
        return found

    @app.get("/health")
    async def health(request: Request, response: Response) -> dict[str, str]:
        state = request.app.state.pusher.state
        if state is not ConnectionState.CONNECTED:
            response.status_code = 503
        return {"pusher": state.value}

    return app


if __name__ == "__main__":
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--url", required=True, help="wss://host/app/KEY")
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    uvicorn.run(make_app(Options.from_url(given.url)), port=given.port)
