package process

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

func waitStock(l *Launcher) {
	for {
		l.walls.mu.Lock()
		full := len(l.walls.stock) >= l.walls.cfg.Stock
		l.walls.mu.Unlock()
		if full {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// BenchmarkHollow is the making of a hollow cell, and a forked child's way
// into it until it is adopted.
func BenchmarkHollow(b *testing.B) {
	l := benchLauncher(b, WallsAuto, -1)
	var out buffer
	origin, conn := startTemplate(b, l, &out)
	a := hollowAssignment(b)
	hollow := func(b *testing.B) *Cell {
		c, err := origin.Hollow(b.Context(), a)
		if err != nil {
			b.Skip(err)
		}
		return c
	}
	b.Run("make", func(b *testing.B) {
		measure(b, func() time.Duration {
			began := time.Now()
			c := hollow(b)
			took := time.Since(began)
			c.Close()
			return took
		})
	})
	b.Run("enter", func(b *testing.B) {
		measure(b, func() time.Duration {
			c := hollow(b)
			began := time.Now()
			p := enter(b, conn, c)
			took := time.Since(began)
			p.Close()
			return took
		})
	})
}

// BenchmarkInit is the memory of a cell's init that it does not share.
func BenchmarkInit(b *testing.B) {
	l := benchLauncher(b, WallsAuto, 1)
	waitStock(l)
	pid := l.walls.stock[0].pid
	var private int64
	for b.Loop() {
		smaps, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
		if err != nil {
			b.Skip(err)
		}
		private = keyOf(string(smaps), "Private_Dirty:") + keyOf(string(smaps), "Private_Clean:")
		b.ReportMetric(float64(keyOf(string(smaps), "Pss:")), "pss-KiB")
		b.ReportMetric(float64(keyOf(strings.ReplaceAll(string(smaps), "\nPrivate_Huge", ""), "Rss:")), "rss-KiB")
	}
	b.ReportMetric(float64(private), "private-KiB")
}
