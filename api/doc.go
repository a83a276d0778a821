// Package api is the public HTTP API of a node: OpenAPI 3.1 at /openapi.json,
// errors as RFC 9457 problems with the platform's code, one bearer token.
//
// The same operations are served in two places:
//
//	Handler   the API's port; the caller is who holds the token
//	Inside    within every sandbox, at $MAYFLY_ENDPOINT; the caller is the
//	          function, known by the listener, and sees the data services of its
//	          own app only (inside.go)
//
// Terms:
//
//	part   a service, trigger or store that registers operations of its own
package api
