package telemetry

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"
	"unsafe"

	"github.com/mayfly-cloud/mayfly"
)

// Bits of a row's flags. A line's are its stream (0–3) and level (4–6).
const (
	flagFailed = 1 << 8
	flagCold   = 1 << 9
)

var errBody = errors.New("telemetry: a row's body is damaged")

var outcomes = [...]mayfly.Outcome{"", mayfly.OutcomeOK, mayfly.OutcomeError, mayfly.OutcomeTimeout, mayfly.OutcomeMemory, mayfly.OutcomeExit,
	mayfly.OutcomeThrottled, mayfly.OutcomeCancelled, mayfly.OutcomeInternal}

func outcomeOf(flags uint16) mayfly.Outcome {
	if i := int(flags & 0xf); i < len(outcomes) {
		return outcomes[i]
	}
	return ""
}

func outcomeCode(o mayfly.Outcome) uint16 {
	for i, v := range outcomes {
		if v == o {
			return uint16(i)
		}
	}
	return 0
}

var spanKinds = [...]mayfly.SpanKind{"", mayfly.SpanInternal, mayfly.SpanServer, mayfly.SpanClient, mayfly.SpanProducer, mayfly.SpanConsumer}

func spanKindCode(k mayfly.SpanKind) uint16 {
	for i, v := range spanKinds {
		if v == k {
			return uint16(i)
		}
	}
	return 0
}

// lineCodec lays out lines: the text comes first in the body, so that a search
// sees it as it is.
type lineCodec struct{}

func (lineCodec) key(l *mayfly.LogLine) rowKey {
	return rowKey{
		time: l.Time.UnixNano(), app: string(l.App), function: string(l.Function), version: l.Version,
		ids: [2]string{l.Invocation, l.TraceID}, flags: streamCode(l.Stream) | uint16(levelRank(l.Level))<<4,
	}
}

func (lineCodec) encode(dst []byte, l *mayfly.LogLine) []byte {
	dst = putString(dst, l.Text)
	dst = putString(dst, l.Instance)
	return putString(dst, l.SpanID)
}

func (lineCodec) decode(k rowKey, body []byte) (mayfly.LogLine, error) {
	r := reader{b: body}
	l := mayfly.LogLine{
		Time: time.Unix(0, k.time).UTC(), App: mayfly.AppName(k.app), Function: mayfly.FunctionName(k.function), Version: k.version,
		Invocation: k.ids[0], TraceID: k.ids[1], Stream: streamOf(k.flags & 0xf), Level: levels[min(int(k.flags>>4)&7, len(levels)-1)],
	}
	l.Text, l.Instance, l.SpanID = r.string(), r.string(), r.string()
	return l, r.err
}

func (lineCodec) size(l *mayfly.LogLine) int { return int(unsafe.Sizeof(*l)) + len(l.Text) }

// searched is the text alone: whose line it is, is asked for by other means.
func (lineCodec) searched(body []byte) []byte {
	r := reader{b: body}
	return r.bytes()
}

type spanCodec struct{}

func (spanCodec) key(s *mayfly.Span) rowKey {
	k := rowKey{
		time: s.Start.UnixNano(), app: string(s.App), function: string(s.Function), version: s.Version,
		ids: [2]string{s.Invocation, s.Trace.ID}, flags: spanKindCode(s.Kind), num: int64(s.End.Sub(s.Start)),
	}
	if s.Error != "" {
		k.flags |= flagFailed
	}
	return k
}

func (spanCodec) encode(dst []byte, s *mayfly.Span) []byte {
	dst = putString(dst, s.Name)
	dst = putString(dst, s.Trace.Span)
	dst = putString(dst, s.Trace.Parent)
	dst = putString(dst, s.Error)
	dst = binary.AppendUvarint(dst, uint64(len(s.Attributes)))
	for k, v := range s.Attributes {
		dst = putString(putString(dst, k), v)
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.Links)))
	for _, l := range s.Links {
		dst = putString(putString(dst, l.ID), l.Span)
	}
	return dst
}

func (spanCodec) decode(k rowKey, body []byte) (mayfly.Span, error) {
	r := reader{b: body}
	start := time.Unix(0, k.time).UTC()
	s := mayfly.Span{
		Trace: mayfly.Trace{ID: k.ids[1], Sampled: true}, Kind: spanKinds[min(int(k.flags&0xf), len(spanKinds)-1)],
		Start: start, End: start.Add(time.Duration(k.num)),
		App: mayfly.AppName(k.app), Function: mayfly.FunctionName(k.function), Version: k.version, Invocation: k.ids[0],
	}
	s.Name, s.Trace.Span, s.Trace.Parent, s.Error = r.string(), r.string(), r.string(), r.string()
	if n := r.count(); n > 0 {
		s.Attributes = make(map[string]string, n)
		for range n {
			k := r.string()
			s.Attributes[k] = r.string()
		}
	}
	for range r.count() {
		id := r.string()
		s.Links = append(s.Links, mayfly.Trace{ID: id, Span: r.string()})
	}
	return s, r.err
}

// SizeOfLine is about how many bytes of memory a line holds.
func SizeOfLine(l *mayfly.LogLine) int { return lineCodec{}.size(l) }

