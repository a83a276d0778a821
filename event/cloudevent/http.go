package cloudevent

import (
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/mayfly-cloud/mayfly"
)

// Media types of the structured and the batched mode.
const (
	MediaType      = "application/cloudevents+json"
	BatchMediaType = "application/cloudevents-batch+json"
)

// FromRequest reads the events of a request in any of the three modes. It
// reports false where the request is in none of them. Events are not validated:
// the receiver may fill what is missing, and then calls Validate.
func FromRequest(h http.Header, body []byte) (events []*mayfly.CloudEvent, ok bool, err error) {
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	switch {
	case kind == MediaType:
		e, err := decode(body)
		return []*mayfly.CloudEvent{e}, true, err
	case kind == BatchMediaType:
		events, err = batch(body)
		return events, true, err
	case strings.HasPrefix(kind, "application/cloudevents"):
		return nil, true, invalid("the format %s is not known; send %s or %s", kind, MediaType, BatchMediaType)
	case h.Get("ce-specversion") != "" || h.Get("ce-type") != "" || h.Get("ce-id") != "":
		e, err := binary(h, body)
		return []*mayfly.CloudEvent{e}, true, err
	}
	return nil, false, nil
}

func batch(body []byte) ([]*mayfly.CloudEvent, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, invalid("a batch is a list in JSON: %v", err)
	}
	events := make([]*mayfly.CloudEvent, len(list))
	for i, text := range list {
		e, err := decode(text)
		if err != nil {
			return nil, mayfly.Errorf(mayfly.Invalid, "read event", "event %d of the batch: %s", i+1, mayfly.MessageOf(err))
		}
		events[i] = e
	}
	return events, nil
}

// binary reads attributes from headers and the data from the body.
func binary(h http.Header, body []byte) (*mayfly.CloudEvent, error) {
	e := &mayfly.CloudEvent{DataContentType: h.Get("Content-Type")}
	for name, values := range h {
		attribute, ok := strings.CutPrefix(strings.ToLower(name), "ce-")
		if !ok || len(values) == 0 {
			continue
		}
		if attribute == "datacontenttype" || attribute == "data" || attribute == "data_base64" {
			return nil, invalid("ce-%s is not a header; the data is the body, its type Content-Type", attribute)
		}
		value, err := url.PathUnescape(values[0])
		if err != nil {
			return nil, invalid("ce-%s is not percent-encoded correctly", attribute)
		}
		if attribute == "time" {
			err = setTime(e, value)
		} else {
			text, _ := json.Marshal(value)
			err = set(e, attribute, text)
		}
		if err != nil {
			return nil, err
		}
	}
	return e, SetData(e, body)
}

// SetData makes a body an event's data: JSON as it is where the event's
// datacontenttype says so, or else a text, or base64.
func SetData(e *mayfly.CloudEvent, body []byte) error {
	if len(body) == 0 {
		return nil
	}
	kind, _, _ := mime.ParseMediaType(e.DataContentType)
	switch {
	case kind == "" || kind == "application/json" || strings.HasSuffix(kind, "+json"):
		if !json.Valid(body) {
			return invalid("the data is not JSON, as its content type %q says", e.DataContentType)
		}
		e.Data = body
	case strings.HasPrefix(kind, "text/") && utf8.Valid(body):
		e.Data, _ = json.Marshal(string(body))
	default:
		e.DataBase64 = base64.StdEncoding.EncodeToString(body)
	}
	return nil
}
