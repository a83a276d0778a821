package mayfly

import (
	"encoding/json"
	"strings"
)

// Manifest is a whole application: mayfly.yaml with its references resolved.
// Its JSON names are the file's keys.
type Manifest struct {
	App       AppName                    `json:"app"`                 // the application's name
	Defaults  *Defaults                  `json:"defaults,omitempty"`  // of every function that does not say otherwise
	Functions map[FunctionName]*Function `json:"functions,omitempty"` // code, and what calls it
	Buckets   map[string]*Bucket         `json:"buckets,omitempty"`   // objects, by the S3 API
	Queues    map[string]*Queue          `json:"queues,omitempty"`    // durable work queues
	Topics    map[string]*Topic          `json:"topics,omitempty"`    // events that functions subscribe to
	KV        map[string]*KV             `json:"kv,omitempty"`        // key-value stores
	Databases map[string]*Database       `json:"databases,omitempty"` // SQL databases
	Webhooks  map[string]*Webhook        `json:"webhooks,omitempty"`  // outgoing: a topic's events, sent to a URL
	Alerts    map[string]*Alert          `json:"alerts,omitempty"`    // rules over metrics
	Budget    *Budget                    `json:"budget,omitempty"`    // what the app may spend in a month
	Quota     Bytes                      `json:"quota,omitempty"`     // of buckets, key-value stores and SQLite databases together; 0: none
}

// Defaults apply to every function that does not say otherwise.
type Defaults struct {
	Memory    Bytes             `json:"memory,omitempty"`            // default DefaultMemory
	Timeout   Duration          `json:"timeout,omitempty"`           // of one call; default DefaultTimeout
	KeepAlive KeepAlive         `json:"keep_alive,omitempty"`        // default auto
	Env       map[string]string `json:"env,omitempty"`               // environment; a function's own names win
	Retry     *Retry            `json:"retry,omitempty"`             // of asynchronous calls
	Require   string            `json:"require_isolation,omitempty"` // "any" (default) or "full"
	Tags      map[string]string `json:"tags,omitempty"`              // for usage and cost; a function's own names win
}

// Bucket holds objects behind the S3 API.
type Bucket struct {
	Public     bool     `json:"public,omitempty"`                // the gateway serves reads at /_bucket/APP/BUCKET/KEY
	Versioning bool     `json:"versioning,omitempty"`            // keep what is overwritten or deleted
	Expire     Duration `json:"expire,omitempty"`                // delete objects this long after their last change
	AbortAfter Duration `json:"abort_multipart_after,omitempty"` // default 7d
	Quota      Bytes    `json:"quota,omitempty"`                 // 0: none
	CORS       *CORS    `json:"cors,omitempty"`                  // for browsers that use the S3 API
	Website    *Website `json:"website,omitempty"`               // its objects are a site among the app's routes, for everyone

	External    string `json:"external,omitempty"`    // another S3 server's bucket that holds the objects: https://HOST/BUCKET
	Credentials string `json:"credentials,omitempty"` // external: the name of a secret with ACCESS_KEY_ID:SECRET_ACCESS_KEY
	Region      string `json:"region,omitempty"`      // external: default us-east-1
}

// Website makes a bucket's objects a static site among the app's routes. What a
// function has a route for is the function's.
type Website struct {
	Path      string            `json:"path,omitempty"`      // of the site in the app: /docs/; default /
	Index     string            `json:"index,omitempty"`     // the page of a folder; default index.html
	Error     string            `json:"error,omitempty"`     // the page where there is none, with status 404
	Fallback  string            `json:"fallback,omitempty"`  // the page where there is none, with status 200: of a single-page app
	Redirects []WebsiteRedirect `json:"redirects,omitempty"` // before objects are looked for; the first that fits
}

// Root is the path of the site with a / at both ends.
func (w *Website) Root() string {
	root := "/" + strings.Trim(w.Path, "/") + "/"
	if root == "//" {
		return "/"
	}
	return root
}

// Patterns are the routes of a site that is not at the root. What is at the root is
// no route: it takes what none does.
func (w *Website) Patterns() []string {
	if w.Root() == "/" {
		return nil
	}
	return []string{"GET " + w.Root(), "OPTIONS " + w.Root()}
}

// WebsiteRedirect sends what begins with one path to another.
type WebsiteRedirect struct {
	From   string `json:"from"`             // what the path within the site begins with: /blog/
	To     string `json:"to"`               // what stands there instead: a path of the site, or a URL
	Status int    `json:"status,omitempty"` // 301 (default), 302, 303, 307 or 308
}

