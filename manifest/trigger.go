package manifest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// kinds are the keys of an entry of `on:` that name its kind.
var kinds = []string{"http", "bucket", "queue", "topic", "stream", "schedule", "table", "kv", "webhook", "nats", "mqtt", "kafka", "amqp", "postgres"}

// qualifiers are the other keys, with the kinds that they go with.
var qualifiers = map[string][]string{
	"cors":            {"http"},
	"auth":            {"http"},
	"events":          {"bucket", "table", "kv"},
	"prefix":          {"bucket", "kv"},
	"suffix":          {"bucket"},
	"batch":           {"queue", "topic", "stream", "table", "kafka", "amqp"},
	"window":          {"queue", "stream"},
	"max_concurrency": {"queue"},
	"match":           {"topic", "stream"},
	"transform":       {"topic"},
	"timezone":        {"schedule"},
	"jitter":          {"schedule"},
	"start":           {"schedule", "stream", "kafka"},
	"end":             {"schedule"},
	"missed":          {"schedule"},
	"input":           {"schedule"},
	"verify":          {"webhook"},
	"secret":          {"webhook", "nats", "mqtt", "kafka", "amqp"},
	"url":             {"nats", "mqtt", "kafka", "amqp"},
	"group":           {"nats", "kafka"},
	"exchange":        {"amqp"},
	"keys":            {"amqp"},
	"prefetch":        {"amqp"},
	"database":        {"postgres"},
	"dsn":             {"postgres"},
	"header":          {"webhook"},
	"tolerance":       {"webhook"},
	"partitions":      {"stream"},
	"tumbling_window": {"stream"},
	"bisect_on_error": {"stream"},
	"attempts":        {"topic", "stream", "table", "kv", "bucket"},
	"name":            kinds,
}

// triggerEvents are the words that `events` takes, by kind.
var triggerEvents = map[mayfly.TriggerKind][]string{
	mayfly.TriggerBucket: {"created", "removed"},
	mayfly.TriggerTable:  {"insert", "update", "delete", "truncate"},
	mayfly.TriggerKV:     {"put", "delete"},
}

func (v *validation) triggers(at string, fn *mayfly.Function) {
	seen := map[string]int{}
	for i := range fn.On {
		t := &fn.On[i]
		path := fmt.Sprintf("%s.on[%d]", at, i)
		kind, value := v.kind(path, t)
		if kind == "" {
			continue
		}
		v.trigger(path, kind, value, t)
		key := string(kind) + " " + value
		if t.Name != "" {
			key = "name " + t.Name
		}
		if first, dup := seen[key]; dup {
			v.add(path, "%s is already on[%d]; remove one, or tell them apart by name", key, first)
		}
		seen[key] = i
	}
}

// kind is a trigger's kind, "" where it has none or several, which is noted.
func (v *validation) kind(path string, t *mayfly.Trigger) (mayfly.TriggerKind, string) {
	var set []string
	x := reflect.ValueOf(t).Elem()
	f := fieldsOf(x.Type())
	for _, k := range kinds {
		if !x.Field(f.index[k]).IsZero() {
			set = append(set, k)
		}
	}
	switch len(set) {
	case 0:
		v.add(path, "says not what calls the function; add one of %s", oneOf(kinds))
	case 1:
		v.qualified(path, set[0], x, f)
	default:
		v.add(path, "is %s at once; make each an entry of its own", strings.Join(set, " and "))
	}
	return t.Kind()
}

// qualified refuses keys that mean nothing for the kind.
func (v *validation) qualified(path, kind string, x reflect.Value, f fields) {
	for _, name := range f.names {
		allowed, qualifies := qualifiers[name]
		if qualifies && !x.Field(f.index[name]).IsZero() && !slices.Contains(allowed, kind) {
			v.add(join(path, name), "means nothing for %s; it goes with %s", kind, oneOf(allowed))
		}
	}
}

func (v *validation) trigger(path string, kind mayfly.TriggerKind, value string, t *mayfly.Trigger) {
	at := join(path, string(kind))
	switch kind {
	case mayfly.TriggerHTTP:
		v.cors(path, t.CORS)
	case mayfly.TriggerBucket, mayfly.TriggerQueue, mayfly.TriggerTopic, mayfly.TriggerKV:
		v.reference(at, string(kind), value)
	case mayfly.TriggerStream:
		v.reference(at, "topic", value)
	case mayfly.TriggerTable:
		database, table, ok := strings.Cut(value, ".")
		if !ok || database == "" || table == "" {
			v.add(at, "%q is not a table; write DATABASE.TABLE, such as main.orders", value)
		} else {
			v.reference(at, "database", database)
		}
	case mayfly.TriggerWebhook:
		v.webhookTrigger(path, t)
	case mayfly.TriggerPostgres:
		if t.Database != "" {
			v.reference(path+".database", "database", t.Database)
		}
	case mayfly.TriggerNATS, mayfly.TriggerMQTT, mayfly.TriggerKafka, mayfly.TriggerAMQP:
		if t.URL == "" {
			v.add(path+".url", "is missing; it is the server that has the messages")
		}
	}
	if allowed := triggerEvents[kind]; allowed != nil {
		for i, e := range t.Events {
			if !slices.Contains(allowed, e) && slices.Contains(words["Trigger.events"], e) {
				v.add(fmt.Sprintf("%s.events[%d]", path, i), "%q is no event of a %s; it is %s", e, kind, oneOf(allowed))
			}
		}
	}
	for _, n := range []struct {
		key         string
		value, most int
	}{{"batch", t.Batch, 10_000}, {"max_concurrency", t.MaxCalls, 100_000}, {"partitions", t.Partitions, 10_000}, {"attempts", t.Attempts, 1000}, {"prefetch", t.Prefetch, 65_535}} {
		if n.value < 0 || n.value > n.most {
			v.add(join(path, n.key), "%d is outside 1 to %d", n.value, n.most)
		}
	}
	if t.Name != "" {
		v.name(path+".name", "trigger", t.Name)
	}
}

func (v *validation) webhookTrigger(path string, t *mayfly.Trigger) {
	if t.Verify == "" {
		v.add(path+".verify", "is missing; say how deliveries prove where they come from: %s", oneOf(words["Trigger.verify"]))
	}
	if t.Secret == "" {
		v.add(path+".secret", "is missing; it is the name of the secret that verifies deliveries")
	}
	if t.Header != "" && t.Verify != "hmac" {
		v.add(path+".header", "is for verify: hmac; remove it")
	}
	if t.Header == "" && t.Verify == "hmac" {
		v.add(path+".header", "is missing; it is the header that holds the signature")
	}
}

func (v *validation) cors(path string, c *mayfly.CORS) {
	if c != nil && c.Credentials && slices.Contains(c.Origins, "*") {
		v.add(path+".cors.credentials", "browsers refuse credentials where origins is \"*\"; list the origins")
	}
}
