"""Calls of async handlers and ASGI applications, many at once on one event loop."""

import asyncio
import inspect
import signal
import threading

from . import asgi, call, codec, context, errors, output, wire
from .errors import Failure


class Stream:
    """A streamed reply of an async call, within its window."""

    def __init__(self, loop, rid):
        self.loop = loop
        self.wire = loop.wire
        self.rid = rid
        self.begun = False
        self.ended = False
        self.cancelled = False
        self.credit = wire.WINDOW_SIZE
        self.granted = asyncio.Event()
        self.on_cancel = None

    def head(self, meta):
        self.begun = True
        self.wire.send(wire.HEAD, self.rid, b"", meta)

    def whole(self, meta, body):
        self.begun = self.ended = True
        self.wire.send(wire.HEAD, self.rid, body, meta, wire.WHOLE)

    async def write(self, data):
        for piece in wire.pieces(data):
            while self.credit < len(piece) and not self.cancelled:
                self.granted.clear()
                await self.granted.wait()
            if self.cancelled:
                raise ConnectionError("the client has gone")
            if piece:
                self.credit -= len(piece)
                self.wire.send(wire.CHUNK, self.rid, piece)
        await asyncio.sleep(0)  # a handler that only sends must see a cancel

    def end(self, body=b""):
        self.ended = True
        self.wire.send(wire.END, self.rid, body)

    def grant(self, n):
        self.credit += n
        self.granted.set()

    def cancel(self):
        self.cancelled = True
        self.granted.set()
        if self.on_cancel:
            self.on_cancel()


class Loop:
    """Reads frames when the socket is readable and runs each call as a task."""

    def __init__(self, w, out, fn, handler, app, concurrency):
        self.wire = w
        self.out = out
        self.fn = fn
        self.handler = handler
        self.app = app
        self.one = concurrency == 1
        self.calls = {}  # id → (task, stream)
        self.closed = None

    def run(self, ready):
        """Runs until the daemon closes the socket or SIGTERM. ready is called once the
        application has started."""
        asyncio.run(self._main(ready))

    async def _main(self, ready):
        loop = asyncio.get_running_loop()
        self.closed = loop.create_future()
        if self.app:
            await self.app.startup()
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            try:
                loop.add_signal_handler(signal.SIGTERM, self._close, None)
            except (NotImplementedError, RuntimeError):
                pass
        loop.add_reader(self.wire.sock.fileno(), self._readable)
        ready()
        self._drain()  # what came with the frame of the load
        try:
            await self.closed
        finally:
            loop.remove_reader(self.wire.sock.fileno())
            if self.app:
                try:
                    await asyncio.wait_for(self.app.shutdown(), 10)
                except asyncio.TimeoutError:
                    pass

    def _close(self, e):
        if not self.closed.done():
            if e is None:
                self.closed.set_result(None)
            else:
                self.closed.set_exception(e)

    def _readable(self):
        self._drain()

    def _drain(self):
        try:
            while True:
                frame = self.wire.poll()
                if frame is None:
                    return
                self._frame(*frame)
                if not self.wire.rest:
                    return  # the loop tells when more comes
        except wire.Closed:
            self._close(None)

    def _frame(self, kind, flags, rid, head, body):
        if kind == wire.CALL:
            stream = Stream(self, rid)
            task = asyncio.ensure_future(self._call(rid, head, body, stream))
            self.calls[rid] = (task, stream)
        elif rid in self.calls:
            task, stream = self.calls[rid]
            if kind == wire.WINDOW:
                stream.grant(wire.granted(body))
            elif kind == wire.CANCEL:
                stream.cancel()
                if not self.app:
                    task.cancel()
                else:
                    asyncio.get_running_loop().call_later(5, task.cancel)

    async def _call(self, rid, head, body, stream):
        self.out.begin(rid)
        output.current.set(rid)
        try:
            frame = await self._answer(head, body, stream)
        except (SystemExit, KeyboardInterrupt) as e:
            self._close(e)
            return
        except asyncio.CancelledError:
            frame = None
        except BaseException as e:
            if stream.cancelled:
                frame = None
            else:
                self.out.line(output.STDERR | output.ERROR, errors.readable(e), rid)
                frame = (wire.END if stream.begun else wire.ERROR, errors.describe(e))
        finally:
            self.calls.pop(rid, None)
            self.out.end(rid)
        if frame and not stream.ended:
            self.wire.send(frame[0], rid, frame[1])

    async def _answer(self, head, body, stream):
        ctx = context.Context(self.fn, head)
        context.current.set(ctx)
        if self.one:
            context.set_trace(ctx.xray)
        event = codec.decode(body)
        if self.app:
            return await self.app.respond(event, ctx, stream)
        result = self.handler(event, ctx)
        if inspect.isasyncgen(result):
            return await self._stream(result, stream)
        if inspect.isawaitable(result):
            result = await result
        if inspect.isasyncgen(result):
            return await self._stream(result, stream)
        payload = codec.encode(result)
        if len(payload) > wire.MAX_BODY:
            raise Failure("Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size (6 MiB)")
        return wire.RESULT, payload

    async def _stream(self, items, stream):
        try:
            first = call.END
            async for item in items:
                if first is call.END:
                    first = item
                    meta, data = call.opening(item)
                    stream.head(meta)
                else:
                    data = call.chunk(item)
                if data:
                    await stream.write(data)
            if first is call.END:
                stream.head(call.opening(call.END)[0])
        finally:
            await items.aclose()
        return wire.END, b""
