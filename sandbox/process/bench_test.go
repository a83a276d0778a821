package process

import (
	"testing"
)

// BenchmarkStart is the start of a small program until it ended, by tier.
func BenchmarkStart(b *testing.B) {
	for _, kind := range []string{WallsNone, WallsAuto} {
		b.Run(kind, func(b *testing.B) {
			l, err := New(Config{Dir: b.TempDir(), Walls: kind, Stock: -1})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			l.Tier()
			for b.Loop() {
				cmd := Command{Path: "/bin/true"}
				cmd.Who = who
				p, err := l.Start(b.Context(), cmd)
				if err != nil {
					b.Fatal(err)
				}
				<-p.Done()
				p.Close()
			}
		})
	}
}
