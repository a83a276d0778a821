package process

import (
	"os"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
)

// TestGVisor runs a program in gVisor within a cell: another kernel answers it.
func TestGVisor(t *testing.T) {
	if _, err := findRunsc(); err != nil {
		t.Skip(err)
	}
	l := walledLauncher(t, Config{Doors: []Door{greeter()}})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out buffer
	p, err := l.Start(t.Context(), Command{
		Path: "/bin/sh", Args: []string{"-c", "id -u; pwd; cat hello /run/secrets/KEY /proc/version; echo $NAME $ENDPOINT; echo three >&3; ls /tmp; touch /usr/x || exit 7"}, Env: []string{"NAME=value", "PATH=/usr/bin:/bin"},
		Files: []*os.File{w}, Stdout: &out, Stderr: &out,
		Assignment: Assignment{Who: who, Bundle: bundle(t, "hello", "bundled\n"), Secrets: map[string][]byte{"KEY": []byte("secret\n")}, Memory: 256 * mayfly.MiB, Isolation: IsolationGVisor},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	defer p.Close()
	waitDone(t, p)
	b := make([]byte, 100)
	n, _ := r.Read(b)
	got := out.String()
	for _, want := range []string{"0\n", "/var/task\n", "bundled\nsecret\n", "value http"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if host := readAll(t, "/proc/version"); strings.Contains(got, host) {
		t.Errorf("the machine's kernel answers: %s", host)
	}
	if e := p.Ended(); e.Code != 7 || string(b[:n]) != "three\n" {
		t.Errorf("ended as %+v, wrote %q", e, b[:n])
	}
}
