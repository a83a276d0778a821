"""What code prints becomes log lines that know their call."""

import contextvars
import io
import logging
import os
import sys
import threading
import time

from . import wire

STDOUT, STDERR, PLATFORM = 0, 1, 2
DEBUG, INFO, WARN, ERROR = 1 << 2, 2 << 2, 3 << 2, 4 << 2

# What may be printed: a burst, and what is earned again each second. The daemon has
# the same budget; dropping here saves the way there.
BURST_BYTES, BURST_LINES, EARN_BYTES, EARN_LINES = 4 << 20, 20000, 1 << 20, 5000

current = contextvars.ContextVar("mayfly_request", default=0)


class Output:
    """Sends lines. `only` is the call under way where there is exactly one: threads
    that code starts do not inherit its context."""

    def __init__(self, w):
        self.wire = w
        self.only = 0
        self.active = set()
        self.forking = False  # the child is the worker's own
        self.bytes = BURST_BYTES
        self.lines = BURST_LINES
        self.last = time.monotonic()
        self.dropped = self.lost = 0
        self.streams = (Text(self, STDOUT), Text(self, STDERR))

    def begin(self, rid):
        self.active.add(rid)
        self.only = rid if len(self.active) == 1 else 0

    def end(self, rid):
        for s in self.streams:
            if s.partial:
                s.finish(rid)
        if self.dropped:
            self.report(rid)
        self.active.discard(rid)
        self.only = next(iter(self.active)) if len(self.active) == 1 else 0

    def afford(self, n):
        """Takes a line of n bytes from the budget. Two threads may both take the last."""
        if self.lines < 1 or self.bytes < n:
            now = time.monotonic()
            passed, self.last = now - self.last, now
            self.bytes = min(BURST_BYTES, self.bytes + passed * EARN_BYTES)
            self.lines = min(BURST_LINES, self.lines + passed * EARN_LINES)
            if self.lines < 1 or self.bytes < n:
                return False
        self.lines -= 1
        self.bytes -= n
        return True

    def report(self, rid):
        """Says what was dropped, at the end of a call."""
        text = "%d lines (%d bytes) were dropped: the function prints faster than its output is taken" % (self.dropped, self.lost)
        self.dropped = self.lost = 0
        self.wire.send(wire.LOG, rid, text.encode(), b"", PLATFORM | WARN)

    def line(self, flags, text, rid=None):
        if not self.afford(len(text)):
            self.dropped += 1
            self.lost += len(text)
            return
        if rid is None:
            rid = current.get() or self.only
        data = text.encode("utf-8", "replace") if isinstance(text, str) else text
        if len(data) > wire.MAX_LINE:
            data = data[: wire.MAX_LINE]
        try:
            self.wire.send(wire.LOG, rid, data, b"", flags)
        except OSError:
            pass  # the daemon is gone, and this process soon

    def install(self):
        sys.stdout, sys.stderr = self.streams
        sys.__stdout__, sys.__stderr__ = self.streams
        root = logging.getLogger()
        root.addHandler(Handler(self))

    def uninstall(self):
        """For a child that code forked: it may not write to the socket."""
        sys.stdout = sys.__stdout__ = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), write_through=True)
        sys.stderr = sys.__stderr__ = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), write_through=True)
        root = logging.getLogger()
        for h in list(root.handlers):
            if isinstance(h, Handler):
                root.removeHandler(h)
                root.addHandler(logging.StreamHandler(sys.stderr))


class Text(io.TextIOBase):
    """sys.stdout or sys.stderr. A line leaves when it is complete; what has no end is
    kept by call."""

    encoding = "utf-8"
    errors = "replace"
    mode = "w"

    def __init__(self, out, stream):
        self.out = out
        self.stream = stream
        self.partial = {}
        self.lock = threading.RLock()  # a signal handler may print while its thread does
        self.buffer = Bytes(self)
        self.name = ("<stdout>", "<stderr>")[stream]

    def write(self, s):
        if not isinstance(s, str):
            raise TypeError("write() argument must be str, not " + type(s).__name__)
        rid = current.get() or self.out.only
        if s == "\n":
            with self.lock:
                text = self.partial.pop(rid, "")
            self.out.line(self.stream, text, rid)
            return 1
        head, found, tail = s.rpartition("\n")
        if not found:
            with self.lock:
                text = self.partial.get(rid, "") + s
                if len(text) < wire.MAX_LINE:
                    self.partial[rid] = text
                    return len(s)
                self.partial.pop(rid, None)
            self.out.line(self.stream, text, rid)
            return len(s)
        with self.lock:
            head = self.partial.pop(rid, "") + head
            if tail:
                self.partial[rid] = tail
        for text in head.split("\n"):
            for i in range(0, len(text) or 1, wire.MAX_LINE):
                self.out.line(self.stream, text[i : i + wire.MAX_LINE], rid)
        return len(s)

    def finish(self, rid):
        with self.lock:
            text = self.partial.pop(rid, "")
        if text:
            self.out.line(self.stream, text, rid)

    def writable(self):
        return True

    def flush(self):
        pass

    def isatty(self):
        return False

    def fileno(self):
        return self.stream + 1

    def close(self):
        pass

    def reconfigure(self, **_):
        """Programs set encodings and buffering here; lines are UTF-8 and leave at once."""


class Bytes(io.RawIOBase):
    """sys.stdout.buffer."""

    def __init__(self, text):
        self.text = text

    def write(self, b):
        data = bytes(b)
        self.text.write(data.decode("utf-8", "replace"))
        return len(data)

    def writable(self):
        return True

    def fileno(self):
        return self.text.stream + 1

    def close(self):
        pass


class Handler(logging.Handler):
    """The root logger's, as Lambda installs one."""

    def __init__(self, out):
        super().__init__()
        self.out = out

    def emit(self, record):
        try:
            if record.levelno >= logging.ERROR:
                level = ERROR
            elif record.levelno >= logging.WARNING:
                level = WARN
            elif record.levelno >= logging.INFO:
                level = INFO
            else:
                level = DEBUG
            self.out.line(STDERR | level, self.format(record))
        except Exception:
            self.handleError(record)
