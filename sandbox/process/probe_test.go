package process

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// probe is what this test's executable does inside a cell.
func probe(name string) {
	attempts := map[string]func() error{
		"client": probeClient, "server": probeServer, "count": probeCount, "memory": probeMemory,
		"image": probeImage,
	}
	maps.Copy(attempts, linuxProbes)
	if err := attempts[name](); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// startProbe starts this executable in a cell, to do what name says.
func startProbe(t testing.TB, l *Launcher, name string, change func(*Command)) *Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(self, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := Command{
		Path: "/opt/probe/" + filepath.Base(self), Env: []string{"PROBE=" + name},
		Binds: []Bind{{Source: self, Target: "/opt/probe/" + filepath.Base(self)}},
	}
	cmd.Who = who
	if change != nil {
		change(&cmd)
	}
	p, err := l.Start(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// probeClient asks the door who calls, and dials the listener twice.
func probeClient() error {
	res, err := http.Get(os.Getenv("ENDPOINT"))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	fmt.Println(string(body))
	var addr string
	if _, err := fmt.Fscan(os.NewFile(3, "address"), &addr); err != nil {
		return err
	}
	for range 2 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		io.Copy(io.Discard, conn)
		conn.Close()
	}
	return nil
}

func probeServer() error {
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		io.WriteString(conn, "served")
		conn.Close()
	}
}

// background is for probes, which no test's context reaches.
var background = context.Background()

// probeMemory uses memory until it is stopped.
func probeMemory() error {
	for all := [][]byte{}; ; {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = 1
		}
		all = append(all, b)
	}
}

func probeCount() error {
	for {
		fmt.Print(".")
		time.Sleep(time.Millisecond)
	}
}

// probeImage writes into its root and shows what it sees.
func probeImage() error {
	if err := os.WriteFile("/app/written", []byte("new"), 0o644); err != nil {
		return err
	}
	if err := os.Remove("/app/old"); err != nil {
		return err
	}
	hosts, err := os.ReadFile("/etc/hosts")
	if err != nil {
		return err
	}
	apps, _ := filepath.Glob("/app/*")
	roots, _ := filepath.Glob("/*")
	fmt.Println(os.Getuid(), os.Getgid(), apps, roots, strings.Contains(string(hosts), "localhost"))
	return nil
}
