package manifest

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

var topicName = regexp.MustCompile(`^[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)*$`)

// each calls f for the entries of a section in order, with their path.
func each[T any](section string, all map[string]*T, f func(path, name string, r *T)) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f(section+"."+name, name, first(all[name], new(T)))
	}
}

func (v *validation) resources() {
	each("buckets", v.m.Buckets, func(at, name string, b *mayfly.Bucket) {
		v.name(at, "bucket", name)
		v.website(at+".website", b.Website)
	})
	each("queues", v.m.Queues, v.queue)
	each("topics", v.m.Topics, v.topic)
	each("kv", v.m.KV, func(at, name string, _ *mayfly.KV) { v.name(at, "key-value store", name) })
	each("databases", v.m.Databases, v.database)
	each("webhooks", v.m.Webhooks, v.webhook)
	each("alerts", v.m.Alerts, v.alert)
	v.budget()
}

func (v *validation) queue(at, name string, q *mayfly.Queue) {
	v.name(at, "queue", name)
	v.backoff(at+".backoff", q.Backoff)
	if q.Visibility > mayfly.MaxTimeout {
		v.add(at+".visibility", "%s is longer than a call may take, which is %s", q.Visibility, mayfly.MaxTimeout)
	}
	if q.Attempts < 0 || q.Attempts > 1000 {
		v.add(at+".attempts", "%d is outside 1 to 1000", q.Attempts)
	}
	if q.Concurrency < 0 {
		v.add(at+".concurrency", "%d is negative; leave it out for no bound", q.Concurrency)
	}
	if q.DeadLetter == name {
		v.add(at+".dead_letter", "a queue cannot be its own dead letter queue")
	} else if q.DeadLetter != "" {
		v.reference(at+".dead_letter", "queue", q.DeadLetter)
	}
}

func (v *validation) topic(at, name string, t *mayfly.Topic) {
	if !topicName.MatchString(name) || len(name) > 128 {
		v.add(at, "%q cannot name a topic; write words of lower case letters, digits, - and _ with dots between, such as order.created", name)
	}
	if t.Compatibility != "" && t.Schema == "" {
		v.add(at+".compatibility", "means nothing without a schema; add schema: ./FILE.json")
	}
}

func (v *validation) database(at, name string, db *mayfly.Database) {
	v.name(at, "database", name)
	postgres := db.Engine == "postgres"
	switch {
	case postgres && db.DSN == "":
		v.add(at+".dsn", "is missing; it is the name of a secret that holds the connection string")
	case !postgres && db.DSN != "":
		v.add(at+".dsn", "is for engine: postgres; remove it or set the engine")
	case db.DSN != "" && !envName.MatchString(db.DSN):
		v.add(at+".dsn", "is the name of a secret, not the connection string itself; store it with: mayfly secret set NAME")
	}
	if !postgres && db.MaxLag != 0 {
		v.add(at+".max_lag", "is for engine: postgres; remove it or set the engine")
	}
	if db.Pool < 0 || db.Pool > 1000 {
		v.add(at+".pool", "%d is outside 1 to 1000", db.Pool)
	}
}

func (v *validation) webhook(at, name string, w *mayfly.Webhook) {
	v.name(at, "webhook", name)
	if w.URL == "" || badURL(w.URL) {
		v.add(at+".url", "%q is not a URL; write https://HOST/PATH", w.URL)
	}
	if w.Topic == "" {
		v.add(at+".topic", "is missing; it is the topic whose events are sent")
	} else {
		v.reference(at+".topic", "topic", w.Topic)
	}
	if w.Secret == "" {
		v.add(at+".secret", "is missing; it is the name of the secret that signs the events")
	}
	if w.Attempts < 0 || w.Attempts > 100 {
		v.add(at+".attempts", "%d is outside 1 to 100", w.Attempts)
	}
}

func (v *validation) alert(at, name string, a *mayfly.Alert) {
	v.name(at, "alert", name)
	if (a.Expr == "") == (a.Rule == "") {
		v.add(at, "needs either expr (PromQL) or rule (a named rule)")
	}
}

func (v *validation) budget() {
	b := v.m.Budget
	if b == nil {
		return
	}
	if b.Amount <= 0 {
		v.add("budget.amount", "must be above 0")
	}
	for i, share := range b.AlertAt {
		if share <= 0 || share > 10 {
			v.add(fmt.Sprintf("budget.alert_at[%d]", i), "%v is not a share of the amount; 0.8 is 80 %%", share)
		}
	}
}

var hostName = regexp.MustCompile(`^(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?\.?$`)

// badEgress says what is wrong with an entry of egress.
func badEgress(s string) string {
	const form = "write HOST:PORT, *.DOMAIN:PORT or ADDRESS/BITS:PORT"
	i := strings.LastIndexByte(s, ':')
	if i <= 0 || strings.HasSuffix(s, "]") {
		return fmt.Sprintf("%q has no port; write %s:443", s, s)
	}
	host, port := s[:i], s[i+1:]
	if n, err := strconv.Atoi(port); port != "*" && (err != nil || n < 1 || n > 65535) {
		if strings.Contains(s, "://") {
			return fmt.Sprintf("%q is a URL; %s", s, form)
		}
		return fmt.Sprintf("%q is not a port; %s", port, form)
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if addr, err := netip.ParseAddr(host); err == nil {
		host = netip.PrefixFrom(addr, addr.BitLen()).String()
	}
	prefix, err := netip.ParsePrefix(host)
	switch {
	case host == "localhost", err == nil && prefix.Addr().IsLoopback():
		if port == "*" {
			return fmt.Sprintf("%q opens all of this machine; name the port of a service on it", s)
		}
	case err == nil && !prefix.Addr().Is4():
		return fmt.Sprintf("%q: sandboxes have IPv4 only; name the host, or its IPv4 network", s)
	case err == nil, host == "*":
	case strings.Contains(host, "/"):
		return fmt.Sprintf("%q is not a network; %s", host, form)
	case !hostName.MatchString(host):
		return fmt.Sprintf("%q is not a host; %s", host, form)
	}
	return ""
}
