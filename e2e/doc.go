// Package e2e tests the real thing: the binary, built once, started on free
// ports, spoken to over HTTP, killed and started again.
package e2e
