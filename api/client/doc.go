// Package client is a client of the public API: what the CLI is made of, and
// what a Go program that manages a node imports.
package client
