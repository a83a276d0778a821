"""A template: a process that has done a version's imports and is forked for each instance.

A child leaves the template's cell for one of its own. The Go type process.Cell says in
what order, and why.
"""

import array
import ctypes
import gc
import os
import select
import signal
import socket
import stat
import struct
import sys
import threading

from . import wire

_CAPSET_VERSION = 0x20080522
_PR_CAPBSET_DROP, _PR_SET_SECCOMP, _PR_SET_CHILD_SUBREAPER, _SECCOMP_MODE_FILTER = 24, 22, 36, 2
_LAST_CAPABILITY = 40


def unsafe():
    """Why this process may not be forked, "" where it may."""
    if "mayfly" in sys.modules:
        getattr(sys.modules["mayfly"], "_disconnect", lambda: None)()
    if threading.active_count() > 1:
        names = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
        return "it runs threads at its start (%s)" % ", ".join(names)[:200]
    try:
        tasks = len(os.listdir("/proc/self/task"))
    except OSError:
        tasks = 1
    if tasks > 1:
        return "a library runs %d threads of its own" % (tasks - 1)
    for fd in os.listdir("/proc/self/fd"):
        try:
            info = os.fstat(int(fd))
            if int(fd) > 3 and (stat.S_ISSOCK(info.st_mode) or stat.S_ISFIFO(info.st_mode) or os.readlink("/proc/self/fd/" + fd).startswith("anon_inode:")):
                return "it opens a socket, a pipe or an event loop at its start (descriptor %s)" % fd
        except OSError:
            pass
    return ""


class Template:
    """Forks children as the daemon asks for them, and tells how they end.

    A child's parent is the template: the kernel gives a process whose parent ended to
    its next subreaper, and the init of the child's own cell is none of its ancestors.
    """

    def __init__(self, w, out):
        self.wire = w
        self.out = out
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.children = {}  # process id → id of the FORK

    def serve(self):
        """Returns in each child, and in the template never."""
        self.terminate = signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.woken, wake = os.pipe()
        self.wakes = (self.woken, wake)
        os.set_blocking(self.woken, False)
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self.wire.sock, select.POLLIN)
        poll.register(self.woken, select.POLLIN)
        gc.collect()
        gc.freeze()
        while True:
            ready = dict(poll.poll())
            if self.woken in ready:
                self.reap()
            if self.wire.sock.fileno() in ready and self.fork():
                return

    def fork(self):
        """Reads one order and forks. It reports True in the child. Where it cannot, the
        daemon sees the child's socket close; the template and its children live on."""
        rid, body, fds = self.receive()
        pid, pipe = -1, ()
        self.out.forking = True
        try:
            pipe = os.pipe()
            pid = os.fork()
        except OSError:
            pass
        if pid == 0:
            os.close(pipe[0])
            self.child(body, fds, pipe[1])
            return True
        self.out.forking = False
        for fd in (*pipe[1:], *fds):
            os.close(fd)
        name = b""
        if pipe:
            with open(pipe[0], "rb") as f:
                name = f.read()
        if pid > 0:
            os.waitpid(pid, 0)
        if len(name) == 4:
            self.children[struct.unpack("<I", name)[0]] = rid
        self.reap()
        return False

    def reap(self):
        try:
            os.read(self.woken, 512)
        except BlockingIOError:
            pass
        while self.children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            rid = self.children.pop(pid, None)
            if rid is not None:
                self.wire.send(wire.ENDED, rid, struct.pack("<I", status))

    def receive(self):
        """A FORK frame and its descriptors."""
        data, fds, size = b"", array.array("i"), 12
        while len(data) < size:  # and no further: the next frame has descriptors too
            more, control, _, _ = self.wire.sock.recvmsg(size - len(data), socket.CMSG_SPACE(16 * fds.itemsize))
            if not more:
                raise wire.Closed
            data += more
            for level, kind, rights in control:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds.frombytes(rights[: len(rights) - len(rights) % fds.itemsize])
            if len(data) == 12:
                if data[8] != wire.FORK:
                    raise wire.Closed
                size += struct.unpack_from("<I", data)[0]
        return struct.unpack_from("<I", data, 4)[0], data[12:], list(fds)

    def child(self, filter, fds, tell):
        """Enters the cell and becomes its program. tell gets its process id, as the template
        calls it."""
        try:
            sock, stdout, stderr, *namespaces = fds
            for fd in namespaces:
                self._call("setns", fd, 0)
            pid = os.fork()
            if pid:
                os.write(tell, struct.pack("<I", pid))
                os._exit(0)
            os.close(tell)
            signal.set_wakeup_fd(-1)
            for fd in self.wakes:
                os.close(fd)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, self.terminate)
            for fd in namespaces:
                os.close(fd)
            for fd, to in ((sock, 3), (stdout, 1), (stderr, 2)):
                os.dup2(fd, to, inheritable=to != 3)
                os.close(fd)
            for n in range(_LAST_CAPABILITY + 1):
                self.libc.prctl(_PR_CAPBSET_DROP, n, 0, 0, 0)
            self._call("capset", struct.pack("II", _CAPSET_VERSION, 0), bytes(24))
            code = ctypes.create_string_buffer(filter, len(filter))
            program = struct.pack("HxxxxxxP", len(filter) // 8, ctypes.addressof(code))
            self._call("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0)
            os.setsid()
        except BaseException as e:
            os.write(2, ("the template could not fork: %s\n" % e).encode())
            os._exit(1)
        self.out.forking = False
        self.wire.sock.detach()
        self.wire = wire.Wire(3)
        self.out.wire = self.wire

    def _call(self, name, *args):
        if getattr(self.libc, name)(*args) < 0:
            raise OSError(ctypes.get_errno(), "%s: %s" % (name, os.strerror(ctypes.get_errno())))


def renew():
    """Gives a child randomness of its own. random, OpenSSL and os.urandom see to
    themselves at a fork, but for what they tell by process ids, which a child may share."""
    modules = sys.modules
    if "random" in modules:
        modules["random"].seed()
    if "ssl" in modules:
        modules["ssl"].RAND_add(os.urandom(32), 32.0)
    if "tempfile" in modules:
        modules["tempfile"]._name_sequence = None
    if "uuid" in modules:
        modules["uuid"]._last_timestamp = None
    if "numpy" in modules:
        try:
            modules["numpy"].random.seed()
        except Exception:
            pass
    for hook in getattr(modules.get("mayfly"), "_after_fork", ()):
        hook()
