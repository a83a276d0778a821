// Package binary runs executables that speak the Lambda Runtime API: programs
// made with the official runtime clients (Go, Rust, C++, Node, Python), custom
// runtimes, shell scripts with curl. The handler is the executable's path in the
// bundle, "bootstrap" where none is given or where it names no file: a custom
// runtime of Lambda's reads from _HANDLER what it should run.
//
// The program is started once and asks for events in a loop. It is ready when it
// asks for the first one, or has failed when it reports POST init/error or ends
// before. With per_instance above 1 it may ask from several threads at once;
// AWS_LAMBDA_MAX_CONCURRENCY tells it how many, which aws-lambda-go heeds.
//
// A response that is not JSON becomes a JSON string, so that a script may print
// plain text.
package binary
