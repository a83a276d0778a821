package servicetest

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
)

// childVariable tells the process that writes its folder, roundVariable the
// round.
const (
	childVariable = "MAYFLY_TEST_WRITER"
	roundVariable = "MAYFLY_TEST_ROUND"
)

// rounds is how often the writer is killed.
const rounds = 5

// Kill runs the calling test in another process, where write writes below dir
// until it is killed, and prints a line for each write that was acknowledged,
// whose keys begin with round. The process is killed after some of least to most
// lines, five times; said is told each line, and after, where it is not nil, of
// each end. Kill returns the folder.
func Kill(t *testing.T, least, most int, write func(dir, round string), said func(line string), after func(dir string)) (dir string) {
	t.Helper()
	if dir := os.Getenv(childVariable); dir != "" {
		write(dir, os.Getenv(roundVariable))
		os.Exit(1) // a writer writes for ever
	}
	dir = t.TempDir()
	for round := range rounds {
		killed(t, dir, round, least+rand.IntN(most-least), said)
		if after != nil {
			after(dir)
		}
	}
	return dir
}

func killed(t *testing.T, dir string, round, lines int, said func(string)) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), childVariable+"="+dir, fmt.Sprintf("%s=%d", roundVariable, round))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for r := bufio.NewReader(out); ; {
		line, err := r.ReadString('\n')
		if err != nil { // a line that was cut off is none
			break
		}
		said(line[:len(line)-1])
		if lines--; lines == 0 {
			_ = cmd.Process.Kill() // what it said before is read
		}
	}
	_ = cmd.Wait()
	if lines > 0 {
		t.Errorf("round %d: the writer ended by itself", round)
	}
}

// Must ends a writer that cannot write.
func Must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
