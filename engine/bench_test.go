package engine

import (
	"fmt"
	"testing"
)

// BenchmarkOpen is the start of the engine on an empty folder.
func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		b.StartTimer()
		e, err := Open(b.Context(), Config{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = e.Close()
		b.StartTimer()
	}
}

// BenchmarkAppend is one record after the other in one log.
func BenchmarkAppend(b *testing.B) {
	for _, durability := range []Durability{Always, Fast} {
		for _, size := range []int{100, 10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/%d", durability, size), func(b *testing.B) {
				log, err := open(b, Config{Durability: durability}).Log(b.Context(), "QUEUE_0")
				if err != nil {
					b.Fatal(err)
				}
				record := make([]byte, size)
				for b.Loop() {
					if _, err := log.Append(b.Context(), record); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkIndexPut(b *testing.B) {
	x := open(b, Config{}).Index()
	i := 0
	for b.Loop() {
		i++
		if _, err := x.Put(b.Context(), fmt.Sprintf("apps.a%d", i), []byte("{}"), 0); err != nil {
			b.Fatal(err)
		}
	}
}
