"""The context object of Lambda's Python handlers."""

import contextvars
import os
import sys
import time

# The context of the call under way: what the mayfly module sends carries its trace.
current = contextvars.ContextVar("mayfly_context", default=None)


class _Identity:
    cognito_identity_id = None
    cognito_identity_pool_id = None


class Function:
    """What is the same for all calls of a version."""

    def __init__(self, load):
        self.name = load["function"]
        self.version = load["version"]
        self.memory = load["memory_mb"]
        self.group = load["log_group"]
        self.stream = load["log_stream"]


class Context:
    """Lambda's context, made from the fields of a CALL frame. `attempt`, `trigger` and
    `traceparent` are Mayfly's own."""

    identity = _Identity()
    client_context = None

    def __init__(self, fn, head):
        fields = head.decode("utf-8", "replace").split("\n")
        (
            self.aws_request_id,
            self.xray,
            deadline,
            self.invoked_function_arn,
            self.trigger,
            attempt,
            self.traceparent,
            self.hops,
        ) = fields
        self._deadline = int(deadline)
        self.attempt = int(attempt)
        self._fn = fn

    @property
    def function_name(self):
        return self._fn.name

    @property
    def function_version(self):
        return self._fn.version

    @property
    def memory_limit_in_mb(self):
        return self._fn.memory

    @property
    def log_group_name(self):
        return self._fn.group

    @property
    def log_stream_name(self):
        return self._fn.stream

    def get_remaining_time_in_millis(self):
        if not self._deadline:
            return 900000
        return max(0, self._deadline - int(time.time() * 1000))

    def log(self, message):
        print(message)

    def __repr__(self):
        return (
            "LambdaContext([aws_request_id=%s,function_name=%s,function_version=%s,invoked_function_arn=%s,"
            "memory_limit_in_mb=%s,log_group_name=%s,log_stream_name=%s])"
            % (
                self.aws_request_id,
                self.function_name,
                self.function_version,
                self.invoked_function_arn,
                self.memory_limit_in_mb,
                self.log_group_name,
                self.log_stream_name,
            )
        )


class _Trace:
    """The environment variable that Lambda's X-Ray libraries read, and the programs that
    code starts. setenv of glibc keeps every value that it was ever given and searches them
    all: the process would grow with each call, and each be slower. Values are of one
    length, so that a call's is written over the one before."""

    NAME = b"_X_AMZN_TRACE_ID"

    def __init__(self):
        self.value = None  # the one that was set last, as os.environ holds it
        self.place = None  # where the C library holds it
        self.find = None  # finds that; False where a value may move

    def set(self, xray):
        value = xray.encode()
        names = getattr(os.environ, "_data", None) or {}
        if self.place is not None and names.get(self.NAME) is self.value and len(value) == len(self.value):
            self.place.raw = value
            names[self.NAME] = self.value = value
            return
        first = self.value is None
        os.environ["_X_AMZN_TRACE_ID"] = xray
        self.value, self.place = names.get(self.NAME), None
        if not first and self.value is not None:  # a cold call waits for no import
            prepare()
            self.place = self.find(len(value)) if self.find else None


def _finder():
    """What finds the variable where a value is never freed, or False: in glibc, by a
    Python that leaves values to it."""
    if sys.version_info < (3, 9):
        return False
    try:
        import ctypes

        os.confstr("CS_GNU_LIBC_VERSION")
        getenv = ctypes.PyDLL(None).getenv
    except (ImportError, AttributeError, ValueError, OSError):
        return False
    getenv.argtypes, getenv.restype = (ctypes.c_char_p,), ctypes.c_void_p

    def find(size):
        where = getenv(_Trace.NAME)
        return (ctypes.c_char * size).from_address(where) if where else None

    return find


_trace = _Trace()


def prepare():
    """Gets ready for set_trace, in a template for all its children."""
    if _trace.find is None:
        _trace.find = _finder()


def set_trace(xray):
    """What Lambda's X-Ray libraries read. One call at a time only."""
    if xray:
        _trace.set(xray)
