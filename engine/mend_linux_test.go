package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// TestMendAfterAFullDisk fills a disk of its own under the engine until the server
// gives a stream up, and makes room again.
func TestMendAfterAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=80m"); err != nil {
		t.Skipf("cannot mount a disk: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	e, err := Open(t.Context(), Config{Dir: filepath.Join(dir, "engine")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	log, err := e.Log(t.Context(), "QUEUE_0")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if _, err := log.Append(t.Context(), fmt.Append(nil, "record ", i)); err != nil {
			t.Fatal(err)
		}
	}
	rev, err := e.Index().Put(t.Context(), "apps.a", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	fill := filepath.Join(dir, "fill")
	if err := os.WriteFile(fill, make([]byte, 80<<20), 0o600); err == nil {
		t.Fatal("the disk is larger than it is")
	}
	if _, err := log.Append(t.Context(), []byte("no room")); mayfly.CodeOf(err) != mayfly.Unavailable {
		t.Errorf("append to a full disk: %v", err)
	}
	if err := log.Truncate(t.Context(), 5); mayfly.CodeOf(err) != mayfly.Unavailable {
		t.Errorf("truncate on a full disk: %v", err)
	}
	for end := time.Now().Add(30 * time.Second); !e.isMending(); {
		if time.Now().After(end) {
			t.Fatal("the server never gives the stream up")
		}
		// Past the engine, which does not begin what could fail.
		if err := e.conn.Publish(subject("QUEUE_0"), make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
		_ = e.conn.Flush()
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(60 * time.Second); e.isMending(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the stream is not mended")
		}
	}
	seq, err := log.Append(t.Context(), []byte("after"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if got, err := log.Read(t.Context(), uint64(i)+1); err != nil || string(got) != fmt.Sprint("record ", i) {
			t.Errorf("record %d: %q, %v", i, got, err)
		}
	}
	if got, err := log.Read(t.Context(), seq); err != nil || string(got) != "after" {
		t.Errorf("%q, %v", got, err)
	}
	told := make(chan Change, 10)
	defer e.Index().Watch("apps.", func(c Change) { told <- c })()
	if _, err := e.Index().Put(t.Context(), "apps.a", []byte("2"), rev); err != nil {
		t.Error(err)
	}
	if c := <-told; string(c.Value) != "2" || len(told) > 0 {
		t.Errorf("the index was told %+v", c)
	}
}

func (e *Engine) isMending() bool {
	e.ear.Lock()
	defer e.ear.Unlock()
	return e.mending
}
