package queue

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
	"github.com/mayfly-cloud/mayfly/trigger"
	"github.com/mayfly-cloud/mayfly/trigger/triggertest"
)

// Environment of the test binary when it is the daemon that is killed.
const (
	childDir  = "MAYFLY_TEST_QUEUE_DIR"
	childFrom = "MAYFLY_TEST_QUEUE_FROM" // number of the first message; "" sends none
)

// killApp has a queue that is ordered by the field k, and one that is not. The
// function fails every fifth message once, and every hundredth always.
func killApp() *mayfly.Manifest {
	return &mayfly.Manifest{
		App:    "app",
		Queues: map[string]*mayfly.Queue{"plain": {Attempts: 3, Backoff: "1ms..3ms"}, "ordered": {Attempts: 3, Backoff: "1ms..3ms", OrderBy: "k"}},
		Functions: map[mayfly.FunctionName]*mayfly.Function{
			"fn": {On: []mayfly.Trigger{{Queue: "plain", Batch: 10}, {Queue: "ordered", Batch: 10}}},
		},
	}
}

type killMessage struct {
	N int `json:"n"`
	K int `json:"k"`
}

func killFunction(ran *os.File) triggertest.Invoker {
	return func(_ context.Context, c *trigger.Call) ([]byte, error) {
		var e Event
		if err := json.Unmarshal(c.Event, &e); err != nil {
			panic(err)
		}
		var failed []map[string]string
		var lines strings.Builder
		for _, rec := range e.Records {
			var m killMessage
			if err := json.Unmarshal([]byte(rec.Body), &m); err != nil {
				panic(err)
			}
			if m.N%100 == 0 || m.N%5 == 0 && rec.Attributes["ApproximateReceiveCount"] == "1" {
				failed = append(failed, map[string]string{"itemIdentifier": rec.MessageID})
				continue
			}
			fmt.Fprintf(&lines, "%s %d %d\n", rec.EventSourceARN, m.K, m.N)
		}
		if _, err := ran.WriteString(lines.String()); err != nil { // one write: whole lines
			return nil, err
		}
		return json.Marshal(map[string]any{"batchItemFailures": failed})
	}
}

func child() bool {
	dir := os.Getenv(childDir)
	if dir == "" {
		return false
	}
	ran, err := os.OpenFile(filepath.Join(dir, "ran"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	r := start(&childT{TB: new(testing.T)}, filepath.Join(dir, "data"), triggertest.Deploy(killApp()), killFunction(ran))
	from, err := strconv.Atoi(os.Getenv(childFrom))
	if err != nil {
		for len(r.cfg.Store.Lanes()) > 0 {
			time.Sleep(time.Millisecond)
		}
		r.printDead()
		r.Stop()
		return true
	}
	for worker := range 8 {
		go func() {
			for n := from + worker*20; ; n += 8 * 20 {
				r.sendTwenty(n, worker)
			}
		}()
	}
	select {}
}

// sendTwenty sends twenty messages of one key at once, and says so.
func (r *rig) sendTwenty(n, key int) {
	queue := []string{"plain", "ordered"}[key%2]
	var all []*mayfly.Message
	for i := range 20 {
		all = append(all, message(fmt.Sprintf(`{"n":%d,"k":%d}`, n+i, key)))
	}
	r.send(queue, all...)
	fmt.Fprintf(os.Stdout, "%d\n", n)
}

func (r *rig) printDead() {
	letters, err := r.Dead.List(context.Background(), event.DeadFilter{Limit: 1 << 20})
	if err != nil {
		panic(err)
	}
	for _, l := range letters {
		var body struct{ Body killMessage }
		if err := json.Unmarshal(l.Body, &body); err != nil {
			panic(err)
		}
		fmt.Fprintf(os.Stdout, "dead %d\n", body.Body.N)
	}
}

// childT lets the helpers of tests be used outside of a test.
type childT struct{ testing.TB }

func (*childT) Helper()           {}
func (*childT) Cleanup(func())    {}
func (*childT) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// Nothing that was accepted is lost when the process is killed at any moment:
// each message is done or dead in the end, and those of a key in order.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	if n, err := strconv.Atoi(os.Getenv("MAYFLY_KILL_ROUNDS")); err == nil {
		rounds = n
	}
	accepted := map[int]bool{}
	for round := range rounds {
		for _, line := range runAndKill(t, dir, round*10_000_000, 20+rand.IntN(100)) {
			n, err := strconv.Atoi(line)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 20 {
				accepted[n+i] = true
			}
		}
	}
	finish := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	finish.Env = append(os.Environ(), childDir+"="+dir)
	out, err := finish.Output()
	if err != nil {
		t.Fatalf("the last start: %v\n%s", err, out)
	}
	dead := map[int]bool{}
	for line := range strings.Lines(string(out)) {
		var n int
		if _, err := fmt.Sscanf(line, "dead %d", &n); err != nil {
			t.Fatal(line, err)
		}
		dead[n] = true
	}
	done, twice := checkOrder(t, filepath.Join(dir, "ran"))
	for n := range accepted {
		switch {
		case n%100 == 0 && !dead[n]:
			t.Errorf("message %d fails always and is not dead", n)
		case n%100 != 0 && done[n] == 0:
			t.Errorf("message %d was accepted and never done", n)
		}
	}
	t.Logf("%d accepted, %d dead, %d done more than once, in %d rounds", len(accepted), len(dead), twice, rounds)
}

// checkOrder reads what ran, and wants the first time of each message of a key
// of the ordered queue to come in order.
func checkOrder(t *testing.T, file string) (done map[int]int, twice int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	done = map[int]int{}
	last := map[int]int{}
	for line := range strings.Lines(string(text)) {
		var queue string
		var k, n int
		if _, err := fmt.Sscanf(line, "%s %d %d", &queue, &k, &n); err != nil {
			t.Fatal(line, err)
		}
		if done[n]++; done[n] == 2 {
			twice++
		}
		if done[n] == 1 && strings.HasSuffix(queue, "ordered") {
			if n < last[k] {
				t.Errorf("key %d: %d came after %d", k, n, last[k])
			}
			last[k] = n
		}
	}
	return done, twice
}

// runAndKill lets the daemon accept some batches, kills it, and returns them.
func runAndKill(t *testing.T, dir string, from, after int) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+dir, childFrom+"="+fmt.Sprint(from))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var accepted []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		accepted = append(accepted, lines.Text())
		if len(accepted) == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	_ = cmd.Wait()
	if len(accepted) < after {
		t.Fatalf("the daemon ended by itself after %d batches", len(accepted))
	}
	return accepted
}
