"""Starts a worker: python3 start.py [ahead]. Descriptor 3 is the daemon's socket."""

import sys

from mayfly_worker import main

main.run(ahead="ahead" in sys.argv[1:])
