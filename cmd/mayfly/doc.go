// Command mayfly is the platform and its command line: one binary, a file per
// verb. Verbs other than dev and serve speak to a node through its public API.
package main
