package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

const usageManifest = `
app: shop
functions:
  py: {runtime: python, source: ./py, handler: app.handler, memory: 192MiB}
  js: {runtime: node, source: ./js, handler: index.handler, memory: 256MiB, concurrency: {per_instance: 4}}
`

var usageFiles = map[string]string{
	"mayfly.yaml": usageManifest,
	"py/app.py":   "def handler(event, context):\n    if event['fail']:\n        raise ValueError('declined')\n    return 'x' * event['n']\n",
	"js/index.js": "exports.handler = async (event) => { if (event.fail) throw new Error('declined'); return 'x'.repeat(event.n); };\n",
}

// used is what calls used, as the client counts it.
type used struct {
	Requests int64 `json:"requests"`
	Errors   int64 `json:"errors"`
	Millis   int64 `json:"billed_ms"`
	KiBms    int64 `json:"kib_ms"`
	CPU      int64 `json:"cpu_ns"`
	BytesIn  int64 `json:"bytes_in"`
	BytesOut int64 `json:"bytes_out"`
}

// TestUsageIsExact makes mixed calls, of which the client counts requests,
// failures and bytes, and the records tell the times; then it kills the node
// while further calls run, and compares with the ledger. MAYFLY_USAGE_CALLS
// says how many calls; the default is small.
func TestUsageIsExact(t *testing.T) {
	needs(t, "python3", "node")
	total := 600
	if s := os.Getenv("MAYFLY_USAGE_CALLS"); s != "" {
		var err error
		if total, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	dir, data := app(t, usageFiles), t.TempDir()
	n := start(t, data, "dev", dir)
	began := time.Now()
	counted := n.mixed(total)
	t.Logf("%d calls in %s", counted.Requests, time.Since(began).Round(time.Millisecond))
	n.addRecords(&counted)
	n.kill()

	n = start(t, data, "dev", dir)
	if got := n.used(); got != counted {
		t.Errorf("after a kill the ledger has\n%+v, the client counted\n%+v", got, counted)
	}

	// Killed under load: each call that was answered is in the ledger, and
	// nothing that was not sent.
	var sent, answered atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for {
				sent.Add(1)
				r, err := n.try("POST", "/_fn/shop/py", `{"fail":false,"n":3}`, "Authorization", "Bearer "+n.Token)
				if err != nil || r.status != http.StatusOK {
					return
				}
				answered.Add(1)
			}
		})
	}
	eventually(t, "calls are answered", func() bool { return answered.Load() > 200 })
	n.kill()
	clients.Wait()
	n = start(t, data, "dev", dir)
	got := n.used().Requests - counted.Requests
	if got < answered.Load() || got > sent.Load() {
		t.Errorf("%d calls in the ledger; %d were answered and %d sent", got, answered.Load(), sent.Load())
	}
	t.Logf("killed under load: %d answered, %d in the ledger, %d sent", answered.Load(), got, sent.Load())
}

// mixed makes calls by eight clients and counts them.
func (n *node) mixed(total int) used {
	n.t.Helper()
	var next atomic.Int64
	var mu sync.Mutex
	var sum used
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= total {
					return
				}
				fn, fail := []string{"py", "js"}[i%2], i%7 == 3
				event := fmt.Sprintf(`{"fail":%t,"n":%d,"pad":%q}`, fail, i%300, strings.Repeat("p", i%100))
				r, err := n.try("POST", "/_fn/shop/"+fn, event, "Authorization", "Bearer "+n.Token)
				if want := map[bool]int{true: http.StatusBadGateway, false: http.StatusOK}[fail]; err != nil || r.status != want {
					n.t.Errorf("call %d: %d %s %v", i, r.status, r.body, err)
					return
				}
				mu.Lock()
				sum.Requests++
				sum.BytesIn += int64(len(event))
				if fail {
					sum.Errors++
				} else {
					sum.BytesOut += int64(len(r.body))
				}
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	return sum
}

// addRecords adds the times that the records of all calls tell.
func (n *node) addRecords(sum *used) {
	n.t.Helper()
	seen := map[string]bool{}
	for until := ""; ; {
		var page struct{ Invocations []*mayfly.Invocation }
		if err := n.client().Do(n.t.Context(), "GET", "/v1/invocations?app=shop&limit=10000&until="+url.QueryEscape(until), nil, &page); err != nil {
			n.t.Fatal(err)
		}
		fresh := 0
		for _, inv := range page.Invocations {
			if seen[inv.ID] {
				continue
			}
			seen[inv.ID] = true
			fresh++
			ms := int64((inv.Billed + time.Millisecond - 1) / time.Millisecond)
			sum.Millis += ms
			sum.KiBms += ms * int64(inv.Memory/mayfly.KiB)
			sum.CPU += int64(inv.CPU)
		}
		if fresh == 0 {
			break
		}
		until = page.Invocations[0].Start.Add(1).Format(time.RFC3339Nano)
	}
	if len(seen) != int(sum.Requests) {
		n.t.Errorf("%d records of %d calls", len(seen), sum.Requests)
	}
}

// used is what the ledger has.
func (n *node) used() used {
	n.t.Helper()
	var reply struct{ Rows []struct{ Usage used } }
	if err := n.client().Do(n.t.Context(), "GET", "/v1/usage?app=shop&by=app&since=24h", nil, &reply); err != nil {
		n.t.Fatal(err)
	}
	if len(reply.Rows) != 1 {
		n.t.Fatalf("%d rows", len(reply.Rows))
	}
	return reply.Rows[0].Usage
}
