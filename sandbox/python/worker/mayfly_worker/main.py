"""The order of things in a worker: hello, load, calls."""

import json
import os
import signal
import sys
import threading

from . import codec, context, errors, load, output, wire
from .call import Sync, leave

# What small functions import. Loading it ahead of need takes it out of cold starts.
AHEAD = (
    "asyncio", "base64", "collections", "concurrent.futures", "contextlib", "copy", "csv", "dataclasses", "datetime",
    "decimal", "email.message", "enum", "functools", "hashlib", "hmac", "html", "http.client", "http.cookies", "inspect",
    "itertools", "math", "mimetypes", "os.path", "pathlib", "queue", "random", "re", "secrets", "shutil", "socket", "ssl",
    "string", "subprocess", "tempfile", "textwrap", "time", "traceback", "typing", "urllib.parse", "urllib.request", "uuid", "zoneinfo", "mayfly",
)  # fmt: skip


def run(ahead=False):
    w = wire.Wire(3)
    out = output.Output(w)
    out.install()
    adopt(out)
    if ahead:
        for name in AHEAD:
            try:
                __import__(name)
            except ImportError:
                pass  # a Python without it, such as one built without OpenSSL
    w.send(wire.HELLO, 0, json.dumps({"python": sys.version.split()[0]}).encode())
    try:
        begin(w, out)
    except wire.Closed:
        pass
    except SystemExit as e:
        finish(out, e.code)
    finish(out, 0)


def adopt(out):
    """Makes children that code forks ordinary processes: they keep off the socket, and
    SIGTERM ends them, as multiprocessing expects of the workers of a pool. One that
    comes while a child is not ready yet waits until it is."""
    held = threading.local()

    def before():
        held.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def after():
        signal.pthread_sigmask(signal.SIG_SETMASK, held.mask)

    def child():
        if not out.forking:
            out.uninstall()
            if signal.getsignal(signal.SIGTERM) is terminate:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
        after()

    os.register_at_fork(before=before, after_in_parent=after, after_in_child=child)


def finish(out, code):
    """Ends as an interpreter does, but never waits for threads of the user's code."""
    import atexit

    try:
        atexit._run_exitfuncs()
        out.wire.flush()
    except BaseException:
        pass
    leave(code)


def begin(w, out):
    """Waits for the load, and serves."""
    rid, order = await_load(w)
    signal.signal(signal.SIGTERM, terminate)
    serve = initialise(w, out, rid, order)
    serve()


def await_load(w):
    kind, _, rid, _, body = w.next()
    if kind != wire.LOAD:
        raise SystemExit(70)
    return rid, json.loads(body)


def terminate(*_):
    raise SystemExit(0)


def initialise(w, out, rid, order):
    """Loads the function, tells the daemon, and returns what serves its calls."""
    out.only = 0
    try:
        load.prepare(order)
        handler, shape = load.handler(order["handler"])
    except errors.Failure as e:
        fail(w, out, rid, e)
    for s in out.streams:
        s.finish(0)
    if order.get("template"):
        return become(w, out, rid, handler, shape)
    return server(w, out, rid, order, handler, shape)


def become(w, out, rid, handler, shape):
    """Becomes a template; the rest happens in its children."""
    from . import template

    if shape in (load.ASYNC, load.ASGI):
        from . import asgi, loop  # noqa: F401  what children need
    elif shape == load.WSGI:
        from . import wsgi  # noqa: F401
    context.prepare()

    reason = template.unsafe()
    w.send(wire.LOADED, rid, json.dumps({"shape": shape, "unsafe": reason}).encode())
    if reason:
        os._exit(0)  # what the code registered for its exit is for instances
    t = template.Template(w, out)
    try:
        t.serve()
    except wire.Closed:
        os._exit(0)
    w = t.wire
    w.send(wire.HELLO, 0, b"{}")
    rid, order = await_load(w)
    try:
        load.again(order)
        template.renew()
    except Exception as e:
        fail(w, out, rid, e)
    return server(w, out, rid, order, handler, shape)


def fail(w, out, rid, e):
    out.line(output.STDERR | output.ERROR, errors.readable(e), 0)
    w.send(wire.FAILED, rid, errors.describe(e))
    raise SystemExit(1)


def server(w, out, rid, order, handler, shape):
    fn = context.Function(order)
    n = order["per_instance"]
    said = {"shape": shape, "threads": threading.active_count() - 1}

    def ready():
        w.send(wire.LOADED, rid, json.dumps(said).encode())

    if shape in (load.ASYNC, load.ASGI):
        from . import asgi, loop

        app = asgi.Application(handler, out) if shape == load.ASGI else None
        runner = loop.Loop(w, out, fn, handler, app, n)

        def serve():
            try:
                runner.run(ready)
            except errors.Failure as e:
                fail(w, out, rid, e)

        return serve
    if shape == load.WSGI:
        from . import wsgi

        handler = wsgi.Application(handler, n)
    calls = Sync(w, out, fn, handler, n)

    def serve():
        ready()
        calls.serve()

    return serve
