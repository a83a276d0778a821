package mayfly

import (
	"encoding/json"
	"regexp"
	"strings"
)

// AppName names an application; FunctionName a function in it. Both are lower
// case letters, digits and dashes, start with a letter, and hold at most 63
// characters, so that they can be a label of a host name.
type (
	AppName      string
	FunctionName string
)

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// ValidName reports whether s can name an app, a function or a resource.
func ValidName(s string) bool { return namePattern.MatchString(s) }

// Runtime is the contract between the platform and a function's code.
type Runtime string

const (
	Python    Runtime = "python"
	Node      Runtime = "node"
	Wasm      Runtime = "wasm"
	Binary    Runtime = "binary"
	HTTP      Runtime = "http"
	Container Runtime = "container"
)

// Runtimes in the order that documents list them.
var Runtimes = []Runtime{Python, Node, Wasm, Binary, HTTP, Container}

// Function is what a manifest says of one function. Its JSON names are the
// manifest's keys.
type Function struct {
	Runtime     Runtime           `json:"runtime"`                     // what runs it, see docs/functions.md
	Source      string            `json:"source,omitempty"`            // folder, archive, module or executable, relative to the manifest; an image for container
	Build       string            `json:"build,omitempty"`             // shell command, run in a copy of the source at deploy
	Handler     string            `json:"handler,omitempty"`           // by runtime; see docs/functions.md
	Memory      Bytes             `json:"memory,omitempty"`            // default DefaultMemory
	Timeout     Duration          `json:"timeout,omitempty"`           // of one call; default DefaultTimeout
	Concurrency Concurrency       `json:"concurrency,omitzero"`        // how it scales
	KeepAlive   KeepAlive         `json:"keep_alive,omitempty"`        // default auto
	Env         map[string]string `json:"env,omitempty"`               // environment variables
	Secrets     []string          `json:"secrets,omitempty"`           // names; delivered as environment, or as a file by "NAME:file"
	Allow       []string          `json:"allow,omitempty"`             // what it may touch, "VERB KIND/NAME"
	Egress      []string          `json:"egress,omitempty"`            // what it may connect to: "host:port", "*.example.com:443", "10.0.0.0/8:5432"
	Retry       *Retry            `json:"retry,omitempty"`             // of asynchronous calls
	OnSuccess   string            `json:"on_success,omitempty"`        // destination: queue/NAME, topic/NAME or function/NAME
	OnFailure   string            `json:"on_failure,omitempty"`        // the same, for what failed for good
	Template    string            `json:"template,omitempty"`          // python: "auto" (default) or "off"
	Isolation   string            `json:"isolation,omitempty"`         // "process" (default) or "gvisor"
	Require     string            `json:"require_isolation,omitempty"` // "any" (default) or "full"
	Tags        map[string]string `json:"tags,omitempty"`              // for usage and cost
	On          []Trigger         `json:"on,omitempty"`                // what calls it
}

// Concurrency bounds how a function scales on one node.
type Concurrency struct {
	PerInstance int `json:"per_instance,omitempty"` // calls at once in one instance; default 1
	Max         int `json:"max,omitempty"`          // instances; default DefaultMax
	Warm        int `json:"warm,omitempty"`         // instances kept started; default 0
	Queue       int `json:"queue,omitempty"`        // calls that may wait; default DefaultQueue
}

// WithDefaults fills what was not said.
func (c Concurrency) WithDefaults() Concurrency {
	if c.PerInstance == 0 {
		c.PerInstance = DefaultPerInstance
	}
	if c.Max == 0 {
		c.Max = max(DefaultMax, c.Warm)
	}
	if c.Queue == 0 {
		c.Queue = DefaultQueue
	}
	return c
}

// Calls is how many calls a function can run at once.
func (c Concurrency) Calls() int {
	c = c.WithDefaults()
	return c.PerInstance * c.Max
}

// KeepAlive is how long an idle instance stays: "auto" (learned from the
// arrivals of calls) or a duration.
type KeepAlive string

const KeepAliveAuto KeepAlive = "auto"

// Fixed is the duration of a keep-alive that is not auto.
func (k KeepAlive) Fixed() (Duration, bool) {
	if k == "" || k == KeepAliveAuto {
		return 0, false
	}
	d, err := ParseDuration(string(k))
	return d, err == nil
}

// Retry says how often and how far apart an asynchronous call is tried.
type Retry struct {
	Attempts int      `json:"attempts,omitempty"` // in all, the first included; default 3
	Backoff  string   `json:"backoff,omitempty"`  // "1s..5m": first and longest delay, doubling with jitter
	MaxAge   Duration `json:"max_age,omitempty"`  // give up on an event older than this; default 6h
}

