package pool

import (
	"runtime"
	"testing"
	"time"
)

func TestProcessorsDoNotKnowAtFirst(t *testing.T) {
	var p processors
	if p.idle(time.Now()) {
		t.Error("processors had time left before anybody looked")
	}
}

func TestProcessorTimeGoesOn(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("processor time is known on Linux alone")
	}
	_, before := processorTime()
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		if _, now := processorTime(); before > 0 && now > before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("processor time stays at %v", before)
}
