package sqltest

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Postgres is Try for a test that is nothing without a server: it skips where
// there is none.
func Postgres(t testing.TB, settings ...string) string {
	t.Helper()
	dsn, why := Try(t, settings...)
	if dsn == "" {
		t.Skip(why)
	}
	return dsn
}

// Try runs a server until the test ends, and returns its DSN; "" and why where
// there can be none here. settings are of its configuration, such as
// "wal_level=logical". As root it runs as the user postgres or nobody: PostgreSQL
// refuses root.
func Try(t testing.TB, settings ...string) (dsn, why string) {
	t.Helper()
	if testing.Short() {
		return "", "a PostgreSQL server is not started by short tests"
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		if path, err := exec.LookPath("initdb"); err == nil {
			found = []string{path}
		}
	}
	if len(found) == 0 {
		return "", "PostgreSQL is not installed"
	}
	bin := filepath.Dir(found[len(found)-1])
	dir, err := os.MkdirTemp("", "pg") // short: a socket's path has 108 bytes at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	attr := &syscall.SysProcAttr{}
	if os.Getuid() == 0 {
		if attr.Credential = unprivileged(t, dir); attr.Credential == nil {
			return "", "there is no user to run PostgreSQL as"
		}
	}
	run := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.Dir, cmd.SysProcAttr = dir, attr
		cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "HOME=" + dir}
		return cmd
	}
	data := filepath.Join(dir, "data")
	if out, err := run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync").CombinedOutput(); err != nil {
		return "", fmt.Sprintf("PostgreSQL cannot be set up here: %v\n%.500s", err, out)
	}
	server := run("postgres", "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=60")
	for _, each := range settings {
		server.Args = append(server.Args, "-c", each)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGINT) // fast shutdown
		_ = server.Wait()
		_ = log.Close()
	})
	dsn = "host=" + dir + " user=postgres dbname=postgres"
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := pgconn.Connect(t.Context(), dsn)
		if err == nil {
			_ = c.Close(t.Context())
			return dsn, ""
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("PostgreSQL does not answer: %v\n%s", err, text)
		}
	}
}

// unprivileged is a user who may run a server, to whom dir is given; nil where
// there is none.
func unprivileged(t testing.TB, dir string) *syscall.Credential {
	t.Helper()
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return nil
}
