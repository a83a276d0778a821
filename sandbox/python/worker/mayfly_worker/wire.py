"""Frames on the socket to the daemon. The Go package sandbox/frame documents them."""

import collections
import os
import socket
import struct
import threading

LOAD, CALL, CANCEL, WINDOW, FORK = 1, 2, 3, 4, 5
HELLO, LOADED, FAILED, RESULT, ERROR, HEAD, CHUNK, END, LOG, ENDED = range(16, 26)

HTTP = 1  # flag of CALL
WHOLE = 1  # flag of HEAD

WINDOW_SIZE = 256 << 10
MAX_CHUNK = 64 << 10
MAX_LINE = 64 << 10
MAX_BODY = (6 << 20) + (64 << 10)

_header = struct.Struct("<IIBBH")
_pack = _header.pack
_unpack = _header.unpack_from
_DONTWAIT = socket.MSG_DONTWAIT


class Closed(Exception):
    """The daemon closed its end."""


class Wire:
    """Both directions of the socket.

    Frames are tuples (kind, flags, id, head, body). One thread reads at a time;
    any thread may send.
    """

    def __init__(self, fd):
        os.set_inheritable(fd, False)
        self.sock = socket.socket(fileno=fd)
        self.sock.setblocking(True)
        self.lock = threading.RLock()  # a signal handler may print while its thread sends
        self.sending = False
        self.queue = []
        self.rest = b""
        self.backlog = collections.deque()

    def send(self, kind, rid, body=b"", head=b"", flags=0):
        size = len(head) + len(body)
        frame = _pack(size, rid, kind, flags, len(head)) + head + body
        with self.lock:
            if self.sending:
                self.queue.append(frame)
                return
            self.sending = True
            try:
                self.sock.sendall(frame)
            finally:
                self.sending = False
            if self.queue:
                self.flush()

    def flush(self):
        """Sends what signal handlers said while something was sent."""
        with self.lock:
            while self.queue:
                self.sock.sendall(self.queue.pop(0))

    def next(self):
        """The next frame. It blocks, and raises Closed at the end."""
        if self.backlog:
            return self.backlog.popleft()
        return self._read(0)

    def poll(self):
        """A frame that has come already, or None. It does not look at the backlog."""
        try:
            return self._read(_DONTWAIT)
        except BlockingIOError:
            return None

    def _read(self, flags):
        data = self.rest
        while True:
            have = len(data)
            if have >= 12:
                size, rid, kind, fl, head = _unpack(data)
                end = 12 + size
                if have == end:
                    self.rest = b""
                    return kind, fl, rid, data[12 : 12 + head], data[12 + head :]
                if have > end:
                    self.rest = data[end:]
                    return kind, fl, rid, data[12 : 12 + head], data[12 + head : end]
                if size > 32768:
                    return self._large(data, kind, fl, rid, head, size)
            try:
                more = self.sock.recv(65536, flags)
            except BlockingIOError:
                self.rest = data
                raise
            except ConnectionError:
                raise Closed from None
            if not more:
                raise Closed
            data = data + more if data else more

    def _large(self, data, kind, fl, rid, head, size):
        """The rest of a large frame, which is on its way."""
        whole = bytearray(size)
        got = len(data) - 12
        whole[:got] = data[12:]
        self.rest = b""
        with memoryview(whole) as view:
            while got < size:
                n = self.sock.recv_into(view[got:])
                if not n:
                    raise Closed
                got += n
        return kind, fl, rid, bytes(whole[:head]), bytes(whole[head:])


def pieces(data):
    """data in parts that fit a CHUNK."""
    if len(data) <= MAX_CHUNK:
        return (data,)
    return [data[i : i + MAX_CHUNK] for i in range(0, len(data), MAX_CHUNK)]


def granted(body):
    """The bytes that a WINDOW frame grants."""
    return struct.unpack("<I", body)[0]
