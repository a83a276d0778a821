"""An ASGI 3 application as a handler of API Gateway events, with its lifespan."""

import asyncio
from urllib.parse import unquote

from . import call, output
from .errors import Failure
from .wsgi import _HOP, body_of, check

WHOLE = 1 << 20


def scope(event, context, state):
    http = event["requestContext"]["http"]
    headers = event.get("headers") or {}
    pairs = [(k.lower().encode("latin-1"), v.encode("utf-8")) for k, v in headers.items()]
    if event.get("cookies"):
        pairs.append((b"cookie", "; ".join(event["cookies"]).encode("utf-8")))
    host, _, port = (headers.get("host") or event["requestContext"].get("domainName") or "localhost").partition(":")
    scheme = headers.get("x-forwarded-proto", "http")
    raw = event.get("rawPath") or http["path"]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": (http.get("protocol") or "HTTP/1.1").rpartition("/")[2],
        "method": http["method"],
        "scheme": scheme,
        "path": unquote(raw),
        "raw_path": raw.encode("utf-8"),
        "query_string": (event.get("rawQueryString") or "").encode("utf-8"),
        "root_path": "",
        "headers": pairs,
        "client": (http.get("sourceIp") or "127.0.0.1", 0),
        "server": (host, int(port) if port.isdigit() else (443 if scheme == "https" else 80)),
        "state": dict(state),
        "extensions": {},
        "mayfly.event": event,
        "mayfly.context": context,
    }


class Exchange:
    """One request and its response."""

    def __init__(self, stream, body):
        self.stream = stream
        self.body = body
        self.gone = asyncio.Event()  # nobody reads any more, or all was sent
        self.meta = None
        self.done = False

    async def receive(self):
        if self.body is not None:
            body, self.body = self.body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        kind = message["type"]
        if kind == "http.response.start":
            if self.meta is not None:
                raise RuntimeError("http.response.start was sent twice")
            headers = [(text(k), text(v)) for k, v in message.get("headers") or ()]
            self.meta = call.meta(message["status"], [h for h in headers if h[0].lower() not in _HOP])
        elif kind == "http.response.body":
            await self.content(message.get("body", b""), message.get("more_body", False))
        else:
            raise RuntimeError("unexpected ASGI message %r" % kind)

    async def content(self, body, more):
        if self.meta is None:
            raise RuntimeError("http.response.body came before http.response.start")
        if self.done:
            raise RuntimeError("http.response.body came after the last one")
        if not self.stream.begun and not more and len(body) <= WHOLE:
            self.stream.whole(self.meta, bytes(body))
        else:
            if not self.stream.begun:
                self.stream.head(self.meta)
            await self.stream.write(bytes(body))
            if not more:
                self.stream.end()
        if not more:
            self.done = True
            self.gone.set()


def text(b):
    return b.decode("latin-1") if isinstance(b, (bytes, bytearray)) else str(b)


class Application:
    """The application with its lifespan."""

    def __init__(self, app, out):
        self.app = app
        self.out = out
        self.state = {}
        self.task = None

    async def respond(self, event, context, stream):
        check(event)
        exchange = Exchange(stream, body_of(event))
        stream.on_cancel = exchange.gone.set
        await self.app(scope(event, context, self.state), exchange.receive, exchange.send)
        if not exchange.done:
            if stream.begun:
                stream.end()
            elif exchange.meta is not None:
                stream.whole(exchange.meta, b"")
            else:
                raise Failure("Runtime.NoResponse", "The application returned without a response")

    # https://asgi.readthedocs.io/en/latest/specs/lifespan.html

    async def startup(self):
        self.messages = asyncio.Queue()
        self.answers = asyncio.Queue()
        self.task = asyncio.ensure_future(self._lifespan())
        await self.messages.put({"type": "lifespan.startup"})
        answer = await self._answer()
        if answer is not None and answer["type"] == "lifespan.startup.failed":
            raise Failure("Runtime.StartupFailed", "The application's startup failed: " + (answer.get("message") or "it did not say why"))

    async def _lifespan(self):
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self.app(scope, self.messages.get, self.answers.put)
        except Exception:
            pass  # an application without lifespan raises, says the specification

    async def _answer(self):
        """The application's next message, None where it has ended without."""
        answer = asyncio.ensure_future(self.answers.get())
        await asyncio.wait({answer, self.task}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        return None if self.answers.empty() else self.answers.get_nowait()

    async def shutdown(self):
        if self.task is None or self.task.done():
            return
        await self.messages.put({"type": "lifespan.shutdown"})
        await self._answer()
        if not self.task.done():
            self.task.cancel()
