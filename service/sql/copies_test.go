package sql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/identity"
	"github.com/mayfly-cloud/mayfly/service/bucket"
)

func copied(folder string) *mayfly.Manifest {
	m := app(map[string]string{"1_t.sql": "create table t (id integer primary key, v text)"})
	m.Databases["main"].Copies = folder
	m.Functions["f"].On = []mayfly.Trigger{{Table: "main.t"}}
	return m
}

// started is a service with its loops, and its database, which Run revives.
func started(t *testing.T, m *mayfly.Manifest, change func(*Config)) *Driver {
	t.Helper()
	d := open(t, m, change)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	for end := time.Now().Add(60 * time.Second); d.reviving("a", "main"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the database still waits")
		}
	}
	return d
}

// moment is a time at which all that was written is in the copies.
func moment(t *testing.T, d *Driver) time.Time {
	t.Helper()
	c := d.database("a", "main").copies.Load()
	var err error
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = c.db.SyncAndWait(t.Context()); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Millisecond) // copies have milliseconds
	at := time.Now()
	time.Sleep(5 * time.Millisecond)
	return at
}

func rowsOf(t *testing.T, d *Driver) string {
	t.Helper()
	r, err := d.Query(admin, "a", "main", &Statement{SQL: "select id, v from t order by id"})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(r.Rows)
}

