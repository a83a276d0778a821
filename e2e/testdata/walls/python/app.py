"""Tries to get out of its sandbox, in Python."""
import ctypes, os, socket, stat, struct, subprocess, threading, time, urllib.request

libc = ctypes.CDLL(None, use_errno=True)
zeroes = ctypes.create_string_buffer(4096)


def call(number, *args):
    """A system call that must be refused before it is looked at."""
    result = libc.syscall(number, *(ctypes.addressof(zeroes) if a == "pointer" else a for a in args))
    if result < 0 and ctypes.get_errno() in (1, 38):  # EPERM, ENOSYS
        raise OSError(ctypes.get_errno(), "refused")


def read(path):
    with open(path, "rb") as f:
        if not f.read(100):
            raise ValueError("empty")


def write(path):
    with open(path, "w") as f:
        f.write("1")


def dial(addr):
    host, _, port = addr.rpartition(":")
    socket.create_connection((host, int(port)), 5).close()


def follow(path):
    if os.path.lexists("/tmp/link"):
        os.remove("/tmp/link")
    os.symlink(path, "/tmp/link")
    read("/tmp/link")


def link(path):
    os.link(path, "/tmp/hard-" + path.replace("/", "-"))


def request(method, path, **headers):
    """A request to the platform, as an administrator would make it."""
    r = urllib.request.Request(os.environ["MAYFLY_ENDPOINT"] + path, method=method, data=b"1" if method != "GET" else None, headers=headers)
    urllib.request.urlopen(r, timeout=5).read()


def forge():
    """Answers calls that this instance does not have: nobody may notice."""
    for id in range(1000, 1064):
        os.write(3, struct.pack("<IIBBH", 8, id, 19, 0, 0) + b'"forged"')


def setuid():
    if not os.stat("/var/task/power").st_mode & (stat.S_ISUID | stat.S_ISGID):
        raise ValueError("the bits are gone")


def escapes(w):
    yield from ((f"read {p}", lambda p=p: read(p)) for p in w["files"] + ["/proc/1/environ", "/proc/1/mem", "/proc/kcore", "/dev/mem", "/tmp/neighbor"])
    yield from ((f"follow a link to {p}", lambda p=p: follow(p)) for p in w["files"])
    yield from ((f"link {p}", lambda p=p: link(p)) for p in w["files"] + ["/var/task/app.py", "/usr/bin/env"])
    yield from ((f"write {p}", lambda p=p: write(p)) for p in w["places"])
    yield from ((f"dial {a}", lambda a=a: dial(a)) for a in w["services"])
    yield from ((f"call {c[0]}", lambda c=c: call(*c[1:])) for c in w["calls"])
    yield "raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
    yield "packet socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    yield "become root", lambda: os.setuid(0)
    yield "device node", lambda: os.mknod("/tmp/node", 0o20666, os.makedev(1, 1))
    yield "setuid in the bundle", setuid
    yield "setuid program", lambda: subprocess.run(["mount", "-t", "tmpfs", "x", "/tmp"], check=True, capture_output=True)
    for method, path in w["requests"]:
        yield f"{method} {path}", lambda m=method, p=path: request(m, p, Authorization="Bearer nonsense", **{"X-Mayfly-Caller": "admin", "Content-Type": "application/json"})


def bomb(kind):
    held = []
    try:
        while True:
            if kind == "processes":
                pid = os.fork()
                if pid == 0:
                    time.sleep(1000)
                held.append(pid)
            elif kind == "threads":
                if len(held) >= 10_000:
                    return "ESCAPED 10,000 threads"
                t = threading.Thread(target=time.sleep, args=(1000,), daemon=True)
                t.start()
                held.append(t)
            elif kind == "descriptors":
                held.append(os.open("/dev/null", os.O_RDONLY))
            elif kind == "disk":
                with open("/tmp/fill", "ab") as f:
                    f.write(bytes(1 << 20))
            elif kind == "memory":
                held.append(bytearray(os.urandom(1 << 20)))
            elif kind == "frames":
                os.write(3, bytes(range(256)) * 16)
    except (OSError, RuntimeError, MemoryError) as e:
        return f"held: {e}"


def handler(event, context):
    if "bomb" in event:
        return bomb(event["bomb"])
    escaped, held = [], 0
    forge()
    for name, attempt in escapes(event):
        try:
            attempt()
            escaped.append(name)
        except Exception:
            held += 1
    return {"escaped": escaped, "held": held}
