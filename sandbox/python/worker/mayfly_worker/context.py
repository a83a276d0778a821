"""The context object of Lambda's Python handlers."""

import contextvars
import os
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


def set_trace(xray):
    """What Lambda's X-Ray libraries read. One call at a time only."""
    if xray:
        os.environ["_X_AMZN_TRACE_ID"] = xray