func write(t *testing.T, d *Driver, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := d.Query(admin, "a", "main", &Statement{SQL: s}); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestCopies(t *testing.T) {
	folder := t.TempDir()
	first := started(t, copied(folder), nil)
	write(t, first, "insert into t values (1, 'a')")
	before := moment(t, first)
	write(t, first, "update t set v = 'b'", "insert into t values (2, 'c')", "create index i on t (v)")
	after := moment(t, first)
	url := serve(t, first)
	restore := func(at time.Time) {
		t.Helper()
		res, err := http.Post(url+"restore", "application/json", strings.NewReader(`{"at": "`+at.Format(time.RFC3339Nano)+`"}`))
		if err != nil || res.StatusCode/100 != 2 {
			t.Fatalf("restore: %v %v", res, err)
		}
		_ = res.Body.Close()
	}
	last, err := first.Position(t.Context(), "a", "main", "f")
	if err != nil || last != 3 {
		t.Fatalf("position %d %v", last, err)
	}
	restore(before)
	if got := rowsOf(t, first); got != "[[1 a]]" {
		t.Errorf("before: %s", got)
	}
	if changes, upTo, err := first.Changes(t.Context(), "a", "main", "t", nil, 0, 10); len(changes) != 0 || err != nil {
		t.Errorf("a restore is told: %v %d %v", changes, upTo, err)
	}
	write(t, first, "insert into t values (5, 'e')")
	if changes, _, err := first.Changes(t.Context(), "a", "main", "t", nil, last, 10); len(changes) != 1 || changes[0].Position <= last {
		t.Errorf("after the restore: %v %v", changes, err)
	}
	restore(after) // what was undone is still there
	if got := rowsOf(t, first); got != "[[1 b] [2 c]]" {
		t.Errorf("after: %s", got)
	}
	if err := first.Apply(t.Context(), []*mayfly.Manifest{copied(folder)}); err != nil {
		t.Errorf("deployed again: %v", err)
	}
	t.Run("as a file", func(t *testing.T) { fileOf(t, url, before) })
	t.Run("of a time without copies", func(t *testing.T) {
		if _, err := first.database("a", "main").asOf(t.Context(), before.Add(-time.Hour)); mayfly.CodeOf(err) != mayfly.NotFound {
			t.Error(err)
		}
	})
	t.Run("nobody writes litestream's tables", func(t *testing.T) {
		if _, err := first.Query(admin, "a", "main", &Statement{SQL: "delete from _litestream_seq"}); mayfly.CodeOf(err) != mayfly.Denied {
			t.Error(err)
		}
	})
	_ = moment(t, first)
	if left, _ := os.ReadDir(first.cfg.Tmp); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	t.Run("on another machine", func(t *testing.T) {
		_ = first.Close()
		second := started(t, copied(folder), nil)
		if got := rowsOf(t, second); got != "[[1 b] [2 c]]" {
			t.Errorf("revived: %s", got)
		}
		write(t, second, "insert into t values (9, 'z')")
		at := moment(t, second)
		write(t, second, "delete from t")
		if err := second.database("a", "main").restore(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		if got := rowsOf(t, second); got != "[[1 b] [2 c] [9 z]]" {
			t.Errorf("copied on: %s", got)
		}
	})
}

// TestCopiesInABucket copies to a real S3 service.
func TestCopiesInABucket(t *testing.T) {
	m := copied("bucket/b")
	m.Buckets = map[string]*mayfly.Bucket{"b": {}}
	authz := identity.NewAuthorizer(nil)
	if err := authz.Apply([]*mayfly.Manifest{m}); err != nil {
		t.Fatal(err)
	}
	objects, err := bucket.Open(bucket.Config{Dir: t.TempDir(), Authz: authz})
	if err != nil {
		t.Skipf("buckets cannot be opened here: %v", err)
	}
	if err := objects.Apply(t.Context(), []*mayfly.Manifest{m}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	loops.Go(func() { _ = objects.Run(ctx) })
	loops.Go(func() { objects.ServePublic(l) })
	t.Cleanup(func() { cancel(); _ = objects.Close(); _ = l.Close(); loops.Wait() })
	inBuckets := func(c *Config) {
		c.Buckets = func(app mayfly.AppName, name string) Bucket {
			key := objects.Admin()
			return Bucket{"http://" + l.Addr().String(), bucket.Region, string(app) + "." + name, key.Access, key.Secret}
		}
	}
	first := started(t, m, inBuckets)
	write(t, first, "insert into t values (1, 'a')")
	at := moment(t, first)
	write(t, first, "update t set v = 'b'")
	_ = moment(t, first)
	if err := first.database("a", "main").restore(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	if got := rowsOf(t, first); got != "[[1 a]]" {
		t.Errorf("restored: %s", got)
	}
	_ = moment(t, first)
	_ = first.Close()
	if got := rowsOf(t, started(t, m, inBuckets)); got != "[[1 a]]" {
		t.Errorf("revived: %s", got)
	}
}

func fileOf(t *testing.T, base string, at time.Time) {
	res, err := http.Get(base + "backup?at=" + url.QueryEscape(at.Format(time.RFC3339Nano)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	path := filepath.Join(t.TempDir(), "then.db")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, res.Body); err != nil || f.Close() != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%d %v", res.StatusCode, err)
	}
	c, err := connect(t.Context(), path, true, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := c.own(t.Context(), "select v from t")
	if err != nil || fmt.Sprint(r.Rows) != "[[a]]" {
		t.Errorf("%v %v", r, err)
	}
}

// TestCopiesAreReadFromTheStartOn lets a node begin whose database has no file
// while its copies cannot be read: they may be in a bucket that answers once it
// runs.
func TestCopiesAreReadFromTheStartOn(t *testing.T) {
	m := copied("bucket/backups")
	m.Buckets = map[string]*mayfly.Bucket{"backups": {}}
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := open(t, m, func(c *Config) {
		c.Buckets = func(mayfly.AppName, string) Bucket {
			return Bucket{"http://" + l.Addr().String(), bucket.Region, "a.backups", "k", "s"}
		}
	})
	if _, err := d.Query(admin, "a", "main", &Statement{SQL: "select 1"}); mayfly.CodeOf(err) != mayfly.Unavailable {
		t.Errorf("before it runs: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	c, err := l.Accept() // it asks for the copies now
	if err != nil {
		t.Fatal(err)
	}
	other := &mayfly.Manifest{App: "b", Databases: map[string]*mayfly.Database{"main": {}}}
	if err := d.Apply(t.Context(), []*mayfly.Manifest{m, other}); err != nil || d.database("b", "main") == nil {
		t.Errorf("another app is deployed meanwhile: %v", err)
	}
	if err := d.Apply(t.Context(), []*mayfly.Manifest{other}); err != nil {
		t.Errorf("an app is gone whose database waits: %v", err)
	}
	_ = c.Close()
	cancel()
	if <-done; d.reviving("a", "main") {
		t.Error("a database of no app waits")
	}
}

// TestCopiesThatEndedDoNotBegin ends copies that another manifest replaced before
// they were begun.
func TestCopiesThatEndedDoNotBegin(t *testing.T) {
	d := started(t, copied(t.TempDir()), nil)
	c, err := d.newCopies("a", "main", &mayfly.Database{Copies: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.stop(), c.start(t.Context()), c.stop()); err != nil {
		t.Error(err)
	}
	if c.runs {
		t.Error("it copies, and nobody ends it")
	}
}

func TestCopiesCheck(t *testing.T) {
	d := open(t, app(nil), nil)
	for to, ok := range map[string]bool{"/var/backups": true, "bucket/b": true, "bucket/gone": false, "backups": false} {
		m := copied(to)
		m.Buckets = map[string]*mayfly.Bucket{"b": nil}
		if err := d.Check(m); (err == nil) != ok {
			t.Errorf("%s: %v", to, err)
		}
	}
}

// TestCopiesOfAnOlderFile begins with a file from a backup, which is older than
// what was copied since.
func TestCopiesOfAnOlderFile(t *testing.T) {
	folder := t.TempDir()
	first := started(t, copied(folder), nil)
	write(t, first, "insert into t values (1, 'a')")
	_ = moment(t, first)
	old := t.TempDir()
	if err := first.Copies(t.Context(), func(name string, f *os.File) error {
		to := filepath.Join(old, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		b, err := io.ReadAll(f)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, 0o600)
	}); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		write(t, first, fmt.Sprintf("insert into t values (%d, 'lost')", 10+i))
		_ = moment(t, first)
	}
	_ = first.Close()
	second := started(t, copied(folder), func(c *Config) { c.Dir = old })
	if got := rowsOf(t, second); got != "[[1 a]]" {
		t.Fatalf("the backup's file: %s", got)
	}
	write(t, second, "insert into t values (2, 'b')")
	at := moment(t, second)
	write(t, second, "delete from t")
	_ = moment(t, second)
	if err := second.database("a", "main").restore(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	if got := rowsOf(t, second); got != "[[1 a] [2 b]]" {
		t.Errorf("restored: %s", got)
	}
}
