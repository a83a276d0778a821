package process

import (
	"strings"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// reader is a program that prints a secret whenever its content is another.
const reader = `last=; while :; do now=$(cat /run/secrets/KEY); [ "$now" = "$last" ] || { echo "is $now"; last=$now; }; sleep 0.01; done`

func startReader(t *testing.T, l *Launcher, app mayfly.AppName, value string) (*Process, *buffer) {
	t.Helper()
	out := &buffer{}
	cmd := Command{Path: "/bin/sh", Args: []string{"-c", reader}, Env: []string{"PATH=/usr/bin:/bin"}, Stdout: out, Stderr: out}
	cmd.Who = who
	cmd.Who.App = app
	cmd.Secrets = map[string][]byte{"KEY": []byte(value)}
	p, err := l.Start(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, out
}

func await(t *testing.T, out *buffer, want string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if strings.Contains(out.String(), want) {
			return
		}
	}
	t.Fatalf("the program did not print %q but %q", want, out)
}

func TestASecretChangesWhileItsProgramRuns(t *testing.T) {
	everyTier(t, func(t *testing.T, kind string) {
		l := newLauncher(t, Config{Walls: kind})
		p, out := startReader(t, l, "shop", "first")
		_, other := startReader(t, l, "bank", "theirs")
		await(t, out, "is first\n")
		await(t, other, "is theirs\n")
		long := strings.Repeat("x", 40<<10) + "second"
		for _, value := range []string{long, "third"} {
			if err := l.Rotate(t.Context(), "shop", "KEY", []byte(value)); err != nil {
				t.Fatal(err)
			}
			await(t, out, "is "+value+"\n")
		}
		if err := p.Freeze(); err != nil {
			t.Fatal(err)
		}
		if err := l.Rotate(t.Context(), "shop", "KEY", []byte("while frozen")); err != nil {
			t.Fatal(err)
		}
		if err := p.Thaw(); err != nil {
			t.Fatal(err)
		}
		await(t, out, "is while frozen\n")
		// Every value that was seen was whole.
		for line := range strings.Lines(out.String()) {
			switch got := strings.TrimSuffix(line, "\n"); got {
			case "is first", "is " + long, "is third", "is while frozen":
			default:
				t.Errorf("the program read %.60q", got)
			}
		}
		if got := other.String(); got != "is theirs\n" {
			t.Errorf("another app's program read %q", got)
		}
		// One that starts with what was resolved before the change has it too.
		_, late := startReader(t, l, "shop", "first")
		await(t, late, "is while frozen\n")
	})
}

func TestSecretsOfProgramsThatEnded(t *testing.T) {
	everyTier(t, func(t *testing.T, kind string) {
		l := newLauncher(t, Config{Walls: kind})
		p, out := startReader(t, l, "shop", "first")
		await(t, out, "is first\n")
		p.Kill()
		waitDone(t, p)
		if err := l.Rotate(t.Context(), "shop", "KEY", []byte("second")); err != nil {
			t.Error(err)
		}
	})
}
