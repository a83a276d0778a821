package daemon

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// sink takes what calls leave behind; telemetry's Store is it. It neither blocks
// nor fails.
type sink interface {
	Invocation(*mayfly.Invocation)
	Span(mayfly.Span)
	Log(mayfly.LogLine)
}

// nothing is a sink that keeps nothing.
type nothing struct{}

func (nothing) Invocation(*mayfly.Invocation) {}
func (nothing) Span(mayfly.Span)              {}
func (nothing) Log(mayfly.LogLine)            {}

// tracer makes the spans of what functions do through their doors, in the trace
// of the call that they act for. What belongs to no call makes none.
type tracer struct {
	sink  sink
	calls *underway
}

// Begin starts the span of an operation on an object store's bucket, and
// returns its place in the trace and in the chain of functions. It implements the
// bucket service's Tracer.
func (t *tracer) Begin(who mayfly.Caller, said mayfly.Trace, verb, resource string) (mayfly.Trace, int, func(error)) {
	c, ok := t.cause(who, said)
	if !ok {
		return mayfly.Trace{}, c.hops + 1, func(error) {}
	}
	span := serviceSpan(who, c, verb, resource)
	return span.Trace, c.hops + 1, func(err error) {
		span.End = time.Now()
		if err != nil {
			span.Error = err.Error()
		}
		t.sink.Span(span)
	}
}

// services traces the requests that a function's code makes to next, the
// platform's services.
func (t *tracer) services(who mayfly.Caller, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		said, _ := mayfly.ParseTrace(r.Header.Get("Traceparent"), r.Header.Get("X-Amzn-Trace-Id"))
		c, ok := t.cause(who, said)
		r = r.WithContext(mayfly.WithHops(r.Context(), c.passed(r)+1))
		verb, resource := operation(r)
		if !ok || resource == "" {
			next.ServeHTTP(w, r)
			return
		}
		span := serviceSpan(who, c, verb, resource)
		r.Header.Set("Traceparent", span.Header())
		if r.Header.Get(trigger.HopsHeader) == "" {
			r.Header.Set(trigger.HopsHeader, strconv.Itoa(c.hops))
		}
		reply := &statusOf{ResponseWriter: w}
		next.ServeHTTP(reply, r.WithContext(mayfly.WithTrace(r.Context(), span.Trace)))
		span.End = time.Now()
		status := cmp.Or(reply.status, http.StatusOK)
		span.Attributes["http.response.status_code"] = strconv.Itoa(status)
		if failed(status) {
			span.Error = strconv.Itoa(status) + " " + http.StatusText(status)
		}
		t.sink.Span(span)
	})
}

// passed is how many functions the cause of a request went through before the one
// that makes it: what it says, else what is known of its call.
func (c cause) passed(r *http.Request) int {
	if said, err := strconv.Atoi(r.Header.Get(trigger.HopsHeader)); err == nil && said >= 0 {
		return said
	}
	return c.hops
}

// cause is the call for which code makes a request: the trace that it says,
// else the one call that its instance runs.
func (t *tracer) cause(who mayfly.Caller, said mayfly.Trace) (cause, bool) {
	c, known := t.calls.of(who.PID)
	if said.ID == "" {
		return c, known
	}
	if known && said.ID != c.trace.ID {
		c = cause{} // it works for another cause
	}
	c.trace = said
	return c, true
}

// failed tells failures from answers that code asks for: whether there is a key,
// whether nobody was first.
func failed(status int) bool {
	switch status {
	case http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed:
		return false
	}
	return status >= 400
}

func serviceSpan(who mayfly.Caller, c cause, verb, resource string) mayfly.Span {
	s := mayfly.Span{
		Trace: c.trace.Child(), Name: verb + " " + resource, Kind: mayfly.SpanClient, Start: time.Now(),
		App: who.App, Function: who.Function, Version: who.Version, Invocation: c.id,
		Attributes: map[string]string{"mayfly.resource": resource, "mayfly.operation": verb},
	}
	kind, name, _ := strings.Cut(resource, "/")
	switch kind {
	case "queue", "topic":
		s.Attributes["messaging.system"], s.Attributes["messaging.destination.name"] = "mayfly", name
		if verb == "send" || verb == "publish" {
			s.Kind = mayfly.SpanProducer
		}
	case "database", "kv":
		s.Attributes["db.system.name"], s.Attributes["db.namespace"] = "mayfly."+kind, name
	}
	return s
}