// ParseBackoff reads "1s..5m", the first and the longest delay; "5s" alone is
// both.
func ParseBackoff(s string) (first, longest Duration, err error) {
	from, to, ranged := strings.Cut(s, "..")
	if !ranged {
		to = from
	}
	first, err1 := ParseDuration(from)
	longest, err2 := ParseDuration(to)
	if err1 != nil || err2 != nil || first <= 0 || longest < first {
		return 0, 0, Errorf(Invalid, "", "%q is not a backoff; write the first and the longest delay, such as 1s..5m", s)
	}
	return first, longest, nil
}

// TriggerKind names what calls a function.
type TriggerKind string

const (
	TriggerDirect   TriggerKind = "direct" // API, CLI, /_fn
	TriggerHTTP     TriggerKind = "http"
	TriggerBucket   TriggerKind = "bucket"
	TriggerQueue    TriggerKind = "queue"
	TriggerTopic    TriggerKind = "topic"
	TriggerStream   TriggerKind = "stream"
	TriggerSchedule TriggerKind = "schedule"
	TriggerTable    TriggerKind = "table"
	TriggerKV       TriggerKind = "kv"
	TriggerWebhook  TriggerKind = "webhook"
	TriggerNATS     TriggerKind = "nats"
	TriggerMQTT     TriggerKind = "mqtt"
	TriggerKafka    TriggerKind = "kafka"
	TriggerAMQP     TriggerKind = "amqp"
	TriggerPostgres TriggerKind = "postgres"
)

// Trigger is one entry of a function's `on:`. Exactly one of the fields that
// name a kind is set; the others qualify it, each valid for the kinds that its
// comment names.
type Trigger struct {
	HTTP     string `json:"http,omitempty"`     // "METHOD /path/{id}" or "/path"
	Bucket   string `json:"bucket,omitempty"`   // a bucket
	Queue    string `json:"queue,omitempty"`    // a queue
	Topic    string `json:"topic,omitempty"`    // a topic or a pattern: order.*
	Stream   string `json:"stream,omitempty"`   // a topic, consumed in order by partition
	Schedule string `json:"schedule,omitempty"` // cron, "every 5m", or "at 2026-12-01T08:00:00Z"
	Table    string `json:"table,omitempty"`    // DATABASE.TABLE
	KV       string `json:"kv,omitempty"`       // a key-value store
	Webhook  string `json:"webhook,omitempty"`  // a path of the gateway
	NATS     string `json:"nats,omitempty"`     // a subject of a NATS server: orders.>
	MQTT     string `json:"mqtt,omitempty"`     // a topic filter of an MQTT broker: sensors/+/temperature
	Kafka    string `json:"kafka,omitempty"`    // a topic of a Kafka cluster
	AMQP     string `json:"amqp,omitempty"`     // a queue of an AMQP 0-9-1 broker, such as RabbitMQ
	Postgres string `json:"postgres,omitempty"` // channels of PostgreSQL's NOTIFY: orders, or orders,invoices

	CORS       *CORS           `json:"cors,omitempty"`            // http: who may call from a browser
	Auth       string          `json:"auth,omitempty"`            // http: "none" (default) or "token"
	Events     []string        `json:"events,omitempty"`          // bucket: created, removed; table: insert, update, delete, truncate; kv: put, delete
	Prefix     string          `json:"prefix,omitempty"`          // bucket, kv: only keys that begin so
	Suffix     string          `json:"suffix,omitempty"`          // bucket: only keys that end so
	Batch      int             `json:"batch,omitempty"`           // queue, topic, stream, table, kafka, amqp: most events in one call; default 1 (table, kafka 100)
	Window     Duration        `json:"window,omitempty"`          // queue, stream: wait this long to fill a batch
	MaxCalls   int             `json:"max_concurrency,omitempty"` // queue: calls of this function at once
	Match      json.RawMessage `json:"match,omitempty"`           // topic, stream: an event pattern
	Transform  json.RawMessage `json:"transform,omitempty"`       // topic: the function's input, built from the event
	Timezone   string          `json:"timezone,omitempty"`        // schedule; default UTC
	Jitter     Duration        `json:"jitter,omitempty"`          // schedule: a random delay of each firing, up to this
	Start      string          `json:"start,omitempty"`           // schedule, stream: RFC 3339; stream also "latest" and "oldest", kafka only these
	End        string          `json:"end,omitempty"`             // schedule: RFC 3339
	Missed     string          `json:"missed,omitempty"`          // schedule: skip, once (default), all
	Input      json.RawMessage `json:"input,omitempty"`           // schedule: the event instead of the standard one
	Verify     string          `json:"verify,omitempty"`          // webhook: standard, github, stripe, slack, hmac
	Secret     string          `json:"secret,omitempty"`          // webhook: a secret's name; nats, mqtt, kafka, amqp: one that holds USER:PASSWORD
	URL        string          `json:"url,omitempty"`             // nats, mqtt, kafka, amqp: the server, such as mqtts://broker.example.com:8883
	Group      string          `json:"group,omitempty"`           // nats, kafka: consumers that share the messages; default made from app and function
	Exchange   string          `json:"exchange,omitempty"`        // amqp: the exchange that the queue is bound to; the queue is made where it is missing
	Keys       []string        `json:"keys,omitempty"`            // amqp: the binding keys, such as [order.*, invoice.#]
	Prefetch   int             `json:"prefetch,omitempty"`        // amqp: messages that the broker hands out before they are accepted; default 100
	Database   string          `json:"database,omitempty"`        // postgres: one of databases, of engine postgres
	DSN        string          `json:"dsn,omitempty"`             // postgres: or the name of a secret that holds it
	Header     string          `json:"header,omitempty"`          // webhook hmac: the header that holds the signature
	Tolerance  Duration        `json:"tolerance,omitempty"`       // webhook: replay window; default 5m
	Partitions int             `json:"partitions,omitempty"`      // stream: batches in flight for different keys
	Tumbling   Duration        `json:"tumbling_window,omitempty"` // stream: one state and one result per window
	Bisect     bool            `json:"bisect_on_error,omitempty"` // stream: halve a batch that fails, to find the event that does
	Attempts   int             `json:"attempts,omitempty"`        // topic, stream, table, kv, bucket: default 5
	Name       string          `json:"name,omitempty"`            // tells two triggers of one kind apart; default made from the kind's field
}

