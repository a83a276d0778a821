// Package httpserver runs programs that serve HTTP on $PORT: any web framework
// in any language. The handler is the command line. A plain one is executed as
// it is; one that uses the shell (variables, patterns, pipes) goes through sh.
// A program without a slash is looked for in the bundle, then in the system
// folders of the machine.
//
// An instance is ready when it accepts a TCP connection on $PORT. The gateway
// proxies requests to it (sandbox.Server); other events are POSTed to /, as the
// documentation of package program says.
package httpserver
