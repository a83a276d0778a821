package kv

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/service"
)

const childVariable = "MAYFLY_TEST_KV_CHILD"

// TestKilledWriter kills a process that writes, several times, and finds every
// write that was acknowledged, and a change for each.
func TestKilledWriter(t *testing.T) {
	if dir := os.Getenv(childVariable); dir != "" {
		writeForEver(dir)
		return
	}
	dir := t.TempDir()
	acknowledged := map[string]string{}
	for round := range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWriter$")
		cmd.Env = append(os.Environ(), childVariable+"="+dir, fmt.Sprint("ROUND=", round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 50 + rand.IntN(200); n > 0 && lines.Scan(); n-- {
			var key, value string
			if _, err := fmt.Sscan(lines.Text(), &key, &value); err != nil {
				t.Errorf("the writer says %q", lines.Text())
				break
			}
			acknowledged[key] = value
		}
		_ = cmd.Process.Kill()
		for lines.Scan() { // what it said before its end
			var key, value string
			if _, err := fmt.Sscan(lines.Text(), &key, &value); err == nil {
				acknowledged[key] = value
			}
		}
		_ = cmd.Wait()
	}
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
func writeForEver(dir string) {
	e, err := engine.Open(context.Background(), engine.Config{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	d := New(Config{
		Open: logs(e), Authz: allowAll{},
		Changed: func(context.Context, service.KVChange) error { return nil }, // nobody runs it: it is told later
	})
	if err := d.Apply(context.Background(), []*mayfly.Manifest{app("a")}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var said sync.Mutex
	for worker := range 4 {
		go func() {
			for i := 0; ; i++ {
				key, value := fmt.Sprintf("%s-%d-%d", os.Getenv("ROUND"), worker, i), fmt.Sprint("v", i)
				if _, err := d.Commit(context.Background(), "a", "heard", []Op{{Kind: Put, Key: key, Value: []byte(value)}}); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				said.Lock()
				fmt.Println(key, value)
				said.Unlock()
			}
		}()
	}
	select {}
}
