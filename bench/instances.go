package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Of benchInstances: how many instances there are, how long they may take to come,
// and for how long they work once all are there.
const (
	instances     = 1000
	instancesCome = 90 * time.Second
	instancesWork = 30 * time.Second
)

// benchInstances starts a thousand instances of a function, each a sandbox with a
// connection of its own to the app's PostgreSQL database, and has each run a
// statement a second on the twenty connections that they share.
func benchInstances(ctx context.Context, s *session, t *table) error {
	dsn, stop, err := startPostgres(ctx)
	if err != nil {
		return err
	}
	if dsn == "" {
		t.note("PostgreSQL is not installed")
		return nil
	}
	defer stop()
	app := filepath.Join(s.dir, "sessions")
	if err := s.build(ctx, filepath.Join(app, "f", "bootstrap"), "./bench/testdata/sessions"); err != nil {
		return err
	}
	err = writeFile(filepath.Join(app, "mayfly.yaml"), fmt.Sprintf(`app: sessions
functions:
  f:
    runtime: binary
    source: ./f
    memory: 64MiB
    timeout: 10m
    concurrency: {max: %d, queue: %[1]d}
    allow: [write database/main]
databases: {main: {engine: postgres, dsn: PG_DSN, pool: 20}}
`, instances))
	if err != nil {
		return err
	}
	n, err := s.startNode(ctx, app, s.dir+"/sessions-data")
	if err != nil {
		return err
	}
	defer n.stop()
	if err := n.client().Do(ctx, "PUT", "/v1/apps/sessions/secrets/PG_DSN", map[string]string{"value": dsn}, nil); err != nil {
		return err
	}
	if err := n.untilDeployed(ctx, "sessions"); err != nil {
		return err
	}
	return n.sessions(ctx, t)
}

// untilDeployed waits for dev, which tries again when a secret is there.
func (n *node) untilDeployed(ctx context.Context, app string) error {
	for {
		err := n.client().Do(ctx, "GET", "/v1/apps/"+app, nil, nil)
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// sessionReply is what an instance answers.
type sessionReply struct {
	Instance string
	Took     []int64 // microseconds
	Failed   int
	Why      string
}

func (n *node) sessions(ctx context.Context, t *table) error {
	before := available()
	start := time.Now().Add(instancesCome)
	event := map[string]time.Time{"Start": start, "End": start.Add(instancesWork)}
	var mu sync.Mutex
	var h histogram
	seen, statements, failed, why := map[string]bool{}, 0, 0, ""
	var wg sync.WaitGroup
	for i := range instances {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * instancesCome / 2 / instances)
			var out json.RawMessage
			var r sessionReply
			err := n.client().Do(ctx, "POST", "/v1/apps/sessions/functions/f/invoke", event, &out)
			if err == nil {
				err = json.Unmarshal(out, &r)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed, why = failed+1, err.Error()
				return
			}
			seen[r.Instance] = true
			statements, failed = statements+len(r.Took), failed+r.Failed
			if r.Why != "" {
				why = r.Why
			}
			for _, us := range r.Took {
				h.add(time.Duration(us) * time.Microsecond)
			}
		})
	}
	time.Sleep(time.Until(start))
	used := before - available()
	wg.Wait()
	row := t.row("PostgreSQL, 20 connections: sandboxes with a session each")
	row.add("instances", "", float64(len(seen)))
	row.add("calls per second", "", float64(statements)/instancesWork.Seconds())
	row.times(&h)
	row.add("failed", "", float64(failed))
	row.add("memory of each", "MiB", float64(used)/float64(max(len(seen), 1))/1024)
	if failed > 0 {
		t.note("%s", why)
	}
	return n.figuresOf(ctx, "sessions", t)
}

// available is the machine's memory that is free to be used, in KiB; 0 where the
// system does not say.
func available() int {
	b, _ := os.ReadFile("/proc/meminfo")
	_, rest, _ := strings.Cut(string(b), "MemAvailable:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.Atoi(fields[0])
	return kib
}
