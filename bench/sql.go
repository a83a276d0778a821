package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the peer: the same library in this process
)

const sqlRows = 10_000

// benchSQL compares statements over HTTP with the same in a process, and lets a
// thousand calls share twenty connections to PostgreSQL.
func benchSQL(ctx context.Context, s *session, t *table) error {
	app := filepath.Join(s.dir, "sql")
	if err := writeFile(filepath.Join(app, "mayfly.yaml"), "app: sql\ndatabases: {main: {migrations: ./m}}\n"); err != nil {
		return err
	}
	migration := fmt.Sprintf("create table t (id integer primary key, v text);\ninsert into t with recursive n(value) as (select 1 union all select value + 1 from n where value < %d) select value, hex(randomblob(50)) from n;\n", sqlRows)
	if err := writeFile(filepath.Join(app, "m", "001_t.sql"), migration); err != nil {
		return err
	}
	n, err := s.startNode(ctx, app, s.dir+"/sql-data")
	if err != nil {
		return err
	}
	peer, err := openPeer(ctx, filepath.Join(s.dir, "peer.db"), migration)
	if err == nil {
		err = s.sqlite(ctx, n, peer, t)
		_ = peer.Close()
	}
	n.stop()
	if err != nil {
		return err
	}
	return s.postgres(ctx, t)
}

// openPeer is a file with the settings that the service has.
func openPeer(ctx context.Context, file, schema string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	_, err = db.ExecContext(ctx, schema)
	return db, err
}

// Statements of the comparison. A batch is a hundred inserts in a transaction.
const (
	sqlRead   = "select v from t where id = ?"
	sqlInsert = "insert into t (v) values (?)"
	sqlBatch  = 100
)

// hrana is a pipeline that libSQL's client would send.
func (n *node) hrana(statements ...string) []byte {
	type stmt = map[string]any
	steps := []stmt{}
	for _, s := range statements {
		args := []stmt{}
		if strings.Contains(s, "?") {
			args = append(args, stmt{"type": "integer", "value": fmt.Sprint(1 + rand.IntN(sqlRows))})
		}
		steps = append(steps, stmt{"stmt": stmt{"sql": s, "args": args}})
	}
	body, _ := json.Marshal(stmt{"requests": []stmt{{"type": "batch", "batch": stmt{"steps": steps}}, {"type": "close"}}})
	return post("/v1/apps/sql/databases/main/v3/pipeline", n.authorization(), body)
}

func (s *session) sqlite(ctx context.Context, n *node, peer *sql.DB, t *table) error {
	batch := []string{"begin"}
	for range sqlBatch {
		batch = append(batch, sqlInsert)
	}
	batch = append(batch, "commit")
	for _, c := range []struct {
		label      string
		clients    int
		statements []string
		counts     int
		inside     func(context.Context) error
	}{
		{"read one row", 1, []string{sqlRead}, 1, peerRead(peer)},
		{"read one row", 16, []string{sqlRead}, 1, peerRead(peer)},
		{"insert one row", 1, []string{sqlInsert}, 1, peerInsert(peer, 1)},
		{"insert one row", 16, []string{sqlInsert}, 1, peerInsert(peer, 1)},
		{"insert 100 rows in a transaction", 1, batch, sqlBatch, peerInsert(peer, sqlBatch)},
	} {
		in, over := fmt.Sprintf("%s, in process, %d at once", c.label, c.clients), fmt.Sprintf("%s, over HTTP, %d at once", c.label, c.clients)
		for range s.rounds {
			rate, latency, err := s.inside(ctx, c.clients, c.inside)
			if err != nil {
				return err
			}
			t.row(in).add("rows per second", "", rate*float64(c.counts))
			t.row(in).times(latency)
			out := load{addr: hostOf(n.API), connections: c.clients, duration: s.duration, request: func(int, int) []byte { return n.hrana(c.statements...) }, accept: answered}.run(ctx)
			row := t.row(over)
			row.add("rows per second", "", out.rate()*float64(c.counts))
			row.times(&out.latency)
			if out.failed > 0 {
				t.note("%s: %v", over, out.errors)
			}
		}
		t.row(over).ratio("rows per second", t.row(in))
	}
	return nil
}

// answered refuses replies that hold an error.
func answered(_ int, r *reply) error {
	if r.status != 200 || strings.Contains(string(r.body), `"type":"error"`) {
		return refused(r)
	}
	return nil
}

func peerRead(db *sql.DB) func(context.Context) error {
	return func(ctx context.Context) error {
		var v string
		return db.QueryRowContext(ctx, sqlRead, 1+rand.IntN(sqlRows)).Scan(&v)
	}
}

func peerInsert(db *sql.DB, rows int) func(context.Context) error {
	var one sync.Mutex // a writer, as the service has
	return func(ctx context.Context) error {
		one.Lock()
		defer one.Unlock()
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		for range rows {
			if _, err := tx.ExecContext(ctx, sqlInsert, rand.IntN(sqlRows)); err != nil {
				_ = tx.Rollback()
				return err
			}
		}
		return tx.Commit()
	}
}

