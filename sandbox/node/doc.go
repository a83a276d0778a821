// Package node runs JavaScript functions in Node.js worker processes that speak
// sandbox/frame. It needs Node 18 and nothing else.
//
//	handler          shape
//	file.export      exports.handler = async (event, context), or with a callback;
//	                 CommonJS or an ES module; awslambda.streamifyResponse
//	folder/file.a.b  a nested export of a file in a folder
//	file             a default export: { fetch(request) }, or a function
//
// The worker's code is in the folder worker, which the driver writes out for
// the cells to see. TypeScript runs where the machine's Node strips types.
//
// Terms:
//
//	worker  one process; its calls share an event loop, up to Spec.PerInstance
//	ahead   a worker that waits for its function: Node cannot be forked
package node
