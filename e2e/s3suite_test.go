package e2e

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// suiteVariable makes TestS3Suite run, which takes some five minutes and
// downloads versitygw's program.
const suiteVariable = "MAYFLY_E2E_S3_SUITE"

// TestS3Suite runs the S3 tests that come with versitygw against its own server
// and against a node. What its server passes a node passes, but for the cases in
// testdata/s3suite-excluded.txt, each of which must still fail. Some cases count
// seconds and fail on a busy machine: what failed has two more chances.
func TestS3Suite(t *testing.T) {
	if os.Getenv(suiteVariable) == "" {
		t.Skip(suiteVariable + " is not set")
	}
	needs(t, "go")
	bin := t.TempDir()
	installVersitygw(t, bin)
	library := runSuite(t, libraryServer(t, bin).cases(t, bin), nil)
	n := start(t, t.TempDir(), "serve")
	node := target{s3: n.S3, website: n.Gateway}
	node.access, node.secret = n.s3Keys()
	excluded := excludedCases(t)
	ours := runSuite(t, node.cases(t, bin), excluded)
	t.Logf("versitygw's own server passes %d of %d, a node %d of %d", len(library.passed), len(library.ran), len(ours.passed), len(ours.ran))
	for name, why := range library.failed {
		t.Logf("versitygw's own server fails %s: %s", name, why)
	}
	if len(library.ran) < 700 || !maps.Equal(ours.ran, library.ran) {
		t.Errorf("%d cases were run against versitygw's server, %d against a node", len(library.ran), len(ours.ran))
	}
	for name := range library.passed {
		if why, ok := ours.failed[name]; ok && excluded[name] == "" {
			t.Errorf("%s passes against versitygw's server and fails here: %s", name, why)
		}
	}
	for name := range excluded {
		if ours.passed[name] {
			t.Errorf("%s passes: take it off the list of excluded cases", name)
		}
	}
	n.stop()
}

// excludedCases are the cases that are not for a node, with their reasons.
func excludedCases(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile("testdata/s3suite-excluded.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		name, why, _ := strings.Cut(line, " ")
		if why = strings.TrimSpace(why); why == "" {
			t.Errorf("%s is excluded without a reason", name)
		}
		out[name] = why
	}
	return out
}

func installVersitygw(t *testing.T, bin string) {
	t.Helper()
	version, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "github.com/versity/versitygw").Output()
	if err != nil {
		t.Fatal(err)
	}
	install := exec.Command("go", "install", "github.com/versity/versitygw/cmd/versitygw@"+strings.TrimSpace(string(version)))
	install.Dir = bin // outside of this module, whose go.mod is not to change
	install.Env = append(os.Environ(), "CGO_ENABLED=0", "GOBIN="+bin)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("install versitygw: %v\n%s", err, out)
	}
}

// target is a server that the suite is run against.
type target struct{ s3, website, access, secret string }

// cases runs all cases once: those of S3, and those of websites, whose host names
// are in a hosts file that only the suite sees.
func (s target) cases(t *testing.T, bin string) func() results {
	return func() results {
		r := runCases(t, bin, "./versitygw", s.args("full-flow", "--versioning-enabled", "--parallel")...)
		if os.Getuid() != 0 {
			t.Log("the cases of websites are left out: they need a hosts file of their own, which root can have")
			return r
		}
		host, port, err := net.SplitHostPort(strings.TrimPrefix(s.website, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		hosts := host + " nested.bucket.s3-website.localhost\n"
		for i := range 100 {
			hosts += fmt.Sprintf("%s test-bucket-%d.s3-website.localhost\n", host, i)
		}
		if err := os.WriteFile(filepath.Join(bin, "hosts"), []byte(hosts), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"--mount", "sh", "-c", `mount --bind hosts /etc/hosts && exec "$@"`, "sh", "./versitygw"}
		args = append(args, s.args("website-hosting", "--website-scheme", "http", "--website-domain", "s3-website.localhost", "--website-port", port)...)
		sites := runCases(t, bin, "unshare", args...)
		maps.Copy(r.ran, sites.ran)
		maps.Copy(r.passed, sites.passed)
		maps.Copy(r.failed, sites.failed)
		return r
	}
}

func (s target) args(which ...string) []string {
	return append([]string{"test", "--access", s.access, "--secret", s.secret, "--endpoint", s.s3}, which...)
}

// freeAddress is one that nothing listens on now; the suite's server takes no
// listener.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// libraryServer starts versitygw over files, with versions, accounts and websites.
func libraryServer(t *testing.T, bin string) target {
	t.Helper()
	addr, website := freeAddress(t), freeAddress(t)
	data, versions, accounts := t.TempDir(), t.TempDir(), t.TempDir()
	cmd := exec.Command(filepath.Join(bin, "versitygw"), "--access", "admin", "--secret", "library-secret", "--port", addr, "--iam-dir", accounts,
		"--website", website, "--website-domain", "s3-website.localhost", "--quiet", "posix", "--versioning-dir", versions, data)
	cmd.Env = plainEnv()
	out := &output{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	eventually(t, "versitygw's server listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return target{s3: "http://" + addr, website: "http://" + website, access: "admin", secret: "library-secret"}
}

// plainEnv is the environment without what S3 clients read from it.
func plainEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "ROOT_") })
}

// results are those of one run of the suite, by the names of its cases, of which
// a few stand for two.
type results struct {
	ran    map[string]bool
	passed map[string]bool
	failed map[string]string // with the message
}

var (
	colours  = regexp.MustCompile("\x1b\\[[0-9;]*m")
	caseName = regexp.MustCompile(`^(RUN|PASS|FAIL)\s+(\w+):?\s*(.*)`)
)

// runSuite runs all cases until each has passed once that is not excluded, three
// times at most.
func runSuite(t *testing.T, run func() results, excluded map[string]string) results {
	t.Helper()
	var all results
	for range 3 {
		r := run()
		maps.Copy(r.passed, all.passed)
		maps.DeleteFunc(r.failed, func(name, _ string) bool { return r.passed[name] })
		all = r
		left := maps.Clone(r.failed)
		maps.DeleteFunc(left, func(name, _ string) bool { return excluded[name] != "" })
		if len(left) == 0 {
			break
		}
	}
	return all
}

// runCases runs a program of cases once. They create accounts by the program in
// their working folder.
func runCases(t *testing.T, bin, program string, args ...string) results {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = bin, plainEnv()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	_ = cmd.Run() // fails where a case does
	r := results{ran: map[string]bool{}, passed: map[string]bool{}, failed: map[string]string{}}
	for line := range strings.Lines(out.String()) {
		switch m := caseName.FindStringSubmatch(colours.ReplaceAllString(line, "")); {
		case m == nil:
		case m[1] == "RUN":
			r.ran[m[2]] = true
		case m[1] == "PASS":
			r.passed[m[2]] = true
		default:
			r.failed[m[2]] = m[3]
		}
	}
	if len(r.ran) == 0 {
		t.Fatalf("the suite ran nothing:\n%s", out.String())
	}
	return r
}
