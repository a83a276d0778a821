package telemetry

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// A follower that does not read holds a bounded number of bytes, and is told
// what it missed before it gets more.
func TestFollowersAreBounded(t *testing.T) {
	s := open(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	tail := s.Tail(ctx, LogQuery{})
	long := strings.Repeat("x", 256<<10)
	const all = 100
	for range all {
		s.hub.lines([]mayfly.LogLine{{Time: time.Now(), Text: long}})
	}
	got := 0
	next := func() mayfly.LogLine {
		t.Helper()
		select {
		case l, ok := <-tail:
			if !ok {
				t.Fatal("the follower's channel is closed")
			}
			return l
		case <-time.After(time.Minute):
			t.Fatalf("no line within a minute, after %d", got)
		}
		return mayfly.LogLine{}
	}
	next()
	got++
	s.hub.lines([]mayfly.LogLine{{Time: time.Now(), Text: "after"}})
	told := false
	for l := next(); l.Text != "after"; l = next() {
		if l.Stream == mayfly.Platform {
			told = true
		} else if got++; got > followBytes/len(long)+2 { // two were on their way
			t.Fatalf("%d lines waited, each of %d bytes", got, len(long))
		}
	}
	if got < followBytes/len(long)-1 || !told {
		t.Errorf("%d lines waited, told of others: %t", got, told)
	}
	short := make([]mayfly.LogLine, 2*followRows)
	for i := range short {
		short[i].Time = time.Now()
	}
	s.hub.lines(short)
	s.hub.close()
	got = 0
	for range tail { // what waits is still given
		got++
	}
	if got < followRows || got > followRows+3 { // one is on its way, and notices count too
		t.Errorf("%d short lines waited", got)
	}
	cancel()
	if _, ok := <-s.Tail(t.Context(), LogQuery{}); ok {
		t.Error("a line after the end")
	}
}