// CORS is the cross-origin policy of a route.
type CORS struct {
	Origins     []string `json:"origins,omitempty"`     // "*" for any
	Methods     []string `json:"methods,omitempty"`     // default: the route's
	Headers     []string `json:"headers,omitempty"`     // that a request may send
	Expose      []string `json:"expose,omitempty"`      // that a script may read
	Credentials bool     `json:"credentials,omitempty"` // cookies and credentials may be sent
	MaxAge      Duration `json:"max_age,omitempty"`     // how long browsers keep the answer
}

// Kind is the trigger's kind and the value of the field that names it. It is ""
// where none or more than one is set.
func (t *Trigger) Kind() (TriggerKind, string) {
	var kind TriggerKind
	var value string
	for _, f := range []struct {
		kind  TriggerKind
		value string
	}{
		{TriggerHTTP, t.HTTP}, {TriggerBucket, t.Bucket}, {TriggerQueue, t.Queue}, {TriggerTopic, t.Topic}, {TriggerStream, t.Stream},
		{TriggerSchedule, t.Schedule}, {TriggerTable, t.Table}, {TriggerKV, t.KV}, {TriggerWebhook, t.Webhook},
		{TriggerNATS, t.NATS}, {TriggerMQTT, t.MQTT}, {TriggerKafka, t.Kafka}, {TriggerAMQP, t.AMQP}, {TriggerPostgres, t.Postgres},
	} {
		if f.value == "" {
			continue
		}
		if kind != "" {
			return "", ""
		}
		kind, value = f.kind, f.value
	}
	return kind, value
}

// Grant is one parsed line of `allow`: what a function may do to what.
type Grant struct {
	Verb string // read, write, delete, list, send, publish, call; "*" for all
	Kind string // bucket, kv, queue, topic, database, secret, function
	Name string // a name, or a pattern with "*"
}

var grantPattern = regexp.MustCompile(`^(read|write|delete|list|send|receive|publish|call|\*) (bucket|kv|queue|topic|database|secret|function)/([a-zA-Z0-9._*/-]+)$`)

// ParseGrant reads a line such as "read bucket/uploads".
func ParseGrant(s string) (Grant, error) {
	m := grantPattern.FindStringSubmatch(s)
	if m == nil {
		return Grant{}, Errorf(Invalid, "", "%q is not a grant; write it as VERB KIND/NAME, such as \"read bucket/uploads\" or \"send queue/mail\" (verbs: read, write, delete, list, send, receive, publish, call, *; kinds: bucket, kv, queue, topic, database, secret, function)", s)
	}
	return Grant{Verb: m[1], Kind: m[2], Name: m[3]}, nil
}

func (g Grant) String() string { return g.Verb + " " + g.Kind + "/" + g.Name }
