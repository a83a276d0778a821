package main

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// kills is how often the daemon is killed while it is under load.
const kills = 3

// recorder writes one key for each execution of an event into a key-value store:
// the event's number, and what no other execution has.
const recorder = `
import json, os, urllib.request, uuid
endpoint = os.environ["MAYFLY_ENDPOINT"]
def handler(event, context):
    key = "%08d.%s" % (event["n"], uuid.uuid4().hex)
    request = urllib.request.Request(endpoint + "/v1/apps/kill/kv/seen/keys/" + key, data=b"1", method="PUT", headers={"Content-Type": "text/plain"})
    urllib.request.urlopen(request, timeout=20).read()
    return {}
`

func benchKill(ctx context.Context, s *session, t *table) error {
	f := function{name: "recorder", label: "python", needs: "python3",
		manifest: "runtime: python\nsource: ./recorder\nhandler: app.handler\nallow: [write kv/seen]\nconcurrency: {max: 4}",
		files:    map[string]string{"app.py": recorder}}
	if len(s.present([]function{f}, t)) == 0 {
		return nil
	}
	app, err := s.writeApp(ctx, "kill", []function{f}, "")
	if err != nil {
		return err
	}
	if err := writeFile(app+"/mayfly.yaml", readText(app+"/mayfly.yaml")+"kv: {seen: {}}\n"); err != nil {
		return err
	}
	data := s.dir + "/kill-data"
	var sent atomic.Int64
	accepted := map[int]bool{}
	for range kills {
		n, err := s.startNode(ctx, app, data)
		if err != nil {
			return err
		}
		s.sendUntilKilled(ctx, n, &sent, accepted)
	}
	began := time.Now()
	n, err := s.startNode(ctx, app, data)
	if err != nil {
		return err
	}
	defer n.stop()
	executed, err := n.untilExecuted(ctx, accepted)
	if err != nil {
		return err
	}
	row := t.row(fmt.Sprintf("killed %d times", kills))
	row.add("accepted", "", float64(len(accepted)))
	lost, twice := 0, 0
	for id := range accepted {
		if executed[id] == 0 {
			lost++
		}
		if executed[id] > 1 {
			twice++
		}
	}
	row.add("lost", "", float64(lost))
	row.add("executed twice", "", float64(twice))
	row.add("done after", "ms", millis(time.Since(began)))
	return nil
}

// sendUntilKilled sends events for three seconds, kills the daemon under them,
// and notes which it had accepted.
func (s *session) sendUntilKilled(ctx context.Context, n *node, sent *atomic.Int64, accepted map[int]bool) {
	var mu sync.Mutex
	ctx, cancel := context.WithCancel(ctx)
	numbers := make([]int, 4)
	l := load{addr: n.gateway(), connections: len(numbers)}
	l.request = func(conn, _ int) []byte {
		numbers[conn] = int(sent.Add(1))
		return post("/_fn/kill/recorder?async=1", n.authorization(), fmt.Appendf(nil, `{"n":%d}`, numbers[conn]))
	}
	l.accept = func(conn int, r *reply) error {
		if r.status != 202 {
			return refused(r)
		}
		mu.Lock()
		defer mu.Unlock()
		accepted[numbers[conn]] = true
		return nil
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run(ctx)
	}()
	pause(ctx, 3*time.Second)
	n.kill()
	cancel()
	<-done
}

// untilExecuted waits until all accepted events were executed, or for as long as
// none has been for 30 s. It returns how often each was.
func (n *node) untilExecuted(ctx context.Context, accepted map[int]bool) (map[int]int, error) {
	last, changed := -1, time.Now()
	for {
		executed, err := n.executions(ctx)
		if err != nil {
			return nil, err
		}
		missing := 0
		for id := range accepted {
			if executed[id] == 0 {
				missing++
			}
		}
		if missing == 0 || missing == last && time.Since(changed) > 30*time.Second {
			return executed, nil
		}
		if missing != last {
			last, changed = missing, time.Now()
		}
		pause(ctx, 200*time.Millisecond)
	}
}

// executions counts the keys of each event in the store.
func (n *node) executions(ctx context.Context) (map[int]int, error) {
	out := map[int]int{}
	err := n.keys(ctx, "kill", "seen", func(key string) {
		var id int
		if _, err := fmt.Sscanf(key, "%d.", &id); err == nil {
			out[id]++
		}
	})
	return out, err
}

// keys visits all keys of a store.
func (n *node) keys(ctx context.Context, app, store string, visit func(key string)) error {
	for after := ""; ; {
		var page struct {
			Keys []struct{ Key string }
			Next string
		}
		path := "/v1/apps/" + app + "/kv/" + store + "/keys?limit=1000&after=" + url.QueryEscape(after)
		if err := n.client().Do(ctx, "GET", path, nil, &page); err != nil {
			return err
		}
		for _, k := range page.Keys {
			visit(k.Key)
		}
		if after = page.Next; after == "" {
			return nil
		}
	}
}
