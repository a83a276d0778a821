package table

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service/sql"
	"github.com/mayfly-cloud/mayfly/service/sql/sqltest"
	"github.com/mayfly-cloud/mayfly/trigger"
)

const (
	childVariable = "MAYFLY_TEST_TABLE_CHILD" // DIR, DSN
	killsVariable = "MAYFLY_TEST_TABLE_KILLS" // how often the node is killed; default 4
)

// TestKilledFollower writes random transactions to a PostgreSQL server, with
// rollbacks, savepoints and violated constraints, while a node that follows them
// is killed again and again. What its function was told is what was committed,
// in an order in which each change finds the row as the one before left it; only
// what was told last before a kill may be told again.
func TestKilledFollower(t *testing.T) {
	if child := os.Getenv(childVariable); child != "" {
		dir, dsn, _ := strings.Cut(child, ",")
		followForEver(t, dir, dsn)
		return
	}
	dsn := sqltest.Postgres(t, "wal_level=logical")
	kills := 4
	if n, err := strconv.Atoi(os.Getenv(killsVariable)); err == nil {
		kills = n
	}
	admin := session(t, dsn)
	must(t, admin, "create table t (id int primary key, v text not null check (v <> 'bad'))")
	dir := t.TempDir()
	told := filepath.Join(dir, "told")
	next := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledFollower$")
		cmd.Env = append(os.Environ(), childVariable+"="+dir+","+dsn)
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	node := next()
	defer func() { _ = node.Process.Kill(); _ = node.Wait() }()
	eventually(t, "the node follows", func() bool { _, err := os.Stat(filepath.Join(dir, "ready")); return err == nil })
	stop := make(chan struct{})
	var writers sync.WaitGroup
	counts := make([]int, 3)
	for i := range counts {
		c := session(t, dsn)
		writers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					counts[i] += randomTransaction(c, fmt.Sprint(i, "-", n))
				}
			}
		})
	}
	for range kills {
		more := lines(t, told) + 1 + rand.IntN(20)
		eventually(t, "more is told", func() bool { return lines(t, told) >= more })
		_ = node.Process.Kill()
		_ = node.Wait()
		node = next()
	}
	more := lines(t, told) + 1
	eventually(t, "the last node tells too", func() bool { return lines(t, told) >= more })
	close(stop)
	writers.Wait()
	must(t, admin, "insert into t values (-1, 'end')")
	eventually(t, "all is told", func() bool {
		b, err := os.ReadFile(told)
		return err == nil && strings.Contains(string(b), `"id":-1`)
	})
	committed := 1
	for _, n := range counts {
		committed += n
	}
	got, state := replay(t, told)
	if got != committed {
		t.Errorf("%d changes were told, and %d were committed", got, committed)
	}
	r := admin.ExecParams(t.Context(), "select id, v from t", nil, nil, nil, nil).Read()
	if r.Err != nil || len(r.Rows) != len(state) {
		t.Fatalf("%d rows, %d told: %v", len(r.Rows), len(state), r.Err)
	}
	for _, row := range r.Rows {
		if state[string(row[0])] != string(row[1]) {
			t.Errorf("row %s is %s, told %s", row[0], row[1], state[string(row[0])])
		}
	}
	t.Logf("%d changes, %d kills, %d calls", committed, kills, lines(t, told))
}

