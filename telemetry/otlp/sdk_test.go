package otlp

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

const nodeSDK = `
const { trace, context, propagation, SpanKind, SpanStatusCode } = require('@opentelemetry/api');
const { NodeTracerProvider, SimpleSpanProcessor } = require('@opentelemetry/sdk-trace-node');
const exporters = [require('@opentelemetry/exporter-trace-otlp-proto'), require('@opentelemetry/exporter-trace-otlp-http')];
const provider = new NodeTracerProvider({ spanProcessors: exporters.map(e => new SimpleSpanProcessor(new e.OTLPTraceExporter())) });
provider.register();
const parent = propagation.extract(context.active(), { traceparent: process.env.TRACEPARENT });
context.with(parent, () => {
  const span = trace.getTracer('t').startSpan('charge', { kind: SpanKind.CLIENT, attributes: { 'peer.service': 'bank', n: 7 } });
  span.setStatus({ code: SpanStatusCode.ERROR, message: 'refused' });
  span.end();
});
provider.forceFlush().then(() => provider.shutdown());
`

// OpenTelemetry's own SDK for Node sends spans, as protobuf and as JSON, into
// the trace that its process was given.
func TestNodeSDK(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("needs node")
	}
	if err := exec.Command(node, "-e", "require('@opentelemetry/sdk-trace-node')").Run(); err != nil {
		t.Skip("needs NODE_PATH with @opentelemetry/api, sdk-trace-node, exporter-trace-otlp-proto and exporter-trace-otlp-http")
	}
	s, at := serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, node, "-e", nodeSDK)
	cmd.Env = append(os.Environ(), "OTEL_EXPORTER_OTLP_ENDPOINT="+at, "TRACEPARENT=00-"+trace+"-"+spanA+"-01")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(s.spans) != 2 {
		t.Fatalf("%d spans, want 2", len(s.spans))
	}
	for _, got := range s.spans {
		if got.Trace.ID != trace || got.Trace.Parent != spanA || got.Name != "charge" || got.Kind != mayfly.SpanClient || got.Error != "refused" || got.Attributes["peer.service"] != "bank" || got.Attributes["n"] != "7" || got.Function != "pay" {
			t.Errorf("span %+v", got)
		}
	}
}
