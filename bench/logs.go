package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	printedLines   = 1_000_000
	linesPerCall   = 2_000
	printers       = 40 // functions of one instance, which may print 5,000 lines/s and a burst
	printingAtOnce = 8
)

// pythonPrinter prints lines as functions do: plain ones, an error now and then,
// and JSON. probe prints when it printed.
const pythonPrinter = `
import json, sys, time
def handler(event, context):
    for i in range(event["from"], event["from"] + event["n"]):
        if i % 5 == 4:
            print(json.dumps({"level": "info", "message": "order accepted", "order": i, "user": {"id": i % 1000}}))
        elif i % 50 == 7:
            print(f"ERROR order {i} refused by the bank")
        else:
            print(f"handled item {i} in {i % 97} ms")
    return context.aws_request_id

def probe(event, context):
    print(json.dumps({"probe": "json", "ns": time.time_ns()}), flush=True)
    print("probe plain", time.time_ns(), flush=True)
`

// benchLogs lets functions print a million lines, follows others meanwhile, and
// searches what was kept.
func benchLogs(ctx context.Context, s *session, t *table) error {
	functions := []function{{name: "probe", needs: "python3", manifest: "runtime: python\nsource: ./probe\nhandler: app.probe", files: map[string]string{"app.py": pythonPrinter}}}
	for i := range printers {
		name := "printer-" + strconv.Itoa(i)
		functions = append(functions, function{name: name, needs: "python3", manifest: "runtime: python\nsource: ./" + name + "\nhandler: app.handler\nconcurrency: {max: 1}", files: map[string]string{"app.py": pythonPrinter}})
	}
	if functions = s.present(functions, t); len(functions) == 0 {
		return nil
	}
	app, err := s.writeApp(ctx, "logs", functions, "timeout: 60s")
	if err != nil {
		return err
	}
	n, err := s.startNode(ctx, app, s.dir+"/logs-data")
	if err != nil {
		return err
	}
	defer n.stop()
	b := &logsBench{node: n, table: t}
	if err := b.follow(ctx, "tail, nothing else printed", func(ctx context.Context) error { pause(ctx, 5*time.Second); return nil }); err != nil {
		return err
	}
	if err := b.follow(ctx, "tail, beside the million", b.print); err != nil {
		return err
	}
	return b.search(ctx)
}

type logsBench struct {
	node  *node
	table *table
	calls []string // ids, one of each printer's last calls
}

// call calls a function and returns its reply, a JSON text.
func (b *logsBench) call(ctx context.Context, fn string, event any) (reply string, err error) {
	body, err := json.Marshal(event)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.node.Gateway+"/_fn/logs/"+fn, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+b.node.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answered %s", fn, res.Status)
	}
	err = json.NewDecoder(res.Body).Decode(&reply)
	return reply, err
}

