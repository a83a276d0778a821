"""Makes an anonymous worker a function's: environment, search path, handler."""

import glob
import importlib
import inspect
import os
import site
import sys
import time

from .errors import Failure, of_load

SYNC, ASYNC, WSGI, ASGI = "sync", "async", "wsgi", "asgi"


def prepare(load):
    """Sets what the function's code expects around it."""
    os.environ.update(load["env"])
    cores = str(max(1, load["memory_mb"] // 1769))  # as Lambda gives one for 1,769 MB
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, cores)
    if "TZ" in load["env"]:
        time.tzset()
    root = load["root"]
    os.chdir(root)
    sys.argv = [""]
    ours = sys.path.pop(0)  # the folder of start.py, which has the mayfly module
    version = "python%d.%d" % sys.version_info[:2]
    first = [root] + [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    for folder in ("python", "vendor", "packages", os.path.join("python", "lib", version, "site-packages")):
        path = os.path.join(root, folder)
        if os.path.isdir(path):
            first.append(path)
    known = len(sys.path)
    for venv in (".venv", "venv"):
        for path in glob.glob(os.path.join(root, venv, "lib", version, "site-packages")):
            site.addsitedir(path)
    added = sys.path[known:]
    sys.path[:] = first + added + sys.path[:known] + [ours]
    importlib.invalidate_caches()


def again(order):
    """What a child of a template sets for itself."""
    os.environ.update(order["env"])
    os.chdir(order["root"])


def handler(name):
    """The callable that `name` means, and its shape."""
    if ":" in name:
        module, _, attribute = name.partition(":")
        return application(_find(_module(module), attribute, module))
    module, _, attribute = name.rpartition(".")
    if not module or not attribute:
        raise Failure("Runtime.MalformedHandlerName", "Bad handler '%s': write it as module.function, or module:app for WSGI and ASGI" % name)
    found = _find(_module(module), attribute, module)
    return found, ASYNC if _is_async(found) else SYNC


def application(app):
    return app, ASGI if _is_async(app) else WSGI


def _module(name):
    dotted = name.replace("/", ".").lstrip(".")
    try:
        return importlib.import_module(dotted)
    except SystemExit as e:
        raise Failure("Runtime.ExitError", "module '%s' ended the process while it was imported: exit status %s" % (name, e.code)) from None
    except BaseException as e:
        raise of_load(e, name) from None


def _defined(module):
    """The functions that a module has of its own, for whoever named another."""
    own = [k for k, v in vars(module).items() if callable(v) and getattr(v, "__module__", None) == module.__name__ and not k.startswith("_")]
    return ", which has " + ", ".join(own[:5]) if own else ""


def _find(module, attribute, name):
    found = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise Failure("Runtime.HandlerNotFound", "Handler '%s' missing on module '%s'%s" % (attribute, name, _defined(module))) from None
    if not callable(found):
        raise Failure("Runtime.HandlerNotFound", "Handler '%s' of module '%s' is a %s, not a function" % (attribute, name, type(found).__name__))
    return found


def _is_async(f):
    # A sync function around an async one is called as it is: it may run a loop itself.
    while hasattr(f, "func"):  # functools.partial
        f = f.func
    call = f if inspect.isroutine(f) else getattr(type(f), "__call__", None)
    return any(inspect.iscoroutinefunction(c) or inspect.isasyncgenfunction(c) for c in (f, call) if c is not None)