// operation is what a request below /v1/apps/APP/ does, in the words of grants
// where they have one, and to what: put kv/sessions. The resource is "" for what
// is none.
func operation(r *http.Request) (verb, resource string) {
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/v1/apps/"), "/", 5) // APP, KIND, NAME, WHAT, REST
	if len(parts) < 3 || parts[2] == "" {
		return "", ""
	}
	what := ""
	if len(parts) > 3 {
		what = parts[3]
	}
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch name := parts[2]; parts[1] {
	case "queues":
		switch {
		case what == "messages" && r.Method == http.MethodPost:
			return "send", "queue/" + name
		case what == "messages" && read:
			return "peek", "queue/" + name
		}
		return cmp.Or(what, "describe"), "queue/" + name
	case "topics":
		if what == "events" && !read {
			return "publish", "topic/" + name
		}
		return cmp.Or(what, "describe"), "topic/" + name
	case "kv":
		switch {
		case what == "keys" && len(parts) == 4:
			return "list", "kv/" + name
		case what == "keys":
			return methodVerb(r.Method), "kv/" + name
		}
		return cmp.Or(what, "describe"), "kv/" + name
	case "databases":
		return "query", "database/" + name
	case "buckets":
		switch {
		case what == "objects" && len(parts) == 4:
			return "list", "bucket/" + name
		case what == "objects":
			return methodVerb(r.Method), "bucket/" + name
		}
		return cmp.Or(what, "describe"), "bucket/" + name
	case "secrets":
		return "read", "secret/" + name
	case "functions":
		return "invoke", "function/" + name
	case "idempotency":
		return methodVerb(r.Method), "idempotency"
	}
	return "", ""
}

func methodVerb(method string) string {
	if method == http.MethodHead {
		return "get"
	}
	return strings.ToLower(method)
}

// statusOf notes the status of a reply.
type statusOf struct {
	http.ResponseWriter
	status int
}

func (w *statusOf) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach Flush and deadlines.
func (w *statusOf) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// maxCauses is how many messages of one batch get a span in their own traces.
const maxCauses = 100

// received makes the spans of what waited until this call took it: one in the
// call's own trace, which links to the causes of the rest of the batch, and one
// in each of their traces, which links to the call.
func (t *tracer) received(c *trigger.Call) {
	if c.Source == "" {
		return
	}
	now := time.Now()
	kind, name, _ := strings.Cut(c.Source, "/")
	one := mayfly.Span{
		Trace: c.Trace, Name: "receive " + c.Source, Kind: mayfly.SpanConsumer, Start: c.Sent, End: now,
		App: c.App, Function: c.Function, Invocation: c.ID, Links: c.Causes,
		Attributes: map[string]string{"mayfly.resource": c.Source, "mayfly.operation": "receive", "mayfly.attempt": strconv.Itoa(c.Attempt)},
	}
	if kind == "queue" || kind == "topic" {
		one.Attributes["messaging.system"], one.Attributes["messaging.destination.name"] = "mayfly", name
		one.Attributes["messaging.batch.message_count"] = strconv.Itoa(len(c.Causes) + 1)
	}
	if one.Start.IsZero() || one.Start.After(now) {
		one.Start = now
	}
	t.sink.Span(one)
	for _, cause := range c.Causes[:min(len(c.Causes), maxCauses)] {
		if cause.ID == "" || cause.ID == c.Trace.ID {
			continue
		}
		other := one
		other.Trace, other.Links = cause.Child(), []mayfly.Trace{c.Trace}
		t.sink.Span(other)
	}
}
