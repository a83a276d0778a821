"""Mayfly's services for functions."""

_after_fork = []


def after_fork(hook):
    """Calls hook in each instance that is forked from the version's template, before its
    first call: to open connections, or to seed what has randomness of its own. Instances
    that are not forked do not call it. Returns hook, so that it can be a decorator."""
    _after_fork.append(hook)
    return hook
