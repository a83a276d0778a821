package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// killRoundsVariable has how often TestKilledUnderWrites kills the node; 3 where
// it is not set.
const killRoundsVariable = "MAYFLY_E2E_KILLS"

var written = map[string]string{
	"mayfly.yaml": `app: written
functions:
  told:
    runtime: node
    source: ./told
    handler: index.handler
    allow: [write kv/told]
    on:
      - {bucket: files, events: [created]}
      - {table: main.rows, events: [insert]}
      - {kv: values, events: [put]}
      - {queue: jobs, batch: 10}
buckets: {files: {}}
kv: {values: {}, told: {}}
queues: {jobs: {}}
databases: {main: {migrations: ./migrations}}
`,
	"migrations/001_rows.sql": "CREATE TABLE rows (id TEXT PRIMARY KEY);",
	"told/index.js": `
exports.handler = async ({ Records }) => {
  for (const r of Records) {
    const name = r.s3 ? "object-" + decodeURIComponent(r.s3.object.key) : r.table ? "row-" + r.new.id : r.store ? "value-" + r.key : "message-" + JSON.parse(r.body).id;
    const res = await fetch(process.env.MAYFLY_ENDPOINT + "/v1/apps/written/kv/told/keys/" + name, { method: "PUT", body: "1" });
    if (!res.ok) throw new Error(res.status + " " + await res.text());
  }
};`,
}

// writer writes one thing to each service in turn, and remembers what was
// acknowledged.
type writer struct {
	mu           sync.Mutex
	acknowledged map[string]bool
}

func (w *writer) run(ctx context.Context, n *node, id string) {
	c, base := n.client(), "/v1/apps/written"
	for i := 0; ctx.Err() == nil; i++ {
		name := fmt.Sprintf("%s-%d", id, i)
		for kind, write := range map[string]func() error{
			"value": func() error { return c.Do(ctx, "PUT", base+"/kv/values/keys/"+name, strings.NewReader("v"), nil) },
			"object": func() error {
				return c.Do(ctx, "PUT", base+"/buckets/files/objects/"+name, strings.NewReader("o"), nil)
			},
			"message": func() error {
				return c.Do(ctx, "POST", base+"/queues/jobs/messages", map[string]any{"body": map[string]string{"id": name}}, nil)
			},
			"row": func() error {
				in := map[string]any{"sql": "INSERT INTO rows VALUES (?)", "args": []string{name}}
				return c.Do(ctx, "POST", base+"/databases/main/query", in, nil)
			},
		} {
			if write() != nil {
				return // the node is killed
			}
			w.mu.Lock()
			w.acknowledged[kind+"-"+name] = true
			w.mu.Unlock()
		}
	}
}

// TestKilledUnderWrites kills the node again and again while all services are
// written to. Each write that was acknowledged is there, and functions are told
// of each.
func TestKilledUnderWrites(t *testing.T) {
	needs(t, "node")
	rounds := 3
	if s := os.Getenv(killRoundsVariable); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	data := t.TempDir()
	n := start(t, data, "serve")
	if out, code := n.cli("deploy", app(t, written)); code != 0 {
		t.Fatalf("deploy: %s", out)
	}
	w := &writer{acknowledged: map[string]bool{}}
	for round := range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		var writers sync.WaitGroup
		for i := range 4 {
			writers.Go(func() { w.run(ctx, n, fmt.Sprintf("%d-%d", round, i)) })
		}
		time.Sleep(300*time.Millisecond + rand.N(time.Second))
		n.kill()
		cancel()
		writers.Wait()
		n = start(t, data, "serve")
	}
	if len(w.acknowledged) < 4*rounds {
		t.Fatalf("only %d writes were acknowledged", len(w.acknowledged))
	}
	t.Logf("%d writes were acknowledged in %d rounds", len(w.acknowledged), rounds)
	w.check(t, n)
	w.awaitTold(t, n)
	n.stop()
}

// awaitTold waits until functions were told of each write, for as long as a
// minute does not pass without one.
func (w *writer) awaitTold(t *testing.T, n *node) {
	t.Helper()
	left, changed := len(w.acknowledged)+1, time.Now()
	for {
		told := n.keys("told")
		var missing []string
		for name := range w.acknowledged {
			if !told[name] {
				missing = append(missing, name)
			}
		}
		switch {
		case len(missing) == 0:
			return
		case len(missing) < left:
			left, changed = len(missing), time.Now()
		case time.Since(changed) > time.Minute:
			t.Fatalf("no function was told of %d writes, such as %q", left, missing[:min(8, left)])
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// check reads what is there.
func (w *writer) check(t *testing.T, n *node) {
	t.Helper()
	there := map[string]bool{}
	for key := range n.keys("values") {
		there["value-"+key] = true
	}
	var rows struct{ Rows [][]string }
	if err := n.client().Do(t.Context(), "POST", "/v1/apps/written/databases/main/query", map[string]any{"sql": "SELECT id FROM rows"}, &rows); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows.Rows {
		there["row-"+row[0]] = true
	}
	for name := range w.acknowledged {
		if key, ok := strings.CutPrefix(name, "object-"); ok {
			there[name] = n.client().Do(t.Context(), "GET", "/v1/apps/written/buckets/files/objects/"+key, nil, nil) == nil
		}
		if !there[name] && !strings.HasPrefix(name, "message-") {
			t.Errorf("%s was acknowledged and is not there", name)
		}
	}
}

// keys are all keys of a store.
func (n *node) keys(store string) map[string]bool {
	n.t.Helper()
	all := map[string]bool{}
	for after := ""; ; {
		var page struct {
			Keys []struct{ Key string }
			Next string
		}
		if err := n.client().Do(n.t.Context(), "GET", "/v1/apps/written/kv/"+store+"/keys?limit=1000&after="+url.QueryEscape(after), nil, &page); err != nil {
			n.t.Fatal(err)
		}
		for _, k := range page.Keys {
			all[k.Key] = true
		}
		if after = page.Next; after == "" {
			return all
		}
	}
}
