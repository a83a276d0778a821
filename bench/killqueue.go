package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// What flows through the queue while the daemon is killed at random.
const (
	killRounds = 20
	killRate   = 5100 // messages a second: each round takes a moment to connect
	killBatch  = 10   // in one request, and in one call
)

// failing fails every fifth message once and every hundredth always. What it did
// it writes to a key-value store, a key for each call: what no other call has,
// and the numbers.
const failing = `
const http = require("http");
const agent = new http.Agent({ keepAlive: true });
const base = process.env.MAYFLY_ENDPOINT + "/v1/apps/killqueue/kv/done/keys/";
const put = (key) => new Promise((resolve, reject) => {
  const r = http.request(base + key, { method: "PUT", agent, headers: { "content-type": "text/plain" } }, (res) => {
    res.resume();
    res.on("end", () => res.statusCode < 300 ? resolve() : reject(new Error("status " + res.statusCode)));
  });
  r.on("error", reject);
  r.end("1");
});
exports.handler = async (event, context) => {
  const failed = [], done = [];
  for (const r of event.Records) {
    const n = JSON.parse(r.body).n;
    if (n % 100 === 0 || n % 5 === 0 && r.attributes.ApproximateReceiveCount === "1") failed.push({ itemIdentifier: r.messageId });
    else done.push(n);
  }
  if (done.length) await put(context.awsRequestId + "." + done.join("."));
  return { batchItemFailures: failed };
};
`

func benchKillQueue(ctx context.Context, s *session, t *table) error {
	f := function{name: "failing", label: "node", needs: "node",
		manifest: "runtime: node\nsource: ./failing\nhandler: index.handler\nallow: [write kv/done]\nconcurrency: {per_instance: 64, max: 1}",
		files:    map[string]string{"index.js": failing}}
	if len(s.present([]function{f}, t)) == 0 {
		return nil
	}
	app, err := s.writeApp(ctx, "killqueue", []function{f}, "")
	if err != nil {
		return err
	}
	if err := extend(app, f.name, fmt.Sprintf("{queue: jobs, batch: %d}", killBatch), "queues: {jobs: {attempts: 3, backoff: 10ms..100ms}}\nkv: {done: {}}\n"); err != nil {
		return err
	}
	k := &killedQueue{accepted: map[int]bool{}}
	data := app + "-data"
	for range killRounds {
		n, err := s.startNode(ctx, app, data)
		if err != nil {
			return err
		}
		k.sendUntilKilled(ctx, n)
	}
	began := time.Now()
	n, err := s.startNode(ctx, app, data)
	if err != nil {
		return err
	}
	defer n.stop()
	if err := k.untilEmpty(ctx, n); err != nil {
		return err
	}
	row := t.row(fmt.Sprintf("killed %d times", killRounds))
	row.add("sent/s", "", float64(k.offered)/k.sending.Seconds())
	row.add("accepted/s", "", float64(len(k.accepted))/k.sending.Seconds())
	row.add("accepted", "", float64(len(k.accepted)))
	if err := k.judge(ctx, n, row); err != nil {
		return err
	}
	row.add("all ended after", "ms", millis(time.Since(began)))
	t.note("A message is sent once, %d in a request; the function fails every fifth once and every hundredth always. Lost is what was accepted and is neither done nor a dead letter.", killBatch)
	return nil
}

// killedQueue is what was sent and accepted over all rounds.
type killedQueue struct {
	first   int           // number of the next round's first request
	offered int           // messages in requests that were begun
	sending time.Duration // in all rounds, up to the kill

	mu       sync.Mutex
	accepted map[int]bool // guarded by mu; message numbers
}

// sendUntilKilled sends at the rate for one to four seconds, kills the daemon
// under it, and notes what it had accepted.
func (k *killedQueue) sendUntilKilled(ctx context.Context, n *node) {
	sending, stop := context.WithCancel(ctx)
	requests := 0
	p := pace{addr: hostOf(n.API), rate: killRate / killBatch}
	p.request = func(i int) []byte {
		var body strings.Builder
		for j := range killBatch {
			fmt.Fprintf(&body, `,{"body":{"n":%d}}`, (k.first+i)*killBatch+j)
		}
		k.mu.Lock()
		requests = max(requests, i+1)
		k.mu.Unlock()
		return post("/v1/apps/killqueue/queues/jobs/messages", n.authorization(), []byte(`{"messages":[`+body.String()[1:]+`]}`))
	}
	p.reply = func(i int, _ time.Time, r *reply, err error) {
		if err != nil || r.status/100 != 2 {
			return
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		for j := range killBatch {
			k.accepted[(k.first+i)*killBatch+j] = true
		}
	}
	began := time.Now()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.run(sending)
	}()
	pause(ctx, time.Second+rand.N(3*time.Second))
	n.kill()
	k.sending += time.Since(began)
	k.mu.Lock()
	k.offered += requests * killBatch
	k.mu.Unlock()
	stop()
	<-ended
	k.first += requests
}

// untilEmpty waits until no message waits any more, or none has ended for a
// minute.
func (k *killedQueue) untilEmpty(ctx context.Context, n *node) error {
	for last, moved := -1, time.Now(); ; pause(ctx, 200*time.Millisecond) {
		var info struct{ Messages int }
		if err := n.client().Do(ctx, "GET", "/v1/apps/killqueue/queues/jobs", nil, &info); err != nil {
			return err
		}
		if info.Messages == 0 {
			return nil
		}
		if info.Messages != last {
			last, moved = info.Messages, time.Now()
		}
		if time.Since(moved) > time.Minute || ctx.Err() != nil {
			return fmt.Errorf("%d messages do not end\n%s", info.Messages, n.log)
		}
	}
}

// judge compares what was accepted with what was done and what is dead.
func (k *killedQueue) judge(ctx context.Context, n *node, row *row) error {
	done := map[int]int{}
	if err := n.keys(ctx, "killqueue", "done", func(key string) {
		for number := range strings.SplitSeq(key[strings.IndexByte(key, '.')+1:], ".") {
			if id, err := strconv.Atoi(number); err == nil {
				done[id]++
			}
		}
	}); err != nil {
		return err
	}
	dead, err := k.dead(ctx, n)
	if err != nil {
		return err
	}
	lost, twice, buried := 0, 0, 0
	for id := range k.accepted {
		switch {
		case dead[id]:
			buried++
		case done[id] == 0 || id%100 == 0: // the function never did one of these
			lost++
		}
		if done[id] > 1 {
			twice++
		}
	}
	row.add("lost", "", float64(lost))
	row.add("dead", "", float64(buried))
	row.add("done twice", "", float64(twice))
	return nil
}

// dead are the numbers of the messages that are dead letters.
func (k *killedQueue) dead(ctx context.Context, n *node) (map[int]bool, error) {
	var out struct {
		Letters []struct{ Body json.RawMessage } `json:"dead_letters"`
	}
	if err := n.client().Do(ctx, "GET", "/v1/apps/killqueue/dead-letters?limit=10000&source="+url.QueryEscape("queue/jobs"), nil, &out); err != nil {
		return nil, err
	}
	dead := map[int]bool{}
	for _, l := range out.Letters {
		var m struct{ Body struct{ N int } }
		if err := json.Unmarshal(l.Body, &m); err != nil {
			return nil, err
		}
		dead[m.Body.N] = true
	}
	return dead, nil
}
