package kv

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/service"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

type allowAll struct{}

func (allowAll) Authorize(context.Context, mayfly.Caller, mayfly.AppName, string, string, string) error {
	return nil
}

func openEngine(t testing.TB, dir string) *engine.Engine {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func logs(e *engine.Engine) func(context.Context, int) (Log, error) {
	return func(ctx context.Context, i int) (Log, error) { return e.Log(ctx, engine.LogName("KV", i)) }
}

// app declares the stores s (plain), ttl, small (a quota) and heard (a trigger).
func app(name string) *mayfly.Manifest {
	return &mayfly.Manifest{
		App: mayfly.AppName(name),
		KV: map[string]*mayfly.KV{
			"s": {}, "ttl": {TTL: mayfly.Duration(time.Hour)}, "small": {Quota: 1000}, "heard": {},
		},
		Functions: map[mayfly.FunctionName]*mayfly.Function{"f": {On: []mayfly.Trigger{{KV: "heard"}}}},
	}
}

func newDriver(t testing.TB, e *engine.Engine, change func(*Config)) *Driver {
	t.Helper()
	cfg := Config{Open: logs(e), Authz: allowAll{}}
	if change != nil {
		change(&cfg)
	}
	d := New(cfg)
	if err := d.Apply(t.Context(), []*mayfly.Manifest{app("a"), app("b")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range d.shards {
			s.wait()
		}
	})
	return d
}

func run(t testing.TB, d *Driver) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func put(t testing.TB, d *Driver, store, key, value string) uint64 {
	t.Helper()
	r, err := d.Commit(t.Context(), "a", store, []Op{{Kind: Put, Key: key, Value: []byte(value)}})
	if err != nil {
		t.Fatal(err)
	}
	return r[0].Revision
}

func get(t testing.TB, d *Driver, store, key string) string {
	t.Helper()
	v, err := d.Get(t.Context(), "a", store, key)
	if mayfly.CodeOf(err) == mayfly.NotFound {
		return "-"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(v.Data)
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("never happened: " + what)
}

func TestPutGetDelete(t *testing.T) {
	d := newDriver(t, openEngine(t, t.TempDir()), nil)
	if got := get(t, d, "s", "k"); got != "-" {
		t.Fatalf("before: %q", got)
	}
	r1 := put(t, d, "s", "k", "one")
	r2 := put(t, d, "s", "k", "")
	if r2 <= r1 || get(t, d, "s", "k") != "" {
		t.Errorf("revisions %d, %d; value %q", r1, r2, get(t, d, "s", "k"))
	}
	res, err := d.Commit(t.Context(), "a", "s", []Op{{Kind: Delete, Key: "k"}})
	if err != nil || !res[0].Found || get(t, d, "s", "k") != "-" {
		t.Errorf("delete: %+v %v", res, err)
	}
	if res, err := d.Commit(t.Context(), "a", "s", []Op{{Kind: Delete, Key: "k"}}); err != nil || res[0].Found {
		t.Errorf("delete again: %+v %v", res, err)
	}
	if _, err := d.Get(t.Context(), "b", "s", "k"); mayfly.CodeOf(err) != mayfly.NotFound {
		t.Errorf("another app's store: %v", err)
	}
	if _, err := d.Get(t.Context(), "a", "nope", "k"); mayfly.CodeOf(err) != mayfly.NotFound || !strings.Contains(err.Error(), "kv:") {
		t.Errorf("an undeclared store: %v", err)
	}
}

func TestConditions(t *testing.T) {
	d := newDriver(t, openEngine(t, t.TempDir()), nil)
	at := func(rev uint64) []Op { return []Op{{Kind: Put, Key: "k", Value: []byte("x"), If: &rev}} }
	first, err := d.Commit(t.Context(), "a", "s", at(0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Commit(t.Context(), "a", "s", at(0)); mayfly.CodeOf(err) != mayfly.Conflict {
		t.Errorf("create of what is there: %v", err)
	}
	if _, err := d.Commit(t.Context(), "a", "s", at(first[0].Revision)); err != nil {
		t.Error(err)
	}
	if _, err := d.Commit(t.Context(), "a", "s", at(first[0].Revision)); mayfly.CodeOf(err) != mayfly.Conflict {
		t.Errorf("an old revision: %v", err)
	}
}

func TestBatchIsAllOrNothing(t *testing.T) {
	d := newDriver(t, openEngine(t, t.TempDir()), nil)
	rev, zero := put(t, d, "s", "a", "1"), uint64(0)
	_, err := d.Commit(t.Context(), "a", "s", []Op{
		{Kind: Put, Key: "b", Value: []byte("2")}, {Kind: Delete, Key: "a"}, {Kind: Check, Key: "a", If: &rev},
	})
	if mayfly.CodeOf(err) != mayfly.Conflict || get(t, d, "s", "a") != "1" || get(t, d, "s", "b") != "-" {
		t.Errorf("a failed batch left a=%q b=%q, %v", get(t, d, "s", "a"), get(t, d, "s", "b"), err)
	}
	res, err := d.Commit(t.Context(), "a", "s", []Op{
		{Kind: Check, Key: "a", If: &rev}, {Kind: Put, Key: "n", Value: []byte("4")}, {Kind: Increment, Key: "n", By: 3},
		{Kind: Delete, Key: "a"}, {Kind: Check, Key: "a", If: &zero},
	})
	if err != nil || res[2].Number != 7 || get(t, d, "s", "n") != "7" || get(t, d, "s", "a") != "-" {
		t.Errorf("got %+v, %v", res, err)
	}
}

func TestIncrement(t *testing.T) {
	d := newDriver(t, openEngine(t, t.TempDir()), nil)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				if _, err := d.Commit(context.Background(), "a", "s", []Op{{Kind: Increment, Key: "n", By: 1}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := get(t, d, "s", "n"); got != "400" {
		t.Errorf("400 increments made %s", got)
	}
	put(t, d, "s", "text", "x")
	for key, by := range map[string]int64{"text": 1, "n": 1<<63 - 1} {
		if _, err := d.Commit(t.Context(), "a", "s", []Op{{Kind: Increment, Key: key, By: by}}); mayfly.CodeOf(err) != mayfly.Conflict {
			t.Errorf("%s + %d: %v", key, by, err)
		}
	}
}

func TestList(t *testing.T) {
	d := newDriver(t, openEngine(t, t.TempDir()), nil)
	for i := range 25 {
		put(t, d, "s", fmt.Sprintf("user/%02d", i), "x")
	}
	put(t, d, "s", "user", "x")
	put(t, d, "s", "zebra", "x")
	var got []string
	after := ""
	for {
		page, next, err := d.List(t.Context(), "a", "s", "user/", after, 10, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			if string(e.Data) != "x" {
				t.Errorf("%s holds %q", e.Key, e.Data)
			}
			got = append(got, e.Key)
		}
		if after = next; next == "" {
			break
		}
	}
	if len(got) != 25 || got[0] != "user/00" || got[24] != "user/24" {
		t.Errorf("got %v", got)
	}
}

func TestTimeToLive(t *testing.T) {
	d := newDriver(t, openEngine(t, t.TempDir()), nil)
	run(t, d)
	short, forever := 20*time.Millisecond, time.Duration(0)
	_, err := d.Commit(t.Context(), "a", "ttl", []Op{
		{Kind: Put, Key: "short", Value: []byte("x"), TTL: &short}, {Kind: Put, Key: "standard"}, {Kind: Put, Key: "forever", TTL: &forever},
	})
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := d.Get(t.Context(), "a", "ttl", "standard"); time.Until(v.Expires) < 50*time.Minute {
		t.Errorf("the store's time to live: %v", v.Expires)
	}
	if v, _ := d.Get(t.Context(), "a", "ttl", "forever"); !v.Expires.IsZero() {
		t.Errorf("for ever: %v", v.Expires)
	}
	eventually(t, "the short value is gone", func() bool { return get(t, d, "ttl", "short") == "-" })
	eventually(t, "it is swept", func() bool { return d.Stats("a")[3].Keys == 2 })
}

func TestQuotaAndLimits(t *testing.T) {
	d := newDriver(t, openEngine(t, t.TempDir()), nil)
	put(t, d, "small", "k", strings.Repeat("x", 900))
	commit := func(op Op) mayfly.Code {
		_, err := d.Commit(t.Context(), "a", "small", []Op{op})
		return mayfly.CodeOf(err)
	}
	negative := -time.Second
	for name, c := range map[string]struct {
		op   Op
		want mayfly.Code
	}{
		"over quota":    {Op{Kind: Put, Key: "l", Value: make([]byte, 200)}, mayfly.Quota},
		"shrink":        {Op{Kind: Put, Key: "k", Value: make([]byte, 890)}, ""},
		"too large":     {Op{Kind: Put, Key: "k", Value: make([]byte, MaxValue+1)}, mayfly.TooLarge},
		"empty key":     {Op{Kind: Put, Key: ""}, mayfly.Invalid},
		"long key":      {Op{Kind: Put, Key: strings.Repeat("k", MaxKey+1)}, mayfly.Invalid},
		"not UTF-8":     {Op{Kind: Put, Key: "\xff"}, mayfly.Invalid},
		"negative life": {Op{Kind: Put, Key: "k", TTL: &negative}, mayfly.Invalid},
	} {
		if got := commit(c.op); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if _, err := d.Commit(t.Context(), "a", "s", make([]Op, MaxBatch+1)); mayfly.CodeOf(err) != mayfly.Invalid {
		t.Errorf("a large batch: %v", err)
	}
}

// TestQuotaOfAnApp fills two stores, which are on two shards, of an app.
func TestQuotaOfAnApp(t *testing.T) {
	quotas := service.NewQuotas()
	a := app("a")
	a.Quota = 1000
	all := []*mayfly.Manifest{a, app("b")}
	if err := quotas.Apply(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	e := openEngine(t, t.TempDir())
	d := newDriver(t, e, func(c *Config) { c.Quotas = quotas })
	put(t, d, "s", "k", strings.Repeat("x", 599))
	if room, _ := quotas.Room("a"); room != 400 {
		t.Errorf("room: %d", room)
	}
	grow := func(app mayfly.AppName, size int) error {
		_, err := d.Commit(t.Context(), app, "heard", []Op{{Kind: Put, Key: "k", Value: make([]byte, size)}})
		return err
	}
	if err := grow("a", 400); mayfly.CodeOf(err) != mayfly.Quota || !strings.Contains(err.Error(), "kv/s 600B") {
		t.Errorf("beyond the app's quota: %v", err)
	}
	if err := grow("a", 399); err != nil {
		t.Errorf("up to the app's quota: %v", err)
	}
	if err := grow("a", 300); err != nil {
		t.Errorf("less than before: %v", err)
	}
	if err := grow("b", 5000); err != nil {
		t.Errorf("an app without one: %v", err)
	}
	if _, err := d.Commit(t.Context(), "a", "s", []Op{{Kind: Delete, Key: "k"}}); err != nil {
		t.Fatal(err)
	}
	if room, _ := quotas.Room("a"); room != 699 {
		t.Errorf("room after a delete: %d", room)
	}
	again := service.NewQuotas()
	if err := again.Apply(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	newDriver(t, e, func(c *Config) { c.Quotas = again })
	if room, _ := again.Room("a"); room != 699 {
		t.Errorf("room after a restart: %d", room)
	}
}

// TestAgainstAMap does random things to the service and to a map, with values
// that memory cannot hold all, a log that is cleaned often, and restarts.
func TestAgainstAMap(t *testing.T) {
	dir := t.TempDir()
	e := openEngine(t, dir)
	small := func(c *Config) { c.Memory, c.Slack = 8*Shards*mayfly.KiB, 64*mayfly.KiB }
	d := newDriver(t, e, small)
	want := map[string]string{}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 3000 {
		key := fmt.Sprint("k", rng.IntN(60))
		if rng.IntN(4) == 0 {
			delete(want, key)
			if _, err := d.Commit(t.Context(), "a", "s", []Op{{Kind: Delete, Key: key}}); err != nil {
				t.Fatal(err)
			}
		} else {
			want[key] = strings.Repeat(fmt.Sprint(i, "."), rng.IntN(300))
			put(t, d, "s", key, want[key])
		}
		if i%1000 == 999 {
			for _, s := range d.shards {
				s.wait()
			}
			d = newDriver(t, e, small)
			compare(t, d, want)
		}
	}
	s := d.shardOf("a/s")
	s.wait()
	if s.total > 1<<20 {
		t.Errorf("the log holds %d bytes", s.total)
	}
	if s.mem.cached > 8<<10 {
		t.Errorf("memory holds %d bytes of values", s.mem.cached)
	}
}

func compare(t *testing.T, d *Driver, want map[string]string) {
	t.Helper()
	page, _, err := d.List(t.Context(), "a", "s", "", "", 1000, true)
	if err != nil || len(page) != len(want) {
		t.Fatalf("%d keys, want %d: %v", len(page), len(want), err)
	}
	for _, e := range page {
		if want[e.Key] != string(e.Data) {
			t.Fatalf("%s holds %d bytes, want %d", e.Key, len(e.Data), len(want[e.Key]))
		}
	}
}

func TestChangesHaveBeforeAndAfter(t *testing.T) {
	e := openEngine(t, t.TempDir())
	var mu sync.Mutex
	var got []service.KVChange
	var causes []mayfly.Trace
	var hops []int
	broken := true
	d := newDriver(t, e, func(c *Config) {
		c.Changed = func(ctx context.Context, change service.KVChange) error {
			mu.Lock()
			defer mu.Unlock()
			if broken && len(got) == 1 {
				return errors.New("not now")
			}
			got, causes = append(got, change), append(causes, mayfly.TraceFrom(ctx))
			hops = append(hops, mayfly.HopsFrom(ctx))
			return nil
		}
	})
	run(t, d)
	seen := func(n int) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == n }
	}
	put(t, d, "heard", "k", "one")
	eventually(t, "the first change", seen(1))
	put(t, d, "heard", "k", "two")
	put(t, d, "s", "k", "unheard")
	cause := mayfly.NewTrace()
	if _, err := d.Commit(mayfly.WithHops(mayfly.WithTrace(t.Context(), cause), 3), "a", "heard", []Op{{Kind: Delete, Key: "k"}}); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	broken = false
	mu.Unlock()
	eventually(t, "all changes after a failure", seen(3))
	text := func(v *service.KVValue) string {
		if v == nil {
			return "-"
		}
		return string(v.Data)
	}
	for i, want := range []string{"put - one", "put one two", "delete two -"} {
		if c := got[i]; c.Event+" "+text(c.Old)+" "+text(c.Value) != want || c.Key != "k" || c.Time.IsZero() {
			t.Errorf("change %d: %+v", i, c)
		}
	}
	if hops[2] != 3 || hops[1] != 0 {
		t.Errorf("the changes went through %v functions", hops)
	}
	if got := causes[2]; got.ID != cause.ID || got.Span != cause.Span || causes[1].ID != "" {
		t.Errorf("the deletion goes on in %+v, not in %+v; the put before, which had no cause, in %+v", got, cause, causes[1])
	}
}

// TestChangesOutliveARestart stops before delivery and cleans meanwhile.
func TestChangesOutliveARestart(t *testing.T) {
	e := openEngine(t, t.TempDir())
	got := map[string]int{}
	var mu sync.Mutex
	with := func(c *Config) {
		c.Slack = mayfly.KiB
		c.Changed = func(_ context.Context, change service.KVChange) error {
			mu.Lock()
			defer mu.Unlock()
			got[string(change.Value.Data)]++
			return nil
		}
	}
	first := newDriver(t, e, with)
	for i := range 100 {
		put(t, first, "heard", "k", fmt.Sprint(i))
		put(t, first, "heard", "big", strings.Repeat("x", 200))
	}
	for _, s := range first.shards {
		s.wait()
	}
	run(t, newDriver(t, e, with))
	eventually(t, "all changes", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == 101 })
	mu.Lock()
	n := len(got)
	mu.Unlock()
	if n != 101 {
		t.Errorf("%d changes", n)
	}
}

func TestWatch(t *testing.T) {
	d := newDriver(t, openEngine(t, t.TempDir()), nil)
	events, stop, err := d.Watch("a", "s", "x/")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	put(t, d, "s", "y/1", "no")
	put(t, d, "s", "x/1", "yes")
	if e := <-events; e.Key != "x/1" || e.Deleted || string(e.Value.Data) != "yes" {
		t.Errorf("got %+v", e)
	}
	for i := range watchBuffer + 1 {
		put(t, d, "s", "x/1", fmt.Sprint(i))
	}
	n := 0
	for range events {
		n++
	}
	if n != watchBuffer {
		t.Errorf("a slow watcher got %d events before its end", n)
	}
}

// failing is a log whose appends fail, after they were written or before.
type failing struct {
	Log
	before, after bool
}

func (f *failing) Append(ctx context.Context, record []byte) (uint64, error) {
	if f.before {
		return 0, errors.New("no disk")
	}
	seq, err := f.Log.Append(ctx, record)
	if f.after {
		return 0, errors.New("no answer")
	}
	return seq, err
}

func TestAppendFailures(t *testing.T) {
	e := openEngine(t, t.TempDir())
	f := &failing{}
	d := newDriver(t, e, func(c *Config) {
		c.Open = func(ctx context.Context, i int) (Log, error) {
			log, err := logs(e)(ctx, i)
			if i != New(*c).shardOf("a/s").index {
				return log, err
			}
			f.Log = log
			return f, err
		}
	})
	put(t, d, "s", "k", "one")
	wait := d.shardOf("a/s").wait
	try := func() error {
		wait()
		_, err := d.Commit(t.Context(), "a", "s", []Op{{Kind: Increment, Key: "n", By: 1}})
		wait()
		return err
	}
	f.before = true
	if err := try(); err == nil || get(t, d, "s", "n") != "-" {
		t.Errorf("not written: %v, %q", err, get(t, d, "s", "n"))
	}
	f.before, f.after = false, true
	if err := try(); err == nil || get(t, d, "s", "n") != "-" {
		t.Errorf("written without an answer: %v, %q", err, get(t, d, "s", "n"))
	}
	f.after = false
	if err := try(); err != nil || get(t, d, "s", "n") != "2" {
		t.Errorf("the write without answer counts once: %v, %q", err, get(t, d, "s", "n"))
	}
}

func TestKeyList(t *testing.T) {
	var l keyList
	want := map[string]bool{}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		key := fmt.Sprint(rng.IntN(5000))
		if rng.IntN(3) == 0 {
			delete(want, key)
			l.remove(key)
		} else {
			want[key] = true
			l.add(key)
		}
	}
	last, n := "", 0
	l.from("", func(k string) bool {
		if k <= last || !want[k] {
			t.Fatalf("%q after %q", k, last)
		}
		last = k
		n++
		return true
	})
	if n != len(want) {
		t.Errorf("%d keys, want %d", n, len(want))
	}
}

func FuzzDecodeRecord(f *testing.F) {
	record := beginRecord(time.UnixMilli(5))
	for _, op := range []operation{
		{kind: opPut, changed: true, revision: 7, expires: 9, store: "a/s", key: "k", mime: "m", value: []byte("v"), old: []byte("o"), oldMIME: "n", oldRev: 3, cause: "00-1-2-01", hops: 4},
		{kind: opDelete, revision: 8, store: "a/s", key: "k"}, {kind: opCursor, revision: 6},
	} {
		record = appendOp(record, &op)
	}
	f.Add(record)
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var at time.Time
		var again []byte
		err := decodeRecord(b, func(op *operation) error {
			if again == nil {
				at = op.time
				again = beginRecord(at)
			}
			again = appendOp(again, op)
			return nil
		})
		if err != nil || again == nil {
			return
		}
		n := 0
		if err := decodeRecord(again, func(*operation) error { n++; return nil }); err != nil || n == 0 {
			t.Errorf("what was decoded does not encode: %v", err)
		}
	})
}

func BenchmarkPut(b *testing.B) {
	for _, durability := range []engine.Durability{engine.Always, engine.Fast} {
		for _, writers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d", durability, writers), func(b *testing.B) {
				e, err := engine.Open(context.Background(), engine.Config{Dir: b.TempDir(), Durability: durability})
				if err != nil {
					b.Fatal(err)
				}
				defer e.Close()
				d := newDriver(b, e, nil)
				b.SetParallelism(writers)
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						_, err := d.Commit(context.Background(), "a", "s", []Op{{Kind: Put, Key: fmt.Sprint(rand.IntN(1000)), Value: make([]byte, 100)}})
						if err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
	}
}

func BenchmarkGet(b *testing.B) {
	d := newDriver(b, openEngine(b, b.TempDir()), nil)
	put(b, d, "s", "k", "value")
	for b.Loop() {
		_, _ = d.Get(context.Background(), "a", "s", "k")
	}
}
