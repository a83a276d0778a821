// Package nats calls functions with the messages of a NATS server's subjects.
//
// Where a JetStream stream of the server keeps the subject, a durable consumer
// takes the messages, and each is acknowledged when its call is durable: at
// least once. Where none does, NATS itself promises at most once: messages that
// are published while no node is connected are nobody's.
package nats