// SizeOfSpan is about how many bytes of memory a span holds.
func SizeOfSpan(s *mayfly.Span) int { return spanCodec{}.size(s) }

func (spanCodec) size(s *mayfly.Span) int {
	n := int(unsafe.Sizeof(*s)) + len(s.Name) + len(s.Error) + len(s.Links)*int(unsafe.Sizeof(mayfly.Trace{}))
	for k, v := range s.Attributes {
		n += len(k) + len(v) + 2*int(unsafe.Sizeof(""))
	}
	return n
}

func (spanCodec) searched(body []byte) []byte { return body }

type callCodec struct{}

func (callCodec) key(p **mayfly.Invocation) rowKey {
	inv := *p
	k := rowKey{
		time: inv.Start.UnixNano(), app: string(inv.App), function: string(inv.Function), version: inv.Version,
		ids: [2]string{inv.ID, inv.Trace.ID}, flags: outcomeCode(inv.Outcome), num: int64(inv.Duration),
	}
	if inv.Cold {
		k.flags |= flagCold
	}
	return k
}

func (callCodec) encode(dst []byte, p **mayfly.Invocation) []byte {
	inv := *p
	for _, s := range [...]string{string(inv.Trigger), inv.Route, inv.Trace.Span, inv.Trace.Parent, inv.Instance} {
		dst = putString(dst, s)
	}
	for _, n := range [...]int64{int64(inv.Attempt), int64(inv.Billed), int64(inv.Memory), int64(inv.MemoryPeak), int64(inv.CPU), int64(inv.Status), inv.BytesIn, inv.BytesOut} {
		dst = binary.AppendVarint(dst, n)
	}
	dst = binary.AppendUvarint(dst, uint64(len(inv.Phases)))
	for _, p := range inv.Phases {
		dst = binary.AppendVarint(putString(dst, string(p.Name)), int64(p.Duration))
	}
	dst = putJSON(dst, inv.Error != nil, inv.Error)
	dst = putJSON(dst, inv.Caller != mayfly.Caller{}, inv.Caller)
	return putString(dst, unsafeString(inv.Event))
}

func (callCodec) decode(k rowKey, body []byte) (*mayfly.Invocation, error) {
	r := reader{b: body}
	inv := &mayfly.Invocation{
		ID: k.ids[0], App: mayfly.AppName(k.app), Function: mayfly.FunctionName(k.function), Version: k.version, Cold: k.flags&flagCold != 0,
		Start: time.Unix(0, k.time).UTC(), Duration: time.Duration(k.num), Outcome: outcomeOf(k.flags),
	}
	inv.Trigger, inv.Route = mayfly.TriggerKind(r.string()), r.string()
	inv.Trace = mayfly.Trace{ID: k.ids[1], Span: r.string(), Parent: r.string(), Sampled: true}
	inv.Instance = r.string()
	inv.Attempt, inv.Billed, inv.Memory, inv.MemoryPeak = int(r.int()), time.Duration(r.int()), mayfly.Bytes(r.int()), mayfly.Bytes(r.int())
	inv.CPU, inv.Status, inv.BytesIn, inv.BytesOut = time.Duration(r.int()), int(r.int()), r.int(), r.int()
	for range r.count() {
		name := mayfly.PhaseName(r.string())
		inv.Phases = append(inv.Phases, mayfly.Phase{Name: name, Duration: time.Duration(r.int())})
	}
	if s := r.string(); s != "" {
		inv.Error = new(mayfly.FunctionError)
		r.json(s, inv.Error)
	}
	if s := r.string(); s != "" {
		r.json(s, &inv.Caller)
	}
	if s := r.string(); s != "" {
		inv.Event = []byte(s)
	}
	return inv, r.err
}

func (callCodec) size(p **mayfly.Invocation) int {
	inv := *p
	n := int(unsafe.Sizeof(*inv)) + len(inv.Phases)*int(unsafe.Sizeof(mayfly.Phase{})) + len(inv.Event)
	if e := inv.Error; e != nil {
		n += len(e.Message)
		for _, line := range e.Trace {
			n += len(line) + int(unsafe.Sizeof(""))
		}
	}
	return n
}

func (callCodec) searched(body []byte) []byte { return body }

func putString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func putJSON(dst []byte, present bool, v any) []byte {
	if !present {
		return append(dst, 0)
	}
	b, err := json.Marshal(v)
	if err != nil { // strings and numbers only: cannot happen
		return append(dst, 0)
	}
	return putString(dst, unsafeString(b))
}

// unsafeString reads b as a string for the length of one call.
func unsafeString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// reader takes a body apart. After the first fault all it returns is zero.
// Strings share the body's memory.
type reader struct {
	b   []byte
	err error
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.err, r.b = errBody, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.err, r.b = errBody, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count is a number of things of at least one byte each.
func (r *reader) count() int {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.err, r.b = errBody, nil
		return 0
	}
	return int(n)
}

func (r *reader) bytes() []byte {
	n := r.count()
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) string() string { return unsafeString(r.bytes()) }

func (r *reader) json(s string, v any) {
	if err := json.Unmarshal([]byte(s), v); err != nil && r.err == nil {
		r.err = err
	}
}
