package kv

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/service"
	"github.com/mayfly-cloud/mayfly/service/servicetest"
)

// TestKilledWriter kills a process that writes, several times, and finds every
// write that was acknowledged, and a change for each.
func TestKilledWriter(t *testing.T) {
	acknowledged := map[string]string{}
	dir := servicetest.Kill(t, 50, 250, writeForEver, func(line string) {
		key, value, ok := strings.Cut(line, " ")
		if !ok {
			t.Errorf("the writer says %q", line)
		}
		acknowledged[key] = value
	}, nil)
	if len(acknowledged) < 100 {
		t.Fatalf("%d writes", len(acknowledged))
	}
	var mu sync.Mutex
	told := map[string]string{}
	d := newDriver(t, openEngine(t, dir), func(c *Config) {
		c.Changed = func(_ context.Context, change service.KVChange) error {
			mu.Lock()
			defer mu.Unlock()
			told[change.Key] = string(change.Value.Data)
			return nil
		}
	})
	for key, value := range acknowledged {
		if got := get(t, d, "heard", key); got != value {
			t.Errorf("%s holds %q, acknowledged was %q", key, got, value)
		}
	}
	run(t, d)
	eventually(t, "every change", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for key, value := range acknowledged {
			if told[key] != value {
				return false
			}
		}
		return true
	})
}

// writeForEver puts values from several goroutines and says each that was
// acknowledged.
func writeForEver(dir, round string) {
	e, err := engine.Open(context.Background(), engine.Config{Dir: dir})
	servicetest.Must(err)
	d := New(Config{
		Open: logs(e), Authz: allowAll{},
		Changed: func(context.Context, service.KVChange) error { return nil }, // nobody runs it: it is told later
	})
	servicetest.Must(d.Apply(context.Background(), []*mayfly.Manifest{app("a")}))
	var said sync.Mutex
	for worker := range 4 {
		go func() {
			for i := 0; ; i++ {
				key, value := fmt.Sprintf("%s-%d-%d", round, worker, i), fmt.Sprint("v", i)
				_, err := d.Commit(context.Background(), "a", "heard", []Op{{Kind: Put, Key: key, Value: []byte(value)}})
				servicetest.Must(err)
				said.Lock()
				fmt.Println(key, value)
				said.Unlock()
			}
		}()
	}
	select {}
}
