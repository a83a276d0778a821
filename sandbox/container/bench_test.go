package container

import (
	"context"
	"testing"

	"github.com/mayfly-cloud/mayfly/sandbox/sandboxtest"
)

// BenchmarkCold is a start of an unpacked image, a first call, and the end.
func BenchmarkCold(b *testing.B) {
	d, s := able(b, newDriver(b)), spec(b, newImage(b, nil), "echo")
	if err := d.Prepare(context.Background(), s); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		in, err := d.Start(context.Background(), s, &sandboxtest.Recorder{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := call(b, in, `1`); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		in.Stop(context.Background())
		b.StartTimer()
	}
}
