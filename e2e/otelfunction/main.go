// Command otelfunction is a function for the tests: a program of the Lambda
// Runtime API that traces its work with OpenTelemetry's own SDK for Go, as it
// comes: the endpoint is the environment's. One exporter speaks OTLP over HTTP,
// the other over gRPC.
package main

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func main() {
	ctx := context.Background()
	overHTTP, err := otlptracehttp.New(ctx)
	if err != nil {
		log.Fatal(err)
	}
	at, err := url.Parse(os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	if err != nil {
		log.Fatal(err)
	}
	overGRPC, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpoint(at.Host), otlptracegrpc.WithInsecure())
	if err != nil {
		log.Fatal(err)
	}
	providers := map[string]*sdktrace.TracerProvider{
		"over http": sdktrace.NewTracerProvider(sdktrace.WithBatcher(overHTTP)),
		"over grpc": sdktrace.NewTracerProvider(sdktrace.WithBatcher(overGRPC)),
	}
	for {
		if err := serveOne(ctx, providers); err != nil {
			log.Fatal(err)
		}
	}
}

// serveOne takes an event, makes a span with each provider, and answers.
func serveOne(ctx context.Context, providers map[string]*sdktrace.TracerProvider) error {
	base := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	res, err := http.Get(base + "next")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	ctx = trace.ContextWithRemoteSpanContext(ctx, fromXRay(res.Header.Get("Lambda-Runtime-Trace-Id")))
	for name, p := range providers {
		_, span := p.Tracer("test").Start(ctx, "charge "+name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attribute.String("peer.service", "bank"), attribute.Int("n", 7)))
		span.SetStatus(codes.Error, "refused")
		span.End()
		if err := p.ForceFlush(ctx); err != nil {
			return err
		}
	}
	answer, err := http.Post(base+res.Header.Get("Lambda-Runtime-Aws-Request-Id")+"/response", "application/json", strings.NewReader(`"charged"`))
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// fromXRay is the span that Root=1-…;Parent=…;Sampled=1 names.
func fromXRay(header string) trace.SpanContext {
	cfg := trace.SpanContextConfig{TraceFlags: trace.FlagsSampled, Remote: true}
	for part := range strings.SplitSeq(header, ";") {
		name, v, _ := strings.Cut(part, "=")
		switch name {
		case "Root":
			cfg.TraceID, _ = trace.TraceIDFromHex(strings.ReplaceAll(strings.TrimPrefix(v, "1-"), "-", ""))
		case "Parent":
			cfg.SpanID, _ = trace.SpanIDFromHex(v)
		}
	}
	return trace.NewSpanContext(cfg)
}
