// Package gateway is the HTTP edge for functions: it matches a request to a
// route, makes the event that the handler expects (API Gateway's payload 2.0),
// or proxies the request where the function serves HTTP itself, and writes the
// reply as it comes.
//
//	GET /photos/7 ──► host → app ──► route ──► event ──► invoke ──► reply
//	                                    └────► proxy (http, container)
//	POST /_fn/APP/FUNCTION   direct call, by token
//	/_bucket/…               public objects
//	/_health                 200, or 503 from when the node is to stop
//
// Terms:
//
//	table     the routes of one app, built once per deploy and swapped whole
//	problem   an error body, RFC 9457
package gateway
