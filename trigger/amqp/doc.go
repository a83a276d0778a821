// Package amqp calls functions with the messages of a queue of an AMQP 0-9-1
// broker, such as RabbitMQ, in the event shape of Amazon MQ for RabbitMQ on AWS
// Lambda.
//
//	broker ──deliver──▶ batch ──accept──▶ asynchronous call (durable)
//	   ▲                  │                  │
//	   └──reject (poison)─┴──────ack─────────┘
//
// A message is acknowledged when its call is durable: at least once. While the
// node cannot accept, it keeps what it was handed, at most `prefetch` messages,
// and does not give it back: that would count as a delivery where the queue
// limits them. What can never be accepted is rejected without requeueing, so
// that the queue's dead letter exchange gets it, where it has one.
//
// The queue must be there. Where a trigger names an exchange, a missing queue is
// made, durable, and bound to the exchange with the keys.
package amqp
