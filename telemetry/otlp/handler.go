package otlp

import (
	"compress/gzip"
	"context"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

// Sink takes what functions send; telemetry.Store is it.
type Sink interface {
	Span(mayfly.Span)
	Log(mayfly.LogLine)
}

// Receiver makes handlers for callers.
type Receiver struct {
	Sink    Sink
	Metrics telemetry.Points // nil: metrics are accepted and dropped
}

// maxBody bounds a request, packed and unpacked. The SDKs send 512 spans at
// once.
const maxBody = 8 << 20

// Handler serves what who sends: POST /v1/traces, /v1/logs and /v1/metrics, and
// gRPC where the server speaks HTTP/2 without TLS.
func (r *Receiver) Handler(who mayfly.Caller) http.Handler {
	c := &caller{who: who, Receiver: r}
	mux := http.NewServeMux()
	mux.Handle("POST /v1/traces", signal(c.traces))
	mux.Handle("POST /v1/logs", signal(c.logs))
	mux.Handle("POST /v1/metrics", signal(c.metrics))
	calls := sync.OnceValue(c.grpc) // few functions speak it
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.ProtoMajor == 2 && strings.HasPrefix(req.Header.Get("Content-Type"), "application/grpc") {
			calls().ServeHTTP(w, req)
			return
		}
		mux.ServeHTTP(w, req)
	})
}

// caller is one who sends.
type caller struct {
	*Receiver
	who mayfly.Caller
}

// encoding is how a request and its reply are written.
type encoding int

const (
	asProto encoding = iota
	asJSON
)

// signal reads a request's body and writes the reply of take.
func signal(take func(body []byte, as encoding) ([]byte, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		as := asProto
		switch kind {
		case "application/x-protobuf":
		case "application/json":
			as = asJSON
		default:
			http.Error(w, "Content-Type must be application/x-protobuf or application/json", http.StatusUnsupportedMediaType)
			return
		}
		body, err := readBody(w, r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply, err := take(body, as)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(reply) // a sender that is gone needs no reply
	})
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	var in io.Reader = http.MaxBytesReader(w, r.Body, maxBody)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		defer z.Close()
		in = z
	}
	body, err := io.ReadAll(io.LimitReader(in, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = mayfly.Errorf(mayfly.TooLarge, "", "a request may have %d bytes", maxBody)
	}
	return body, err
}

func (c *caller) traces(body []byte, as encoding) ([]byte, error) {
	req := ptraceotlp.NewExportRequest()
	if err := unmarshal(req, body, as); err != nil {
		return nil, err
	}
	c.takeTraces(req.Traces())
	return marshal(ptraceotlp.NewExportResponse(), as)
}

func (c *caller) logs(body []byte, as encoding) ([]byte, error) {
	req := plogotlp.NewExportRequest()
	if err := unmarshal(req, body, as); err != nil {
		return nil, err
	}
	c.takeLogs(req.Logs())
	return marshal(plogotlp.NewExportResponse(), as)
}

func (c *caller) metrics(body []byte, as encoding) ([]byte, error) {
	req := pmetricotlp.NewExportRequest()
	if err := unmarshal(req, body, as); err != nil {
		return nil, err
	}
	c.takeMetrics(req.Metrics())
	return marshal(pmetricotlp.NewExportResponse(), as)
}

func unmarshal(req interface {
	UnmarshalProto([]byte) error
	UnmarshalJSON([]byte) error
}, body []byte, as encoding) error {
	if as == asJSON {
		return req.UnmarshalJSON(body)
	}
	return req.UnmarshalProto(body)
}

func marshal(reply interface {
	MarshalProto() ([]byte, error)
	MarshalJSON() ([]byte, error)
}, as encoding) ([]byte, error) {
	if as == asJSON {
		return reply.MarshalJSON()
	}
	return reply.MarshalProto()
}

// The three services of gRPC.
type (
	traceService struct {
		ptraceotlp.UnimplementedGRPCServer
		c *caller
	}
	logService struct {
		plogotlp.UnimplementedGRPCServer
		c *caller
	}
	metricService struct {
		pmetricotlp.UnimplementedGRPCServer
		c *caller
	}
)

// grpc is a server that is only ever used as an http.Handler, so that it has
// nothing to close.
func (c *caller) grpc() *grpc.Server {
	s := grpc.NewServer(grpc.MaxRecvMsgSize(maxBody))
	ptraceotlp.RegisterGRPCServer(s, &traceService{c: c})
	plogotlp.RegisterGRPCServer(s, &logService{c: c})
	pmetricotlp.RegisterGRPCServer(s, &metricService{c: c})
	return s
}

func (s *traceService) Export(_ context.Context, req ptraceotlp.ExportRequest) (ptraceotlp.ExportResponse, error) {
	s.c.takeTraces(req.Traces())
	return ptraceotlp.NewExportResponse(), nil
}

func (s *logService) Export(_ context.Context, req plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	s.c.takeLogs(req.Logs())
	return plogotlp.NewExportResponse(), nil
}

func (s *metricService) Export(_ context.Context, req pmetricotlp.ExportRequest) (pmetricotlp.ExportResponse, error) {
	s.c.takeMetrics(req.Metrics())
	return pmetricotlp.NewExportResponse(), nil
}
