package async

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// Environment of the test binary when it is the daemon that is killed.
const (
	childDir  = "MAYFLY_TEST_ASYNC_DIR"
	childFrom = "MAYFLY_TEST_ASYNC_FROM" // number of the first event; "" sends none
)

// child runs the daemon that TestKill kills, where the environment says so. It
// sends numbered events without end and prints those that were accepted; each
// event's first attempt fails if its number divides by three. What ran is
// appended to the file "ran".
func child() bool {
	dir := os.Getenv(childDir)
	if dir == "" {
		return false
	}
	ran, err := os.OpenFile(filepath.Join(dir, "ran"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	fns := functions{}
	for i := range 5 {
		fns[mayfly.FunctionName(fmt.Sprint("f", i))] = retries(1000)
	}
	t := &childT{TB: new(testing.T)}
	r := start(t, filepath.Join(dir, "data"), fns, func(_ context.Context, c *trigger.Call) ([]byte, error) {
		if n, _ := strconv.Atoi(string(c.Event)); n%3 == 0 && c.Attempt == 1 {
			return nil, &mayfly.FunctionError{Message: "first attempt"}
		}
		_, err := fmt.Fprintf(ran, "%s\n", c.Event) // one write: whole lines
		return nil, err
	})
	from, err := strconv.Atoi(os.Getenv(childFrom))
	if err != nil {
		for len(r.cfg.Store.Lanes()) > 0 {
			time.Sleep(time.Millisecond)
		}
		r.stop()
		return true
	}
	for worker := range 8 {
		go func() {
			for n := from + worker; ; n += 8 {
				r.enqueue(t, mayfly.FunctionName(fmt.Sprint("f", n%5)), fmt.Sprint(n))
				fmt.Fprintf(os.Stdout, "%d\n", n)
			}
		}()
	}
	select {}
}

// childT lets the helpers of tests be used outside of a test.
type childT struct{ testing.TB }

func (*childT) Helper()           {}
func (*childT) Cleanup(func())    {}
func (*childT) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// Nothing that was accepted is lost when the process is killed at any moment.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	accepted := map[string]bool{}
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		for _, n := range runAndKill(t, dir, round*1_000_000, 200+round*311) {
			accepted[n] = true
		}
	}
	finish := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	finish.Env = append(os.Environ(), childDir+"="+dir)
	if out, err := finish.CombinedOutput(); err != nil {
		t.Fatalf("the last start: %v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "ran"))
	if err != nil {
		t.Fatal(err)
	}
	ran := map[string]int{}
	for line := range strings.Lines(string(text)) {
		ran[strings.TrimSpace(line)]++
	}
	twice := 0
	for n := range accepted {
		switch ran[n] {
		case 0:
			t.Errorf("event %s was accepted and never ran", n)
		case 1:
		default:
			twice++
		}
	}
	t.Logf("%d accepted, %d ran more than once", len(accepted), twice)
	if len(accepted) == 0 {
		t.Error("nothing was accepted")
	}
}

// runAndKill lets the daemon accept some events, kills it, and returns them.
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
		t.Fatalf("the daemon ended by itself after %d events", len(accepted))
	}
	return accepted
}
