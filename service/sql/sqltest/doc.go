// Package sqltest starts real database servers for tests: PostgreSQL's, of the
// machine, on a unix socket in a folder of its own. A test says so and skips where
// the machine has none, and leaves nothing behind.
package sqltest
