// Package postgres calls functions with the notifications of a PostgreSQL
// server: what NOTIFY or pg_notify sends to a channel.
//
// The node holds one connection for each binding and LISTENs on it. PostgreSQL
// keeps nothing for who is not connected: what is notified while the node is
// away, or before it connects again, is lost; where the node ran, its log says
// from when to when. A notification that arrived is kept until its call is
// durable. Nothing tells one notification from the next, so that none comes
// twice and none is told apart: the payload must say what it is about.
//
// What must not be lost is written to a table, and the table is the trigger, or
// the notification is the hint to look into it.
package postgres