func session(t *testing.T, dsn string) *pgconn.PgConn {
	t.Helper()
	c, err := pgconn.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func must(t *testing.T, c *pgconn.PgConn, text string) {
	t.Helper()
	if _, err := c.Exec(context.Background(), text).ReadAll(); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

// randomTransaction returns how many rows it changed for good.
func randomTransaction(c *pgconn.PgConn, token string) (kept int) {
	ctx := context.Background()
	run := func(text string) (int, error) {
		r, err := c.Exec(ctx, text).ReadAll()
		if err != nil || len(r) == 0 {
			return 0, err
		}
		return int(r[0].CommandTag.RowsAffected()), nil
	}
	write := func(i int) (int, error) {
		id, v := rand.IntN(20), fmt.Sprint(token, "-", i)
		switch rand.IntN(8) {
		case 0, 1, 2:
			return run(fmt.Sprintf("insert into t values (%d, '%s')", id, v)) // fails where it is there
		case 3, 4, 5:
			return run(fmt.Sprintf("update t set v = '%s' where id = %d", v, id))
		case 6:
			return run(fmt.Sprintf("delete from t where id = %d", id))
		}
		return run(fmt.Sprintf("update t set v = 'bad' where id = %d", id))
	}
	if rand.IntN(4) == 0 {
		kept, _ = write(0)
		return kept
	}
	_, _ = run("begin")
	_, _ = run("set local lock_timeout = '2s'")
	n, saved := 0, -1
	for i := range 1 + rand.IntN(6) {
		if rand.IntN(3) == 0 {
			_, _ = run("savepoint s")
			saved = n
		}
		changed, err := write(i)
		switch {
		case err == nil:
			n += changed
		case saved < 0:
			_, _ = run("rollback")
			return 0
		}
		if saved >= 0 && (err != nil || rand.IntN(4) == 0) {
			if _, err := run("rollback to s"); err != nil {
				_, _ = run("rollback")
				return 0
			}
			n = saved
		}
	}
	if rand.IntN(4) == 0 {
		_, _ = run("rollback")
		return 0
	}
	if _, err := run("commit"); err != nil {
		return 0
	}
	return n
}

func lines(t *testing.T, file string) int {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Count(string(b), "\n")
}

// replay applies what was told, once each, and returns how much that was and
// what it makes of the table.
func replay(t *testing.T, file string) (n int, state map[string]string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	type row struct {
		ID int
		V  string
	}
	state = map[string]string{}
	seen := map[int64]string{}
	last := int64(0)
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, 16<<20)
	for scan.Scan() {
		var e Event
		if err := json.Unmarshal(scan.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		for _, c := range e.Records {
			text := fmt.Sprintf("%s %s %s", c.EventName, c.Old, c.New)
			if was, again := seen[c.Position]; again {
				if was != text {
					t.Errorf("%d was %s and is %s", c.Position, was, text)
				}
				continue
			}
			if c.Position <= last {
				t.Errorf("%d came after %d", c.Position, last)
			}
			last, seen[c.Position] = c.Position, text
			var before, after row
			if c.Old != nil {
				_ = json.Unmarshal(c.Old, &before)
				if state[fmt.Sprint(before.ID)] != before.V {
					t.Errorf("%s: the row was %q", text, state[fmt.Sprint(before.ID)])
				}
				delete(state, fmt.Sprint(before.ID))
			}
			if c.New != nil {
				_ = json.Unmarshal(c.New, &after)
				if was, there := state[fmt.Sprint(after.ID)]; there {
					t.Errorf("%s: the row was there: %q", text, was)
				}
				state[fmt.Sprint(after.ID)] = after.V
			}
		}
	}
	if err := scan.Err(); err != nil {
		t.Fatal(err)
	}
	return len(seen), state
}

type oneSecret string

func (s oneSecret) Secret(context.Context, mayfly.AppName, string) (string, error) {
	return string(s), nil
}

// scribe is a function that writes down what it is told.
type scribe struct{ f *os.File }

func (s scribe) Call(_ context.Context, c *trigger.Call) ([]byte, error) {
	_, err := s.f.Write(append(append([]byte(nil), c.Event...), '\n'))
	return nil, err
}

// followForEver is the node.
func followForEver(t *testing.T, dir, dsn string) {
	f, err := os.OpenFile(filepath.Join(dir, "told"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	tr := mayfly.Trigger{Table: "main.t", Batch: 20}
	m := &mayfly.Manifest{
		App: "a", Databases: map[string]*mayfly.Database{"main": {Engine: "postgres", DSN: "DSN"}},
		Functions: map[mayfly.FunctionName]*mayfly.Function{"f": {On: []mayfly.Trigger{tr}}},
	}
	var d *Driver
	db := sql.New(sql.Config{Dir: dir, Authz: allowAll{}, Secrets: oneSecret(dsn), Watch: 100 * time.Millisecond, Changed: func(app mayfly.AppName, name string) { d.Wake(app, name) }})
	d = New(Config{Source: db, Invoker: scribe{f}, Poll: 50 * time.Millisecond, Aside: func(context.Context, *trigger.Binding, string, []byte) error { return nil }})
	ctx := context.Background()
	if err := db.Apply(ctx, []*mayfly.Manifest{m}); err != nil {
		t.Fatal(err)
	}
	if err := d.Apply(ctx, []trigger.Binding{{App: "a", Function: "f", Trigger: tr, Spec: m.Functions["f"], Manifest: m}}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ready"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() { _ = d.Run(ctx) }()
	_ = db.Run(ctx)
}
