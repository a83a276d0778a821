// Package otlp takes OpenTelemetry's protocol in and sends it out.
//
// In: Handler serves OTLP over HTTP (protobuf and JSON, gzip) and gRPC to one
// caller. What a function sends is stored as the function's: its spans join the
// trace of the call, its lines and metrics stand beside the platform's own.
//
// Out: Exporter sends spans, lines and metrics of the node to any collector over
// HTTP, from bounded buffers, and never holds up a call: what does not fit is
// dropped and counted.
package otlp
