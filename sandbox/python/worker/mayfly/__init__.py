"""Mayfly's services for functions.

    import mayfly

    mayfly.queue("jobs").send({"n": 1}, delay="30s")
    mayfly.topic("order.created").publish({"total": 5}, subject="42")
    visits = mayfly.kv("visits")
    visits.put("last", {"page": "/"}, ttl="1h")
    visits.get("last", default=None)
    visits.increment("count")
    mayfly.secret("STRIPE_KEY")
    mayfly.invoke("thumbnail", {"key": "a.png"})

A function needs a line in its `allow` for what it does. No credential is needed: the
platform knows the function by its connection. Calls block; async code runs them with
asyncio.to_thread. Failures raise mayfly.Error.
"""

from ._client import Error, FunctionError, _disconnect
from ._services import KV, Entry, Queue, Topic, invoke, kv, queue, secret, topic

__all__ = ["Error", "FunctionError", "KV", "Entry", "Queue", "Topic", "after_fork", "invoke", "kv", "queue", "secret", "topic"]

_after_fork = []


def after_fork(hook):
    """Calls hook in each instance that is forked from the version's template, before its
    first call: to open connections, or to seed what has randomness of its own. Instances
    that are not forked do not call it. Returns hook, so that it can be a decorator."""
    _after_fork.append(hook)
    return hook
