// Package source tells how the connections to servers outside fare, from which
// triggers such as nats and amqp take their messages.
package source
