package telemetry

import (
	"strconv"

	"github.com/mayfly-cloud/mayfly"
)

// CallSpans are the spans that a record stands for: the call's own, under the
// id of its Trace, and one for each phase that took time. A record's Start is when the call
// arrived; its phases follow from there in their order, then the handler.
// Attributes have the names of OpenTelemetry's FaaS conventions.
func CallSpans(inv *mayfly.Invocation) []mayfly.Span {
	spans := make([]mayfly.Span, 1, len(inv.Phases)+1)
	at, handled := inv.Start, false
	for i, p := range inv.Phases {
		if p.Duration <= 0 {
			continue // an instance was free, or the runtime has no such phase
		}
		end := at.Add(p.Duration)
		spans = append(spans, mayfly.Span{
			Trace: mayfly.Trace{ID: inv.Trace.ID, Span: phaseSpanID(inv.Trace.Span, i), Parent: inv.Trace.Span, Sampled: true},
			Name:  string(p.Name), Kind: mayfly.SpanInternal, Start: at, End: end,
			App: inv.App, Function: inv.Function, Version: inv.Version, Invocation: inv.ID,
		})
		at, handled = end, handled || p.Name == mayfly.PhaseCall
	}
	if !handled {
		at = at.Add(inv.Duration)
	}
	spans[0] = mayfly.Span{
		Trace: inv.Trace, Name: string(inv.Function), Kind: callKind(inv.Trigger), Start: inv.Start, End: at,
		App: inv.App, Function: inv.Function, Version: inv.Version, Invocation: inv.ID, Error: callError(inv), Attributes: callAttributes(inv),
	}
	return spans
}

func callKind(t mayfly.TriggerKind) mayfly.SpanKind {
	if t == mayfly.TriggerHTTP || t == mayfly.TriggerDirect || t == mayfly.TriggerWebhook {
		return mayfly.SpanServer
	}
	return mayfly.SpanConsumer
}

func callError(inv *mayfly.Invocation) string {
	switch {
	case inv.Outcome == mayfly.OutcomeOK:
		return ""
	case inv.Error != nil:
		return inv.Error.Error()
	}
	return string(inv.Outcome)
}

func callAttributes(inv *mayfly.Invocation) map[string]string {
	a := map[string]string{
		"faas.name": string(inv.App) + "/" + string(inv.Function), "faas.version": strconv.Itoa(inv.Version),
		"faas.invocation_id": inv.ID, "faas.trigger": faasTrigger(inv.Trigger), "faas.coldstart": strconv.FormatBool(inv.Cold),
		"mayfly.outcome": string(inv.Outcome), "mayfly.trigger": string(inv.Trigger), "mayfly.attempt": strconv.Itoa(inv.Attempt),
	}
	if inv.Instance != "" {
		a["faas.instance"] = inv.Instance
	}
	if inv.Route != "" {
		a["http.route"] = inv.Route
	}
	if inv.Status != 0 {
		a["http.response.status_code"] = strconv.Itoa(inv.Status)
	}
	return a
}

// faasTrigger is a trigger in the conventions' words.
func faasTrigger(t mayfly.TriggerKind) string {
	switch t {
	case mayfly.TriggerHTTP, mayfly.TriggerWebhook:
		return "http"
	case mayfly.TriggerQueue, mayfly.TriggerTopic, mayfly.TriggerStream, mayfly.TriggerNATS, mayfly.TriggerMQTT, mayfly.TriggerKafka:
		return "pubsub"
	case mayfly.TriggerBucket, mayfly.TriggerTable, mayfly.TriggerKV:
		return "datasource"
	case mayfly.TriggerSchedule:
		return "timer"
	}
	return "other"
}

// phaseSpanID derives a phase's span id from the call's, so that every reading
// of a record gives the same.
func phaseSpanID(span string, phase int) string {
	if len(span) != 16 {
		return span
	}
	v, err := strconv.ParseUint(span, 16, 64)
	if err != nil {
		return span
	}
	v = (v ^ uint64(phase+1)*0x9e3779b97f4a7c15) | 1
	h := strconv.FormatUint(v, 16)
	return "0000000000000000"[len(h):] + h
}
