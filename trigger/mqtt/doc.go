// Package mqtt calls functions with the messages of an MQTT 3.1.1 broker.
//
// Each binding has a session of its own that the broker keeps while it is not
// connected, and subscribes with QoS 1. Messages are acknowledged when their
// calls are durable, in the order in which they came: at least once. Those that
// were published with QoS 0 come at most once, as MQTT has it.
package mqtt
