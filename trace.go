package mayfly

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"time"
)

// Trace is a position in a distributed trace: W3C trace context, 32 and 16
// lower-case hex digits.
type Trace struct {
	ID      string `json:"trace_id,omitempty"`
	Span    string `json:"span_id,omitempty"`
	Parent  string `json:"parent_span_id,omitempty"`
	Sampled bool   `json:"sampled,omitempty"`
}

// NewTrace starts a trace with a fresh id and root span.
func NewTrace() Trace {
	return Trace{ID: hexID(16), Span: hexID(8), Sampled: true}
}

// Child is a new span in the same trace whose parent is t.
func (t Trace) Child() Trace {
	if t.ID == "" {
		return NewTrace()
	}
	return Trace{ID: t.ID, Span: hexID(8), Parent: t.Span, Sampled: t.Sampled}
}

// Header is t as a traceparent header (W3C Trace Context, version 00).
func (t Trace) Header() string { return string(t.AppendHeader(make([]byte, 0, 64))) }

// AppendHeader appends what Header returns.
func (t Trace) AppendHeader(b []byte) []byte {
	b = append(append(b, "00-"...), t.ID...)
	b = append(append(b, '-'), t.Span...)
	return append(b, "-00-01"[t.flag()*3:][:3]...)
}

func (t Trace) flag() int {
	if t.Sampled {
		return 1
	}
	return 0
}

// XRay is t as an X-Amzn-Trace-Id header, the form that Lambda gives functions
// in _X_AMZN_TRACE_ID.
func (t Trace) XRay() string { return string(t.AppendXRay(make([]byte, 0, 80))) }

// AppendXRay appends what XRay returns.
func (t Trace) AppendXRay(b []byte) []byte {
	if len(t.ID) != 32 {
		return b
	}
	b = append(append(b, "Root=1-"...), t.ID[:8]...)
	b = append(append(b, '-'), t.ID[8:]...)
	b = append(append(b, ";Parent="...), t.Span...)
	return append(append(b, ";Sampled="...), byte('0'+t.flag()))
}

// ParseTrace reads a traceparent header, else an X-Amzn-Trace-Id header, and
// returns the remote position. It reports false where neither is well formed.
func ParseTrace(traceparent, xray string) (Trace, bool) {
	if t, ok := parseTraceparent(traceparent); ok {
		return t, true
	}
	return parseXRay(xray)
}

func parseTraceparent(s string) (Trace, bool) {
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' || s[:2] == "ff" {
		return Trace{}, false
	}
	id, span, flags := s[3:35], s[36:52], s[53:55]
	if !isHex(id) || !isHex(span) || !isHex(flags) || strings.Trim(id, "0") == "" || strings.Trim(span, "0") == "" {
		return Trace{}, false
	}
	b, _ := hex.DecodeString(flags)
	return Trace{ID: id, Span: span, Sampled: b[0]&1 == 1}, true
}

func parseXRay(s string) (Trace, bool) {
	t := Trace{Sampled: true}
	for part := range strings.SplitSeq(s, ";") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch k {
		case "Root":
			f := strings.Split(v, "-")
			if len(f) != 3 || len(f[1]) != 8 || len(f[2]) != 24 || !isHex(f[1]) || !isHex(f[2]) {
				return Trace{}, false
			}
			t.ID = f[1] + f[2]
		case "Parent":
			if len(v) == 16 && isHex(v) {
				t.Span = v
			}
		case "Sampled":
			t.Sampled = v != "0"
		}
	}
	if t.ID == "" {
		return Trace{}, false
	}
	if t.Span == "" {
		t.Span = hexID(8)
	}
	return t, true
}

func isHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// hexID is n random bytes in hex. Ids are not secrets: math/rand's ChaCha8 is
// seeded by the system and needs no call into the kernel.
func hexID(n int) string {
	var digits [32]byte
	b := random()
	return string(hex.AppendEncode(digits[:0], b[:n]))
}

func random() (b [16]byte) {
	binary.LittleEndian.PutUint64(b[:], rand.Uint64())
	binary.LittleEndian.PutUint64(b[8:], rand.Uint64())
	return b
}

// NewID is a random identifier in the form of a UUID version 4, which is what
// handlers expect of a request id.
func NewID() string {
	b := random()
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	var id [36]byte
	hex.Encode(id[:8], b[:4])
	hex.Encode(id[9:13], b[4:6])
	hex.Encode(id[14:18], b[6:8])
	hex.Encode(id[19:23], b[8:10])
	hex.Encode(id[24:], b[10:])
	id[8], id[13], id[18], id[23] = '-', '-', '-', '-'
	return string(id[:])
}

type traceKey struct{}

// WithTrace returns a context that carries the current span.
func WithTrace(ctx context.Context, t Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceFrom is the current span in ctx, the zero Trace where there is none.
func TraceFrom(ctx context.Context) Trace {
	t, _ := ctx.Value(traceKey{}).(Trace)
	return t
}

// SpanKind is OpenTelemetry's.
type SpanKind string

const (
	SpanInternal SpanKind = "internal"
	SpanServer   SpanKind = "server"
	SpanClient   SpanKind = "client"
	SpanProducer SpanKind = "producer"
	SpanConsumer SpanKind = "consumer"
)

// Span is one finished piece of work in a trace.
type Span struct {
	Trace
	Name       string            `json:"name"`
	Kind       SpanKind          `json:"kind"`
	Start      time.Time         `json:"start"`
	End        time.Time         `json:"end"`
	App        AppName           `json:"app,omitempty"`
	Function   FunctionName      `json:"function,omitempty"`
	Version    int               `json:"version,omitempty"`
	Invocation string            `json:"invocation,omitempty"`
	Error      string            `json:"error,omitempty"` // empty: succeeded
	Attributes map[string]string `json:"attributes,omitempty"`
	Links      []Trace           `json:"links,omitempty"` // the causes of a batch
}
