package identity

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

func openTrail(t *testing.T, dir string) *Trail {
	t.Helper()
	trail, err := OpenTrail(TrailConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return trail
}

func query(t *testing.T, trail *Trail, w Wanted) []Entry {
	t.Helper()
	if w.Limit == 0 {
		w.Limit = 100
	}
	out, err := trail.Query(w)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestTrail asks as functions do, restarts, and finds what was decided.
func TestTrail(t *testing.T) {
	dir := t.TempDir()
	trail := openTrail(t, dir)
	a := NewAuthorizer(trail.Record)
	if err := a.Apply([]*mayfly.Manifest{manifest("photos", "read kv/*")}); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for range 3 {
		_ = a.Authorize(ctx, function("photos", "f"), "photos", "read", "kv", "x")
	}
	_ = a.Authorize(ctx, function("photos", "f"), "photos", "write", "kv", "x")
	_ = a.Authorize(ctx, mayfly.Caller{Kind: mayfly.CallerPlatform}, "photos", "write", "kv", "x")
	check := func(when string) {
		t.Helper()
		all := query(t, trail, Wanted{App: "photos"})
		if len(all) != 2 {
			t.Fatalf("%s: %+v", when, all)
		}
		refused, allowed := all[0], all[1]
		if refused.Allowed || refused.Verb != "write" || refused.Count != 1 || !strings.Contains(refused.Reason, `add "write kv/x"`) {
			t.Errorf("%s: refused: %+v", when, refused)
		}
		if !allowed.Allowed || allowed.Count != 3 || allowed.Grant != "read kv/*" || allowed.Function != "f" || allowed.To.Before(allowed.From) {
			t.Errorf("%s: allowed: %+v", when, allowed)
		}
	}
	check("in memory")
	if err := trail.Flush(time.Now()); err != nil {
		t.Fatal(err)
	}
	check("written")
	trail = openTrail(t, dir)
	check("after a restart")
	for want, w := range map[int]Wanted{
		1: {Refused: true}, 0: {App: "other"}, 2: {Function: "f", Kind: "kv", Name: "x"},
	} {
		if got := query(t, trail, w); len(got) != want {
			t.Errorf("%+v: %d, want %d", w, len(got), want)
		}
	}
	if got := query(t, trail, Wanted{Since: time.Now().Add(time.Hour)}); len(got) != 0 {
		t.Errorf("of the future: %+v", got)
	}
	if got := query(t, trail, Wanted{Limit: 1}); len(got) != 1 {
		t.Errorf("one: %+v", got)
	}
}

// TestTrailOutlivesAKill leaves a trail as a kill does, between any two of its
// writes.
func TestTrailOutlivesAKill(t *testing.T) {
	dir := t.TempDir()
	trail := openTrail(t, dir)
	record := func(name string, times int) {
		for range times {
			trail.Record(Decision{Time: time.Now(), Who: function("photos", "f"), App: "photos", Verb: "read", Kind: "kv", Name: name})
		}
	}
	note := func() {
		t.Helper()
		if err := trail.note(); err != nil {
			t.Fatal(err)
		}
	}
	counts := func() string {
		t.Helper()
		var out []string
		for _, e := range query(t, trail, Wanted{}) {
			out = append(out, fmt.Sprint(e.Name, e.Count))
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	record("a", 2)
	note()
	record("a", 1)
	record("b", 1)
	note()
	record("c", 1) // lost
	trail = openTrail(t, dir)
	if got := counts(); got != "a3 b1" {
		t.Errorf("after a kill: %s", got)
	}
	record("a", 5)
	note()
	noted, err := os.ReadFile(trail.open())
	if err != nil {
		t.Fatal(err)
	}
	if err := trail.Flush(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(trail.open(), append(noted, "{cut off"...), 0o600); err != nil { // killed before it was emptied
		t.Fatal(err)
	}
	trail = openTrail(t, dir)
	if got := counts(); got != "a3 a5 b1" {
		t.Errorf("after a kill between two files: %s", got)
	}
	record("a", 1)
	note()
	if got := counts(); got != "a1 a3 a5 b1" {
		t.Errorf("after a start: %s", got)
	}
}

// BenchmarkTrailNote is the note of a second in which all counts changed.
func BenchmarkTrailNote(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			trail, err := OpenTrail(TrailConfig{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				for i := range n {
					trail.Record(Decision{Time: time.Now(), Who: function("photos", "f"), App: "photos", Verb: "read", Kind: "kv", Name: fmt.Sprint(i)})
				}
				if err := errors.Join(trail.note(), trail.settled()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestTrailOutlivesACutOffLine is a kill in the middle of a write.
func TestTrailOutlivesACutOffLine(t *testing.T) {
	dir := t.TempDir()
	trail := openTrail(t, dir)
	trail.Record(Decision{Time: time.Now(), Who: function("a", "f"), App: "a", Verb: "read", Kind: "kv", Name: "x"})
	if err := trail.Flush(time.Now()); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	f, err := os.OpenFile(files[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString(`{"from":"20`)
	_ = f.Close()
	again := openTrail(t, dir)
	if got := query(t, again, Wanted{}); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	again.Record(Decision{Time: time.Now(), Who: function("a", "f"), App: "a", Verb: "write", Kind: "kv", Name: "y"})
	if err := again.Flush(time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := query(t, openTrail(t, dir), Wanted{Name: "y"}); len(got) != 1 {
		t.Errorf("what was written next: %+v", got)
	}
}

func TestTrailIsBounded(t *testing.T) {
	trail := openTrail(t, t.TempDir())
	now := time.Now()
	for i := range maxCounts + 500 {
		trail.Record(Decision{Time: now, Who: function("a", "f"), App: "a", Verb: "read", Kind: "kv", Name: fmt.Sprint(i)})
	}
	if n := len(trail.counts); n > maxCounts+1 {
		t.Errorf("%d are counted", n)
	}
	if got := query(t, trail, Wanted{Name: "(one of many)"}); len(got) != 1 || got[0].Count != 500 {
		t.Errorf("the others: %+v", got)
	}
	for _, day := range []string{"2001-01-01", now.UTC().Format(dayFormat)} {
		if err := os.WriteFile(trail.file(day), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := trail.Flush(now); err != nil {
		t.Fatal(err)
	}
	if parts, _ := trail.parts(); len(parts) != 1 {
		t.Errorf("kept %v", parts)
	}
}

// TestTrailIsNoLargerThanSaid fills several files, of which the newest stay.
func TestTrailIsNoLargerThanSaid(t *testing.T) {
	trail := openTrail(t, t.TempDir())
	trail.cfg.Size = 32 << 10
	now := time.Now()
	const rounds = 400
	for i := range rounds {
		trail.Record(Decision{Time: now.Add(time.Duration(i)), Who: function("a", "f"), App: "a", Verb: "read", Kind: "kv", Name: fmt.Sprint(i)})
		if err := trail.Flush(now); err != nil {
			t.Fatal(err)
		}
	}
	var size int64
	parts, _ := trail.parts()
	for _, part := range parts {
		info, err := os.Stat(trail.file(part))
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size > trail.cfg.Size || size < trail.cfg.Size/2 || len(parts) < 10 {
		t.Errorf("%d bytes in %v", size, parts)
	}
	got := query(t, trail, Wanted{Limit: rounds})
	if len(got) == rounds || len(got) < 10 {
		t.Fatalf("%d entries", len(got))
	}
	for i, e := range got {
		if e.Name != fmt.Sprint(rounds-1-i) {
			t.Fatalf("entry %d is %+v", i, e)
		}
	}
}

func BenchmarkTrail(b *testing.B) {
	trail, err := OpenTrail(TrailConfig{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	d := Decision{Time: time.Now(), Who: function("a", "f"), App: "a", Verb: "read", Kind: "kv", Name: "x", Allowed: true, Grant: "read kv/x"}
	for b.Loop() {
		trail.Record(d)
	}
}
