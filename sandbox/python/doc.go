// Package python runs Python functions: Lambda handlers, sync, async and
// generators, and WSGI and ASGI applications, in worker processes of its own
// that speak sandbox/frame.
//
// The worker's code is in the folder worker, which the driver writes out for
// the cells to see. It needs Python 3.8 and nothing else.
//
//	handler             shape
//	module.function     def handler(event, context), sync, async, or a generator
//	path/file.function  the same
//	module:app          a WSGI or ASGI application
//
// Terms:
//
//	interpreter  the python that runs a version: the machine's, or the one that
//	             the bundle's virtual environment was made for
//	worker       one process; calls of async handlers share its event loop, those
//	             of sync ones its threads, up to Spec.PerInstance
//	ahead        a worker with the standard imports done that waits for a function
//	template     a process with a version's imports done, forked for each instance
package python
