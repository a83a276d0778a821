package queue

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
)

// Defaults of a queue.
const (
	DefaultVisibility  = 30 * time.Second
	DefaultAttempts    = 5
	DefaultRetention   = 14 * 24 * time.Hour
	DefaultDeduplicate = 5 * time.Minute
	MaxBatch           = 1000 // messages sent at once
	MaxDelay           = 365 * 24 * time.Hour
)

func withDefaults(q *mayfly.Queue) mayfly.Queue {
	var out mayfly.Queue
	if q != nil {
		out = *q
	}
	set := func(d *mayfly.Duration, def time.Duration) {
		if *d == 0 {
			*d = mayfly.Duration(def)
		}
	}
	set(&out.Visibility, DefaultVisibility)
	set(&out.Retention, DefaultRetention)
	set(&out.Deduplicate, DefaultDeduplicate)
	if out.Attempts == 0 {
		out.Attempts = DefaultAttempts
	}
	return out
}

// stored is a message as the store keeps it; its other fields are the item's.
type stored struct {
	Body       json.RawMessage   `json:"body"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Sender     string            `json:"sender,omitempty"`
	Trace      mayfly.Trace      `json:"trace,omitzero"`
	Hops       int               `json:"hops,omitempty"`
}

// item makes the item of a message for a queue.
func item(name string, q *mayfly.Queue, m *mayfly.Message, sender string, now time.Time) (*event.Item, error) {
	op := "send to queue " + name
	body := bytes.TrimSpace(m.Body)
	if len(body) == 0 {
		body = []byte("null")
	}
	if !json.Valid(body) {
		return nil, mayfly.Errorf(mayfly.Invalid, op, "the message's body is not JSON")
	}
	if len(body) > int(mayfly.MaxAsync) {
		return nil, mayfly.Errorf(mayfly.TooLarge, op, "a message of %d bytes is over the limit of %s; put the content in a bucket and send its key", len(body), mayfly.MaxAsync)
	}
	it := &event.Item{Key: m.Key, Dedup: m.DedupID, Created: now, At: m.At}
	if m.DedupID != "" {
		it.Window = q.Deduplicate.D()
	}
	if it.At.IsZero() && q.Delay > 0 {
		it.At = now.Add(q.Delay.D())
	}
	if it.At.After(now.Add(MaxDelay)) {
		return nil, mayfly.Errorf(mayfly.Invalid, op, "a message cannot wait until %s; the longest delay is a year", it.At.Format(time.RFC3339))
	}
	if q.OrderBy != "" && q.OrderBy != "key" {
		key, ok := field(body, q.OrderBy)
		if !ok {
			return nil, mayfly.Errorf(mayfly.Invalid, op, "the queue is ordered by %q and the message's body has no such field", q.OrderBy)
		}
		it.Key = key
	} else if q.OrderBy == "" {
		it.Key = ""
	}
	var err error
	it.Body, err = json.Marshal(stored{Body: body, Attributes: m.Attributes, Sender: sender, Trace: m.Trace, Hops: m.Hops})
	return it, err
}

// field is the text of a body's field, "customer" or "customer.id".
func field(body []byte, path string) (string, bool) {
	for name := range strings.SplitSeq(path, ".") {
		var object map[string]json.RawMessage
		if json.Unmarshal(body, &object) != nil {
			return "", false
		}
		var ok bool
		if body, ok = object[name]; !ok {
			return "", false
		}
	}
	return text(body), true
}

// text is a body as handlers get it: a JSON string as it is, else the JSON.
func text(body []byte) string {
	var s string
	if json.Unmarshal(body, &s) == nil {
		return s
	}
	return string(body)
}

// sum is a body's MD5, which SQS clients compare with their own.
func sum(body string) string {
	h := md5.Sum([]byte(body))
	return hex.EncodeToString(h[:])
}
