package runtimeapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly/sandbox"
)

// BenchmarkCall is calls through the protocol with a runtime in this process
// that costs almost nothing.
func BenchmarkCall(b *testing.B) {
	r := newRig(b, Config{PerInstance: 32})
	for range 32 {
		go rawRuntime(r.addr)
	}
	ctx := context.Background()
	deadline := time.Now().Add(time.Hour)
	var ids atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			call := &sandbox.Call{ID: fmt.Sprint(ids.Add(1)), Event: []byte(`{"a":1}`), Deadline: deadline}
			if _, err := r.Call(ctx, call); err != nil {
				b.Error(err)
			}
		}
	})
}

func rawRuntime(addr string) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer nc.Close()
	br := bufio.NewReader(nc)
	for {
		if _, err := fmt.Fprintf(nc, "GET %sinvocation/next HTTP/1.1\r\n\r\n", prefix); err != nil {
			return
		}
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			return
		}
		event, err := io.ReadAll(resp.Body)
		if err != nil {
			return
		}
		fmt.Fprintf(nc, "POST %sinvocation/%s/response HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s", prefix,
			resp.Header.Get("Lambda-Runtime-Aws-Request-Id"), len(event), event)
		if resp, err = http.ReadResponse(br, nil); err != nil {
			return
		}
		io.Copy(io.Discard, resp.Body)
	}
}
