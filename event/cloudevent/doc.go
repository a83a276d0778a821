// Package cloudevent reads and writes CloudEvents 1.0: the JSON event format and
// the HTTP protocol binding in its structured, batched and binary modes.
//
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents
package cloudevent
