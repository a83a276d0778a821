"""The Python side of the worker protocol (Go package sandbox/frame).

wire      frames on descriptor 3
output    what code prints, as log lines of its call
context   Lambda's context object
errors    exceptions as Lambda's error bodies
load      environment, search path, the handler
call      one call with a sync handler; serial and threads run it
loop      async handlers and ASGI on one event loop
wsgi, asgi  applications as handlers
template  a process that is forked instead of started
main      the order of things
"""