// Queue is a durable work queue.
type Queue struct {
	Visibility  Duration `json:"visibility,omitempty"`  // lease of a received message; renewed while a function runs; default 30s
	Attempts    int      `json:"attempts,omitempty"`    // deliveries before a message is dead; default 5
	Backoff     string   `json:"backoff,omitempty"`     // between attempts, "1s..5m"
	Delay       Duration `json:"delay,omitempty"`       // default delay of each message
	Retention   Duration `json:"retention,omitempty"`   // default 14d
	OrderBy     string   `json:"order_by,omitempty"`    // a field of the JSON body, or "key" for the message's key
	Deduplicate Duration `json:"deduplicate,omitempty"` // window in which a deduplication id counts; default 5m
	Concurrency int      `json:"concurrency,omitempty"` // calls at once for the whole queue; 0: as its functions allow
	DeadLetter  string   `json:"dead_letter,omitempty"` // another queue to which dead messages go as well
}

// Topic carries CloudEvents to subscribers.
type Topic struct {
	Schema        string          `json:"schema,omitempty"`        // a JSON Schema file, relative to the manifest
	SchemaBody    json.RawMessage `json:"schema_body,omitempty"`   // the file's content, filled at load; not a key of the file
	Compatibility string          `json:"compatibility,omitempty"` // none, backward (default), forward, full
	Retention     Duration        `json:"retention,omitempty"`     // default 7d
	PartitionBy   string          `json:"partition_by,omitempty"`  // an event field for streams; default subject
}

// KV is a key-value store.
type KV struct {
	TTL   Duration `json:"ttl,omitempty"`   // default life of a value; 0: for ever
	Quota Bytes    `json:"quota,omitempty"` // of all values; 0: none
}

// Database is an SQL database.
type Database struct {
	Engine         string            `json:"engine,omitempty"`            // sqlite (default) or postgres
	Migrations     string            `json:"migrations,omitempty"`        // a folder of NNN_name.sql files
	MigrationFiles map[string]string `json:"migration_files,omitempty"`   // the folder's content, filled at load; not a key of the file
	DSN            string            `json:"dsn,omitempty"`               // postgres: the name of a secret that holds it
	Pool           int               `json:"pool,omitempty"`              // connections; default 20
	MaxLag         Bytes             `json:"max_lag,omitempty"`           // postgres: write-ahead log that the server may keep for table triggers; default 1GiB
	Copies         string            `json:"copies,omitempty"`            // sqlite: where point-in-time copies go: bucket/NAME, or a folder's absolute path
	CopiesKeep     Duration          `json:"copies_keep,omitempty"`       // how far back they reach; default 7d
	Timeout        Duration          `json:"statement_timeout,omitempty"` // default 30s
	Quota          Bytes             `json:"quota,omitempty"`             // of the data; 0: none
}

// Webhook is an outgoing subscription: events of a topic are sent to a URL,
// signed as Standard Webhooks.
type Webhook struct {
	URL          string          `json:"url"`                     // where events are POSTed
	Topic        string          `json:"topic"`                   // whose events are sent
	Match        json.RawMessage `json:"match,omitempty"`         // an event pattern: only these are sent
	Secret       string          `json:"secret"`                  // the name of the secret that signs
	Attempts     int             `json:"attempts,omitempty"`      // default 8
	DisableAfter Duration        `json:"disable_after,omitempty"` // of nothing but failures; default 5d
}

// Alert is a rule over metrics and whom to tell.
type Alert struct {
	Expr     string   `json:"expr,omitempty"`     // PromQL
	Rule     string   `json:"rule,omitempty"`     // or a named rule
	Window   Duration `json:"window,omitempty"`   // what the named rule looks at; its other times follow in proportion
	For      Duration `json:"for,omitempty"`      // how long the condition must hold
	Severity string   `json:"severity,omitempty"` // goes with the notification
	Summary  string   `json:"summary,omitempty"`  // goes with the notification
	Notify   []string `json:"notify,omitempty"`   // receivers
}

// Budget bounds what an app may spend in a calendar month.
type Budget struct {
	Amount  float64   `json:"amount"`             // in the price sheet's currency
	Prices  string    `json:"prices,omitempty"`   // a price sheet; default lambda-x86
	AlertAt []float64 `json:"alert_at,omitempty"` // shares of the amount; default 0.5, 0.8, 1
	Action  string    `json:"action,omitempty"`   // at the amount: alert (default) or stop
}
