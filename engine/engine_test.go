package engine

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, cfg Config) *Engine {
	t.Helper()
	if cfg.Dir == "" && cfg.URL == "" {
		cfg.Dir = t.TempDir()
	}
	e, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func TestIndexReadsItsOwnWrites(t *testing.T) {
	dir := t.TempDir()
	e := open(t, Config{Dir: dir})
	x := e.Index()
	for i := range 50 {
		key := fmt.Sprintf("apps.a%02d", i)
		rev, err := x.Put(t.Context(), key, []byte{byte(i)}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if v, got, ok := x.Get(key); !ok || got != rev || v[0] != byte(i) {
			t.Fatalf("%s reads as %v, revision %d, %v after its write at %d", key, v, got, ok, rev)
		}
	}
	if _, err := x.Put(t.Context(), "apps.a00", nil, 0); mayfly.CodeOf(err) != mayfly.Conflict {
		t.Errorf("a second creation: %v", err)
	}
	if _, err := x.Put(t.Context(), "apps.a00", nil, 7); mayfly.CodeOf(err) != mayfly.Conflict {
		t.Errorf("a stale revision: %v", err)
	}
	if err := x.Delete(t.Context(), "apps.a01", 0); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := x.Get("apps.a01"); ok {
		t.Error("a deleted key is still there")
	}
	if _, err := x.Put(t.Context(), "apps.a01", []byte("again"), 0); err != nil {
		t.Errorf("creation after deletion: %v", err)
	}
	_ = e.Close()

	x = open(t, Config{Dir: dir}).Index()
	var keys []string
	for entry := range x.List("apps.a0") {
		keys = append(keys, entry.Key)
	}
	if len(keys) != 10 || keys[0] != "apps.a00" || keys[9] != "apps.a09" {
		t.Errorf("after a restart the index lists %v", keys)
	}
}

func TestIndexWatchAndHistory(t *testing.T) {
	x := open(t, Config{}).Index()
	var seen []string
	stop := x.Watch("apps.", func(c Change) { seen = append(seen, fmt.Sprintf("%s=%s %v", c.Key, c.Value, c.Deleted)) })
	rev, err := x.Put(t.Context(), "apps.a", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = x.Put(t.Context(), "apps.a", []byte("2"), rev); err != nil {
		t.Fatal(err)
	}
	if _, err = x.Put(t.Context(), "versions.a", []byte("3"), 0); err != nil {
		t.Fatal(err)
	}
	history, err := x.History(t.Context(), "apps.a")
	if err != nil || len(history) != 2 || string(history[0].Value) != "1" {
		t.Errorf("history: %v, %v", history, err)
	}
	if err := x.Delete(t.Context(), "apps.a", 0); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err = x.Put(t.Context(), "apps.b", nil, 0); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(seen, ","); got != "apps.a=1 false,apps.a=2 false,apps.a= true" {
		t.Errorf("watched %s", got)
	}
}

// One of many writers with the same revision wins.
func TestIndexCompareAndSet(t *testing.T) {
	x := open(t, Config{}).Index()
	var wg sync.WaitGroup
	won := make(chan int, 20)
	for i := range 20 {
		wg.Go(func() {
			if _, err := x.Put(t.Context(), "apps.a", []byte{byte(i)}, 0); err == nil {
				won <- i
			} else if mayfly.CodeOf(err) != mayfly.Conflict {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Errorf("%d writers won", len(won))
	}
}

func TestLog(t *testing.T) {
	dir := t.TempDir()
	e := open(t, Config{Dir: dir})
	log, err := e.Log(t.Context(), "QUEUE_0")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		seq, err := log.Append(t.Context(), fmt.Append(nil, i))
		if err != nil || seq != uint64(i+1) {
			t.Fatalf("append: %d, %v", seq, err)
		}
	}
	if err := log.Truncate(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	_ = e.Close()

	log, err = open(t, Config{Dir: dir}).Log(t.Context(), "QUEUE_0")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	err = log.Scan(t.Context(), 0, func(seq uint64, record []byte) error {
		got = append(got, fmt.Sprintf("%d:%s", seq, record))
		return nil
	})
	if want := "4:3 5:4 6:5 7:6 8:7 9:8 10:9"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("scan: %v, %v", got, err)
	}
	if record, err := log.Read(t.Context(), 5); err != nil || string(record) != "4" {
		t.Errorf("read: %s, %v", record, err)
	}
	if _, err := log.Read(t.Context(), 2); mayfly.CodeOf(err) != mayfly.NotFound {
		t.Errorf("read of a truncated record: %v", err)
	}
	if seq, err := log.Append(t.Context(), nil); err != nil || seq != 11 {
		t.Errorf("append after a restart: %d, %v", seq, err)
	}
	if err := log.Truncate(t.Context(), 12); err != nil {
		t.Fatal(err)
	}
	if err := log.Scan(t.Context(), 0, func(uint64, []byte) error { return fmt.Errorf("not empty") }); err != nil {
		t.Error(err)
	}
}

func TestUnknownNamesAreRefused(t *testing.T) {
	e := open(t, Config{})
	if _, err := e.Log(t.Context(), "MINE"); mayfly.CodeOf(err) != mayfly.Internal {
		t.Error(err)
	}
	if _, err := e.Bucket(t.Context(), "mine"); mayfly.CodeOf(err) != mayfly.Internal {
		t.Error(err)
	}
}

func TestFullLogRefuses(t *testing.T) {
	e := open(t, Config{LogLimit: 64 * mayfly.KiB})
	log, err := e.Log(t.Context(), "QUEUE_1")
	if err != nil {
		t.Fatal(err)
	}
	record := bytes.Repeat([]byte("x"), 10<<10)
	accepted := 0
	for ; err == nil && accepted < 100; accepted++ {
		_, err = log.Append(t.Context(), record)
	}
	if mayfly.CodeOf(err) != mayfly.Unavailable || !strings.Contains(err.Error(), "full") {
		t.Fatalf("a full log: %v", err)
	}
	kept := 0
	if err := log.Scan(t.Context(), 0, func(uint64, []byte) error { kept++; return nil }); err != nil || kept != accepted-1 {
		t.Errorf("%d records are kept of %d that were accepted, %v", kept, accepted-1, err)
	}
}

// TestFullDiskRefuses begins no write that could fail: a stream whose write
// failed takes no more before a restart.
func TestFullDiskRefuses(t *testing.T) {
	e := open(t, Config{})
	log, err := e.Log(t.Context(), "QUEUE_1")
	if err != nil {
		t.Fatal(err)
	}
	left := mayfly.Bytes(0)
	e.free = func(string) (mayfly.Bytes, bool) { return left, true }
	_, appended := log.Append(t.Context(), []byte("x"))
	_, put := e.Index().Put(t.Context(), "apps.a", []byte("x"), 0)
	for _, err := range []error{appended, put} {
		if mayfly.CodeOf(err) != mayfly.Unavailable || !strings.Contains(err.Error(), "is full (0B free)") {
			t.Errorf("on a full disk: %v", err)
		}
	}
	left = mayfly.GiB
	if _, err := log.Append(t.Context(), []byte("x")); err != nil {
		t.Errorf("once there is room: %v", err)
	}
}

func TestFolderIsHeldByOne(t *testing.T) {
	dir := t.TempDir()
	e := open(t, Config{Dir: dir})
	_, err := Open(t.Context(), Config{Dir: dir})
	if mayfly.CodeOf(err) != mayfly.Conflict || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("a second use: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, Config{Dir: dir})
}

func TestFolderOfAnotherLayout(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "format"), []byte("mayfly data 99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Config{Dir: dir})
	if mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), "99") {
		t.Fatalf("another layout: %v", err)
	}
}

func TestConfig(t *testing.T) {
	for _, cfg := range []Config{{}, {Dir: "a", URL: "b"}, {Dir: t.TempDir(), Durability: "none"}, {Dir: t.TempDir(), Listen: "here"}} {
		if _, err := Open(t.Context(), cfg); mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	if _, err := Open(t.Context(), Config{URL: "nats://127.0.0.1:1"}); mayfly.CodeOf(err) != mayfly.Unavailable {
		t.Errorf("no server: %v", err)
	}
}

// An external server is reached through the same calls.
func TestExternalServer(t *testing.T) {
	host := open(t, Config{Listen: "127.0.0.1:0", Durability: Fast})
	if host.URL() == "" {
		t.Fatal("no URL")
	}
	guest := open(t, Config{URL: host.URL(), Domain: domain})
	rev, err := guest.Index().Put(t.Context(), "apps.a", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Index().reach(t.Context(), rev); err != nil {
		t.Fatal(err)
	}
	if v, _, ok := host.Index().Get("apps.a"); !ok || string(v) != "1" {
		t.Errorf("the other node reads %s, %v", v, ok)
	}
	log, err := guest.Log(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Append(t.Context(), []byte("x")); err != nil {
		t.Fatal(err)
	}
}

func TestBucketTTL(t *testing.T) {
	b, err := open(t, Config{}).Bucket(t.Context(), "runtime")
	if err != nil {
		t.Fatal(err)
	}
	rev, err := b.PutTTL(t.Context(), "lease.a", []byte("me"), 0, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.PutTTL(t.Context(), "lease.a", []byte("you"), 0, time.Second); mayfly.CodeOf(err) != mayfly.Conflict {
		t.Errorf("a held lease: %v", err)
	}
	if _, err = b.PutTTL(t.Context(), "lease.a", []byte("me"), rev, time.Second); err != nil {
		t.Errorf("a renewal: %v", err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		if _, _, err := b.Get(t.Context(), "lease.a"); mayfly.CodeOf(err) == mayfly.NotFound {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the lease does not end")
		}
		time.Sleep(50 * time.Millisecond)
	}
	if _, err := b.PutTTL(t.Context(), "lease.a", []byte("you"), 0, time.Second); err != nil {
		t.Errorf("a lease that ended: %v", err)
	}
	if keys, err := b.Keys(t.Context(), "lease."); err != nil || len(keys) != 1 {
		t.Errorf("keys: %v, %v", keys, err)
	}
}

func TestCancelledOpenLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if e, err := Open(ctx, Config{Dir: t.TempDir()}); err == nil {
		_ = e.Close()
		t.Error("opened with a context that had ended")
	}
}