// print has a million lines printed, and waits until they are kept.
func (b *logsBench) print(ctx context.Context) error {
	began := time.Now()
	var next atomic.Int64
	var workers sync.WaitGroup
	errs := make(chan error, printingAtOnce)
	ids := make([]string, printers)
	var mu sync.Mutex
	for range printingAtOnce {
		workers.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= printedLines/linesPerCall {
					return
				}
				id, err := b.call(ctx, "printer-"+strconv.Itoa(int(i%printers)), map[string]any{"from": i * linesPerCall, "n": linesPerCall})
				if err != nil {
					errs <- err
					return
				}
				mu.Lock()
				ids[i%printers] = id
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	b.calls = ids
	select {
	case err := <-errs:
		return err
	default:
	}
	kept, dropped, err := b.settled(ctx, began)
	if err != nil {
		return err
	}
	row := b.table.row("a million lines printed")
	row.add("kept/s", "", float64(kept)/time.Since(began).Seconds())
	row.add("kept", "", float64(kept))
	var health struct {
		Shed struct{ Lines int64 } `json:"shed"`
		Disk struct{ Lines int64 } `json:"disk_bytes"`
	}
	if err := b.node.client().Do(ctx, http.MethodGet, "/v1/telemetry", nil, &health); err != nil {
		return err
	}
	row.add("bytes a line on disk", "", float64(health.Disk.Lines)/float64(kept))
	if dropped+health.Shed.Lines > 0 {
		b.table.note("%d lines were dropped by the flood limit and %d shed", dropped, health.Shed.Lines)
	}
	return nil
}

// settled counts the lines that are kept, which all say that something is done,
// once all are there or the number stands still.
func (b *logsBench) settled(ctx context.Context, since time.Time) (kept, dropped int64, err error) {
	for last := int64(-1); ; pause(ctx, 500*time.Millisecond) {
		if kept, err = b.count(ctx, url.Values{"stream": {"stdout"}, "text": {"ed"}, "since": {since.UTC().Format(time.RFC3339Nano)}}); err != nil {
			return 0, 0, err
		}
		if kept >= printedLines || kept == last {
			break
		}
		last = kept
	}
	var out struct{ Lines []struct{ Text string } }
	err = b.node.client().Do(ctx, http.MethodGet, "/v1/logs?stream=platform&text=were+dropped&limit=10000", nil, &out)
	for _, l := range out.Lines {
		var n int64
		if _, err := fmt.Sscanf(l.Text, "%d lines", &n); err == nil {
			dropped += n
		}
	}
	return kept, dropped, err
}

// count is how many lines there are, by the histogram.
func (b *logsBench) count(ctx context.Context, q url.Values) (n int64, err error) {
	var out struct {
		Buckets []struct{ Debug, Info, Warn, Error, Other int64 }
	}
	err = b.node.client().Do(ctx, http.MethodGet, "/v1/logs/histogram?"+q.Encode(), nil, &out)
	for _, bucket := range out.Buckets {
		n += bucket.Debug + bucket.Info + bucket.Warn + bucket.Error + bucket.Other
	}
	return n, err
}

// follow measures how old lines are when a reader of the tail sees them, while
// something goes on.
func (b *logsBench) follow(ctx context.Context, label string, during func(context.Context) error) error {
	following, stop := context.WithCancel(ctx)
	defer stop()
	ages := map[string]*histogram{"JSON": {}, "plain": {}}
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		var once sync.Once
		ended <- b.node.client().Lines(following, http.MethodGet, "/v1/logs/tail?function=probe&stream=stdout", "", nil, func(raw []byte) error {
			seen := time.Now()
			kind, printed := probed(raw)
			if printed.IsZero() {
				return nil
			}
			once.Do(func() { close(ready) })
			ages[kind].add(seen.Sub(printed))
			return nil
		})
	}()
	probing, stopProbing := context.WithCancel(following)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for probing.Err() == nil {
			// One that fails is no measurement.
			_, _ = b.call(probing, "probe", map[string]any{})
			pause(probing, 50*time.Millisecond)
		}
	}()
	select {
	case <-ready:
	case err := <-ended:
		stopProbing()
		<-done
		return fmt.Errorf("follow lines: %w", err)
	}
	err := during(ctx)
	stopProbing()
	<-done
	pause(ctx, time.Second) // the last lines are on their way
	stop()
	<-ended
	for _, kind := range []string{"JSON", "plain"} {
		row := b.table.row(label + ", " + kind)
		row.add("lines", "", float64(ages[kind].total))
		row.times(ages[kind])
	}
	return err
}

// probed is the kind of a probe's line and when it was printed.
func probed(raw []byte) (kind string, at time.Time) {
	var line struct {
		Text   string
		Fields struct{ NS int64 }
	}
	if json.Unmarshal(raw, &line) != nil {
		return "", at
	}
	if line.Fields.NS > 0 {
		return "JSON", time.Unix(0, line.Fields.NS)
	}
	if text, ok := strings.CutPrefix(line.Text, "probe plain "); ok {
		if ns, err := strconv.ParseInt(text, 10, 64); err == nil {
			return "plain", time.Unix(0, ns)
		}
	}
	return "", at
}

// search asks for lines and calls in all the ways that people do.
func (b *logsBench) search(ctx context.Context) error {
	id := b.calls[len(b.calls)-1]
	var call struct {
		Trace struct {
			ID string `json:"trace_id"`
		}
		Start time.Time
	}
	if err := b.node.client().Do(ctx, http.MethodGet, "/v1/invocations/"+id, nil, &call); err != nil {
		return err
	}
	for _, q := range []struct{ label, path string }{
		{"last 200 lines", "/v1/logs"},
		{"last 200 errors of a function", "/v1/logs?function=printer-1&level=error"},
		{"lines of a call", "/v1/logs?invocation=" + id},
		{"a call by its id", "/v1/invocations/" + id},
		{"a trace by its id, with its lines", "/v1/traces/" + call.Trace.ID},
		{"a text that many lines have", "/v1/logs?text=refused+by+the+bank"},
		{"a text that one line has", "/v1/logs?text=order+100007+refused"},
		{"a text that no line has", "/v1/logs?text=there+is+no+such+text"},
		{"a field that one line has", "/v1/logs?field=order%3D100004"},
		{"a text within a second", "/v1/logs?text=refused&since=" + call.Start.Add(-time.Second).UTC().Format(time.RFC3339Nano) + "&until=" + call.Start.UTC().Format(time.RFC3339Nano)},
		{"count of all lines by time and level", "/v1/logs/histogram?since=1h"},
	} {
		for range 5 {
			began := time.Now()
			if err := b.node.client().Do(ctx, http.MethodGet, q.path, nil, nil); err != nil {
				return fmt.Errorf("%s: %w", q.label, err)
			}
			b.table.row(q.label).add("took", "ms", millis(time.Since(began)))
		}
	}
	return nil
}