// inside runs do in this process, by clients at once, for a while.
func (s *session) inside(ctx context.Context, clients int, do func(context.Context) error) (rate float64, latency *histogram, err error) {
	began := time.Now()
	all := make([]histogram, clients)
	failed := make([]error, clients)
	done := make([]int, clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for time.Since(began) < s.duration && failed[i] == nil && ctx.Err() == nil {
				at := time.Now()
				failed[i] = do(ctx)
				all[i].add(time.Since(at))
				done[i]++
			}
		})
	}
	wg.Wait()
	elapsed, total := time.Since(began), 0
	latency = &histogram{}
	for i := range clients {
		latency.merge(&all[i])
		total += done[i]
		if failed[i] != nil {
			err = failed[i]
		}
	}
	return float64(total) / elapsed.Seconds(), latency, err
}

// postgres has two functions share twenty connections: one with 900 calls under
// way, one with 100. Their instances are twenty processes.
func (s *session) postgres(ctx context.Context, t *table) error {
	dsn, stop, err := startPostgres(ctx)
	if err != nil {
		return err
	}
	if dsn == "" {
		t.note("PostgreSQL: left out, this machine has none")
		return nil
	}
	defer stop()
	var functions []function
	for name, instances := range map[string]int{"many": 18, "few": 2} {
		functions = append(functions, function{
			name: name, manifest: fmt.Sprintf("runtime: http\nsource: ./%s\nhandler: ./client\nallow: [write database/main]\nconcurrency: {per_instance: 50, max: %d, warm: %d}", name, instances, instances),
			build: func(ctx context.Context, s *session, dir string) error {
				return s.build(ctx, filepath.Join(dir, "client"), "./bench/testdata/sqlclient")
			},
		})
	}
	app, err := s.writeApp(ctx, "pooled", functions, "")
	if err != nil {
		return err
	}
	manifest := filepath.Join(app, "mayfly.yaml")
	if err := writeFile(manifest, readText(manifest)+"databases: {main: {engine: postgres, dsn: PG_DSN, pool: 20}}\n"); err != nil {
		return err
	}
	n, err := s.startNode(ctx, app, s.dir+"/pooled-data")
	if err != nil {
		return err
	}
	defer n.stop()
	// The first deploy had no secret to connect with; this one makes dev try again.
	if err := n.client().Do(ctx, "PUT", "/v1/apps/pooled/secrets/PG_DSN", map[string]string{"value": dsn}, nil); err != nil {
		return err
	}
	for _, name := range []string{"many", "few"} {
		if err := n.mustAnswer(ctx, "/"+name); err != nil {
			return err
		}
	}
	for range s.rounds {
		s.shared(ctx, n, t)
	}
	return n.figuresOf(ctx, "pooled", t)
}

func (s *session) shared(ctx context.Context, n *node, t *table) {
	results := map[string]*loaded{"many": nil, "few": nil}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, calls := range map[string]int{"many": 900, "few": 100} {
		wg.Go(func() {
			out := load{addr: n.gateway(), request: get("/" + name), connections: calls, duration: 2 * s.duration}.run(ctx)
			mu.Lock()
			defer mu.Unlock()
			results[name] = out
		})
	}
	wg.Wait()
	for name, calls := range map[string]int{"many": 900, "few": 100} {
		row := t.row(fmt.Sprintf("PostgreSQL, 20 connections: a function with %d calls at once", calls))
		out := results[name]
		row.add("calls per second", "", out.rate())
		row.times(&out.latency)
		row.add("refused", "%", 100*float64(out.failed)/float64(max(out.requests, 1)))
		if out.failed > 0 {
			t.note("%s: %v", name, out.errors)
		}
	}
}

// figuresOf are what the node says of an app's pool.
func (n *node) figuresOf(ctx context.Context, app string, t *table) error {
	var out struct {
		Databases []struct {
			Waits       float64 `json:"waits"`
			WaitedMS    float64 `json:"waited_ms"`
			LongestMS   float64 `json:"longest_wait_ms"`
			Refused     float64 `json:"refused"`
			Writes      float64 `json:"writes"`
			Connections float64 `json:"connections"`
		} `json:"databases"`
	}
	if err := n.client().Do(ctx, "GET", "/v1/apps/"+app+"/databases", nil, &out); err != nil {
		return err
	}
	for _, d := range out.Databases {
		row := t.row("PostgreSQL, the pool")
		row.add("connections", "", d.Connections)
		row.add("statements", "", d.Writes)
		row.add("waited", "%", 100*d.Waits/max(d.Writes, 1))
		row.add("mean wait", "ms", d.WaitedMS/max(d.Waits, 1))
		row.add("longest", "ms", d.LongestMS)
		row.add("refused", "", d.Refused)
	}
	return nil
}
