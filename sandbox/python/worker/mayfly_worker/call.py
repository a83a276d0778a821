"""Calls of sync handlers: in the main thread, one at a time, or in a few threads."""

import inspect
import os
import sys
import threading

from . import codec, context, errors, output, wire
from .errors import Failure


class Cancelled(Exception):
    """Nobody reads the reply any more."""


class Sync:
    """Runs calls. With one thread there is no hop between the read of an event and its
    handler: each thread reads a frame, lets the next one read, and runs the call."""

    def __init__(self, w, out, fn, handler, threads):
        self.wire = w
        self.out = out
        self.fn = fn
        self.handler = handler
        self.threads = threads
        self.loop = None
        self.reading = threading.Lock()
        self.granted = threading.Condition()
        self.credit = {}  # id of a stream → bytes it may send; guarded by granted
        self.cancelled = set()  # guarded by granted

    def serve(self):
        if self.threads == 1:
            return self._serial()
        for _ in range(self.threads):  # one more than calls: control frames need a reader
            threading.Thread(target=self._shared, daemon=True).start()
        self._shared()

    def _serial(self):
        next_frame, call = self.wire.next, self.call
        while True:
            kind, flags, rid, head, body = next_frame()
            if kind == wire.CALL:
                call(flags, rid, head, body)

    def _shared(self):
        main = threading.current_thread() is threading.main_thread()
        try:
            while True:
                with self.reading:
                    kind, flags, rid, head, body = self.wire.next()
                if kind == wire.CALL:
                    self.call(flags, rid, head, body)
                else:
                    self.control(kind, rid, body)
        except SystemExit as e:
            if main:
                raise
            leave(e.code)
        except wire.Closed:
            if main:
                raise  # the main thread reads next, and ends the process

    def call(self, flags, rid, head, body):
        out = self.out
        out.begin(rid)
        token = output.current.set(rid)
        try:
            ctx = context.Context(self.fn, head)
            context.current.set(ctx)
            if self.threads == 1:
                context.set_trace(ctx.xray)
            result = self.handler(codec.decode(body), ctx)
            kind = type(result)
            if kind is not dict and kind is not str and result is not None:
                if inspect.isgenerator(result):
                    out_kind, payload = self.stream(rid, result)
                elif inspect.isawaitable(result):
                    out_kind, payload = wire.RESULT, codec.encode(self.wait(result))
                else:
                    out_kind, payload = wire.RESULT, codec.encode(result)
            else:
                out_kind, payload = wire.RESULT, codec.encode(result)
            if out_kind is wire.RESULT and len(payload) > wire.MAX_BODY:
                raise Failure("Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size (6 MiB)")
        except Cancelled:
            out_kind = None
        except (SystemExit, wire.Closed):
            out.end(rid)
            raise
        except BaseException as e:
            out.line(output.STDERR | output.ERROR, errors.readable(e), rid)
            out_kind, payload = wire.ERROR, errors.describe(e)
        finally:
            output.current.reset(token)
        out.end(rid)
        if out_kind is not None:
            self.wire.send(out_kind, rid, payload)

    def wait(self, awaitable):
        """The result of a coroutine that a sync function returned."""
        import asyncio

        async def outer():
            return await awaitable

        if self.threads > 1:
            return asyncio.run(outer())
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
        return self.loop.run_until_complete(outer())

    def stream(self, rid, items):
        """Sends a generator's items as they come. It returns the last frame."""
        sender = Sender(self, rid)
        try:
            first = next(items, END)
            if isinstance(first, Whole):
                items.close()
                sender.whole(first.meta, first.body)
                return None, b""
            sender.head(*opening(first))
            for item in items:
                sender.write(chunk(item))
        except Cancelled:
            items.close()
            raise
        except GeneratorExit:
            raise
        except Exception as e:
            if not sender.begun:
                raise
            self.out.line(output.STDERR | output.ERROR, errors.readable(e), rid)
            return wire.END, errors.describe(e)
        finally:
            sender.close()
        return wire.END, b""

    # What the daemon says of streams.

    def control(self, kind, rid, body):
        with self.granted:
            if kind == wire.WINDOW:
                if rid in self.credit:
                    self.credit[rid] += wire.granted(body)
            elif kind == wire.CANCEL:
                if rid in self.credit:
                    self.cancelled.add(rid)
            self.granted.notify_all()

    def listen(self, block):
        """Takes in what the daemon says, in the one thread that there is."""
        frame = self.wire._read(0) if block else self.wire.poll()
        if frame is None:
            return False
        if frame[0] == wire.CALL:
            self.wire.backlog.append(frame)
        else:
            self.control(frame[0], frame[2], frame[4])
        return True

    def take(self, rid, n):
        """Waits until n bytes may be sent for rid."""
        if self.threads == 1:
            while rid not in self.cancelled and self.listen(False):
                pass
            while rid not in self.cancelled and self.credit[rid] < n:
                self.listen(True)
        with self.granted:
            while rid not in self.cancelled and self.credit[rid] < n:
                self.granted.wait()
            if rid in self.cancelled:
                raise Cancelled
            self.credit[rid] -= n


