package process

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"
)

// measure reports median and 99th percentile of what body says it took.
func measure(b *testing.B, body func() time.Duration) {
	var all []time.Duration
	for b.Loop() {
		all = append(all, body())
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(0, "ns/op")
}

// benchLauncher has a stock where stock is above 0.
func benchLauncher(b *testing.B, kind string, stock int) *Launcher {
	b.Helper()
	l, err := New(Config{Dir: b.TempDir(), Walls: kind, Stock: stock, Doors: []Door{greeter()}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	if stock > 0 {
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan struct{})
		go func() {
			l.Run(ctx)
			close(done)
		}()
		b.Cleanup(func() { cancel(); <-done })
	}
	l.Tier()
	return l
}

// BenchmarkStart is the start of a small static program until it has printed
// its first byte, as an ordinary process, in a fresh cell and in one of stock.
func BenchmarkStart(b *testing.B) {
	for _, c := range []struct {
		name, kind string
		stock      int
	}{{"plain", WallsNone, -1}, {"cold", WallsAuto, -1}, {"stock", WallsAuto, 8}} {
		b.Run(c.name, func(b *testing.B) {
			l := benchLauncher(b, c.kind, c.stock)
			folder := bundleOf(b)
			measure(b, func() time.Duration { return startOnce(b, l, folder, c.stock > 0) })
		})
	}
}

func bundleOf(b *testing.B) string {
	return b.TempDir()
}

// startOnce waits for the stock to fill first, where there is one: bursts are
// another question.
func startOnce(b *testing.B, l *Launcher, folder string, stocked bool) time.Duration {
	if stocked {
		waitStock(l)
	}
	first := make(firstByte, 1)
	began := time.Now()
	cmd := Command{Path: "/bin/echo", Args: []string{"hello"}, Stdout: first}
	cmd.Who, cmd.Bundle = who, folder
	p, err := l.Start(b.Context(), cmd)
	if err != nil {
		b.Fatal(err)
	}
	<-first
	took := time.Since(began)
	p.Close()
	return took
}

// firstByte is a writer that tells of the first write.
type firstByte chan struct{}

func (f firstByte) Write(p []byte) (int, error) {
	select {
	case f <- struct{}{}:
	default:
	}
	return len(p), nil
}

// BenchmarkFreeze is one freeze and one thaw of a running program.
func BenchmarkFreeze(b *testing.B) {
	l := benchLauncher(b, WallsAuto, -1)
	cmd := Command{Path: "/bin/sleep", Args: []string{"1000"}}
	cmd.Who = who
	p, err := l.Start(b.Context(), cmd)
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	measure(b, func() time.Duration {
		began := time.Now()
		if err := p.Freeze(); err != nil {
			b.Skip(err)
		}
		if err := p.Thaw(); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	})
}

// BenchmarkDial is a connection to a program in a cell, and its first byte.
func BenchmarkDial(b *testing.B) {
	l := benchLauncher(b, WallsAuto, -1)
	p := startProbe(b, l, "server", func(c *Command) { c.Env = append(c.Env, "PORT=80") })
	buf := make([]byte, 10)
	measure(b, func() time.Duration {
		for {
			began := time.Now()
			conn, err := p.Dial(b.Context(), 80)
			if err != nil {
				continue
			}
			conn.Read(buf)
			conn.Close()
			return time.Since(began)
		}
	})
}

// BenchmarkBurst is 200 programs asked for at once, until all run.
func BenchmarkBurst(b *testing.B) {
	l := benchLauncher(b, WallsAuto, -1)
	measure(b, func() time.Duration {
		const n = 200
		began := time.Now()
		var all sync.WaitGroup
		started := make([]*Process, n)
		for i := range n {
			all.Go(func() {
				cmd := Command{Path: "/bin/sleep", Args: []string{"1000"}}
				cmd.Who = who
				p, err := l.Start(b.Context(), cmd)
				if err != nil {
					b.Error(err)
					return
				}
				started[i] = p
			})
		}
		all.Wait()
		took := time.Since(began)
		for _, p := range started {
			if p != nil {
				all.Go(p.Close)
			}
		}
		all.Wait()
		return took
	})
}
