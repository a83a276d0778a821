// Package sql is the database service: SQLite databases, one file each, that
// functions reach over HTTP with existing clients (Hrana), and PostgreSQL
// databases behind a pool that all instances share (Neon's protocol); with
// migrations, quotas, point-in-time copies, and changes that call functions.
//
// Terms:
//
//	database     one app's file, declared under `databases:`
//	writer       the one connection of a database that may change it
//	reader       a connection that may not; several read while the writer writes
//	stream       one client's session: statements, and at most one transaction
//	baton        the name of a stream between two HTTP requests
//	change log   a table that triggers fill in the transaction that changes a
//	             row, so that it holds exactly what was committed, in order
//	capture      the change log of a PostgreSQL database, which an intake fills
//	             by logical replication
//	copies       what litestream copies of an SQLite database, to restore it to
//	             a time
//
// A statement runs on a reader first where it looks like a read, else on the
// writer, for which callers wait in the order they came, for a bounded time. An
// interactive transaction keeps the writer until it ends; one that is idle or
// too old is rolled back.
//
// Every connection has an authorizer: no other files (ATTACH, VACUUM INTO), no
// pragmas but harmless ones, no temporary objects, no writes to the tables that
// begin with _mayfly_ but by the platform's own triggers.
package sql
