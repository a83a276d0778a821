// Package sql is the database service: SQLite databases, one file each, that
// functions reach over HTTP with existing clients (Hrana), with migrations,
// quotas, and changes that call functions.
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