class Sender:
    """A streamed reply within its window."""

    def __init__(self, calls, rid):
        self.calls = calls
        self.rid = rid
        self.begun = False
        with calls.granted:
            calls.credit[rid] = wire.WINDOW_SIZE

    def head(self, meta, first):
        self.begun = True
        self.calls.wire.send(wire.HEAD, self.rid, b"", meta)
        if first:
            self.write(first)

    def whole(self, meta, body):
        """The head and all of the body at once."""
        self.begun = True
        self.calls.wire.send(wire.HEAD, self.rid, body, meta, wire.WHOLE)

    def write(self, data):
        for piece in wire.pieces(data):
            if piece:
                self.calls.take(self.rid, len(piece))
                self.calls.wire.send(wire.CHUNK, self.rid, piece)

    def close(self):
        with self.calls.granted:
            self.calls.credit.pop(self.rid, None)
            self.calls.cancelled.discard(self.rid)


END = object()


class Head:
    """The head of a response, encoded: what applications yield first."""

    def __init__(self, meta):
        self.meta = meta


class Whole(Head):
    """A head with all of its body."""

    def __init__(self, meta, body):
        self.meta = meta
        self.body = body


def opening(item):
    """The head and the first bytes of a stream, from the first item of a generator.

    A dict with statusCode is the head of an HTTP response; anything else is content.
    """
    if isinstance(item, Head):
        return item.meta, b""
    if item is END:
        return meta(200, [("content-type", "application/octet-stream")]), b""
    if isinstance(item, dict) and "statusCode" in item:
        headers = [(str(k), str(v)) for k, v in (item.get("headers") or {}).items()]
        for k, values in (item.get("multiValueHeaders") or {}).items():
            headers += [(str(k), str(v)) for v in values]
        return meta(int(item["statusCode"]), headers, item.get("cookies")), body_of(item)
    kind = "application/octet-stream"
    if isinstance(item, str):
        kind = "text/plain; charset=utf-8"
    elif not isinstance(item, (bytes, bytearray, memoryview)):
        kind = "application/x-ndjson"
    return meta(200, [("content-type", kind)]), chunk(item)


def body_of(item):
    body = item.get("body")
    return chunk(body) if body else b""


def meta(status, headers, cookies=None):
    head = codec.encode({"status": status, "headers": headers, "cookies": cookies or []})
    if len(head) > 65535:
        raise Failure("Runtime.MarshalError", "The headers of the reply are larger than 64 KiB")
    return head


def chunk(item):
    """An item of a stream as bytes: text, bytes, or anything else as a line of JSON."""
    if isinstance(item, bytes):
        return item
    if isinstance(item, str):
        return item.encode("utf-8", "replace")
    if isinstance(item, (bytearray, memoryview)):
        return bytes(item)
    return codec.encode(item) + b"\n"


def leave(code):
    """Ends the process from a thread that is not the main one, as sys.exit would."""
    if code is None:
        code = 0
    elif not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    os._exit(code & 0xFF)
