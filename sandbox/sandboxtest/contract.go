package sandboxtest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
)

func testEcho(b *bench) {
	inst := b.start()
	if inst.ID() == "" {
		b.Error("an instance has no id")
	}
	for _, event := range []string{`{"a":1}`, `{"text":"ä 🦋 \n \u0000"}`, `{"nested":{"list":[1,2.5,null,true]}}`} {
		b.echo(inst, event)
	}
	if tier := inst.Info().Tier.Name; tier == "" {
		b.Error("an instance does not say its tier")
	}
	for _, p := range inst.Info().Phases {
		if p.Duration < 0 {
			b.Errorf("phase %s took %v", p.Name, p.Duration)
		}
	}
	inst.Usage() // must not fail or block
	select {
	case <-inst.Done():
		b.Errorf("the instance ended: %v", inst.Err())
	default:
	}
}

func testLargeEvent(b *bench) {
	inst := b.start()
	data := strings.Repeat("0123456789abcdef", (int(mayfly.MaxEvent)-1024)/16)
	if b.suite.HTTPEvents {
		data = data[:len(data)/2] // a body within an event
	}
	b.echo(inst, `{"data":"`+data+`"}`)
	b.echo(inst, `{"small":true}`)
}

func testError(b *bench) {
	inst := b.start()
	for range 2 { // the instance stays usable
		_, err := b.do(inst, b.call(`{}`))
		var failed *mayfly.FunctionError
		if !errors.As(err, &failed) {
			b.Fatalf("Call returned %v, want a FunctionError", err)
		}
		if failed.Type == "" || !strings.Contains(failed.Message, "deliberate") {
			b.Errorf("the error is %+v, want a type and the message", failed)
		}
		if mayfly.CodeOf(err) != mayfly.FunctionFailed {
			b.Errorf("the code is %s", mayfly.CodeOf(err))
		}
		if ended(inst) {
			return // a runtime of one process per call ends with it
		}
	}
}

func testExit(b *bench) {
	inst := b.start()
	_, err := b.do(inst, b.call(`{}`))
	var failed *mayfly.FunctionError
	if !errors.As(err, &failed) || failed.Type != mayfly.ErrorTypeExit {
		b.Fatalf("Call returned %v, want a %s", err, mayfly.ErrorTypeExit)
	}
	if !strings.Contains(failed.Message, "3") {
		b.Errorf("the message %q does not tell the status", failed.Message)
	}
	awaitDone(b, inst)
	if !errors.As(inst.Err(), &failed) {
		b.Errorf("Err is %v, want a FunctionError", inst.Err())
	}
	if _, err := inst.Call(b.ctx(), b.call(`{}`)); err == nil {
		b.Error("an ended instance took a call")
	}
	b.driver.Forget(b.spec)
}

func testTimeout(b *bench) {
	inst := b.start()
	ctx, cancel := context.WithCancel(b.ctx())
	returned := make(chan error, 1)
	go func() {
		_, err := inst.Call(ctx, b.call(`{}`))
		returned <- err
	}()
	time.Sleep(50 * time.Millisecond) // let the call reach the handler; nothing is measured
	cancel()
	select {
	case err := <-returned:
		if !errors.Is(err, context.Canceled) {
			b.Errorf("Call returned %v, want the context's error", err)
		}
	case <-time.After(Patience):
		b.Fatal("Call did not return when its context ended")
	}
	stop(b.T, inst)
	if !errors.Is(inst.Err(), sandbox.ErrStopped) {
		b.Errorf("Err is %v, want ErrStopped", inst.Err())
	}
}

func testStopWhileBusy(b *bench) {
	inst := b.start()
	returned := make(chan error, 1)
	go func() {
		_, err := inst.Call(b.ctx(), b.call(`{}`))
		returned <- err
	}()
	time.Sleep(50 * time.Millisecond) // let the call reach the handler; nothing is measured
	stop(b.T, inst)
	select {
	case err := <-returned:
		if err == nil {
			b.Error("the call of a stopped instance succeeded")
		}
	case <-time.After(Patience):
		b.Fatal("the call of a stopped instance did not return")
	}
}

func testStopTwice(b *bench) {
	inst := b.start()
	b.echo(inst, `{"a":1}`)
	for range 2 { // politely
		if err := inst.Stop(b.ctx()); err != nil {
			b.Errorf("Stop: %v", err)
		}
	}
	awaitDone(b, inst)
	if !errors.Is(inst.Err(), sandbox.ErrStopped) {
		b.Errorf("Err is %v, want ErrStopped", inst.Err())
	}
}

func testConcurrent(b *bench) {
	inst := b.start()
	var wg sync.WaitGroup
	for i := range b.spec.PerInstance {
		wg.Go(func() {
			event := `{"n":` + string(rune('0'+i)) + `}`
			got, err := b.do(inst, b.call(event))
			if err != nil || !sameJSON(got, event) {
				b.Errorf("call %d: %q, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}

func testStream(b *bench) {
	inst := b.start()
	call := b.call(`{}`)
	if !b.suite.HTTPEvents {
		call.HTTP, call.Event = true, Request("GET", "/", "")
	}
	reply, err := inst.Call(b.ctx(), call)
	if err != nil {
		b.Fatal(err)
	}
	if reply.Body == nil || reply.Meta == nil {
		b.Fatalf("the reply does not stream: %+v", reply)
	}
	defer reply.Body.Close()
	data, err := io.ReadAll(reply.Body)
	if err != nil || string(data) != "onetwothree" {
		b.Errorf("the body is %q, %v", data, err)
	}
	if reply.Meta.Status != 201 || reply.Meta.Header.Get("X-Test") != "yes" {
		b.Errorf("the head is %+v", reply.Meta)
	}
}

func testStreamClosed(b *bench) {
	inst := b.start()
	call := b.call(`{}`)
	if !b.suite.HTTPEvents {
		call.HTTP, call.Event = true, Request("GET", "/", "")
	}
	for range 2 { // the instance stays usable
		reply, err := inst.Call(b.ctx(), call)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, reply.Body, 3<<20); err != nil {
			b.Fatalf("the stream ended: %v", err)
		}
		if err := reply.Body.Close(); err != nil {
			b.Errorf("Close: %v", err)
		}
		if ended(inst) {
			return
		}
	}
}

func testOutOfMemory(b *bench) {
	inst := b.start()
	tier := inst.Info().Tier
	limited := false
	for _, w := range tier.Walls {
		limited = limited || strings.Contains(strings.ToLower(w), "memory") || strings.Contains(strings.ToLower(w), "cgroup")
	}
	if !limited {
		b.Skipf("memory is not limited here (tier %s, walls %v)", tier.Name, tier.Walls)
	}
	_, err := b.do(inst, b.call(`{}`))
	var failed *mayfly.FunctionError
	if !errors.As(err, &failed) {
		b.Fatalf("Call returned %v, want a FunctionError", err)
	}
	if failed.Type != mayfly.ErrorTypeOutOfMemory {
		b.Errorf("the error is %+v, want %s", failed, mayfly.ErrorTypeOutOfMemory)
	}
}

func testLog(b *bench) {
	inst := b.start()
	call := b.call(`{"line":"a line of output"}`)
	if _, err := b.do(inst, call); err != nil {
		b.Fatal(err)
	}
	line := b.out.Await(b.T, "with the text", func(l mayfly.LogLine) bool { return strings.Contains(l.Text, "a line of output") })
	if line.App != b.spec.App || line.Function != b.spec.Function || line.Version != b.spec.Version || line.Instance != inst.ID() {
		b.Errorf("the line is not its function's: %+v", line)
	}
	if line.Invocation != call.ID || line.TraceID != call.Trace.ID {
		b.Errorf("the line is not its call's: %+v, want %s", line, call.ID)
	}
	if line.Stream != mayfly.Stdout || line.Time.IsZero() {
		b.Errorf("the line's stream is %s at %v", line.Stream, line.Time)
	}
}

func testFlood(b *bench) {
	inst := b.start()
	b.echo(inst, `{"a":1}`)
	b.out.Await(b.T, "that tells what was dropped", func(l mayfly.LogLine) bool {
		return l.Stream == mayfly.Platform && strings.Contains(l.Text, "dropped")
	})
	size := 0
	for _, l := range b.out.Lines() {
		size += len(l.Text)
	}
	if size > 60<<20 {
		b.Errorf("%d bytes of a flood were kept", size)
	}
}

func testNotJSON(b *bench) {
	inst := b.start()
	got, err := b.do(inst, b.call(`{}`))
	var failed *mayfly.FunctionError
	if !errors.As(err, &failed) {
		b.Fatalf("Call returned %.100q, %v, want a FunctionError", got, err)
	}
	if failed.Type == "" || failed.Message == "" {
		b.Errorf("the error is %+v", failed)
	}
}

func testBroken(b *bench) {
	err := b.driver.Prepare(b.ctx(), b.spec)
	var failed *mayfly.FunctionError
	if !errors.As(err, &failed) {
		b.Fatalf("Prepare returned %v, want a FunctionError", err)
	}
	if inst, err := b.driver.Start(b.ctx(), b.spec, b.out); err == nil {
		stop(b.T, inst)
		b.Error("Start succeeded")
	}
}

func testContext(b *bench) {
	inst := b.start()
	call := b.call(`{}`)
	got, err := b.do(inst, call)
	if err != nil {
		b.Fatal(err)
	}
	var seen struct {
		ID        string  `json:"id"`
		Remaining float64 `json:"remaining"`
		Env       string  `json:"env"`
	}
	if err := json.Unmarshal([]byte(got), &seen); err != nil {
		b.Fatalf("%q: %v", got, err)
	}
	if seen.ID != call.ID || seen.Env != "seen" || seen.Remaining <= 0 || seen.Remaining > float64(Patience.Milliseconds()) {
		b.Errorf("the handler saw %+v, want id %s, PROBE and a time left", seen, call.ID)
	}
}

func testFreeze(b *bench) {
	inst := b.start()
	f, ok := inst.(sandbox.Freezer)
	if !ok {
		b.Skip("the instance cannot be frozen")
	}
	b.echo(inst, `{"a":1}`)
	for range 3 {
		if err := f.Freeze(); err != nil {
			b.Skipf("this machine cannot freeze: %v", err)
		}
		if err := f.Thaw(); err != nil {
			b.Fatalf("Thaw: %v", err)
		}
		b.echo(inst, `{"a":2}`)
	}
	if err := f.Freeze(); err != nil {
		b.Fatalf("Freeze: %v", err)
	}
	stop(b.T, inst) // frozen as it is
}

// testBurst starts several instances at once, whose calls must not mix.
func testBurst(b *bench) {
	if err := b.driver.Prepare(b.ctx(), b.spec); err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids := map[string]bool{}
	for i := range 8 {
		wg.Go(func() {
			inst, err := b.driver.Start(b.ctx(), b.spec, b.out)
			if err != nil {
				b.Errorf("Start: %v", err)
				return
			}
			defer stop(b.T, inst)
			event := `{"n":` + string(rune('0'+i)) + `}`
			if got, err := b.do(inst, b.call(event)); err != nil || !sameJSON(got, event) {
				b.Errorf("instance %d answered %q, %v", i, got, err)
			}
			mu.Lock()
			defer mu.Unlock()
			ids[inst.ID()] = true
		})
	}
	wg.Wait()
	if len(ids) != 8 && !b.Failed() {
		b.Errorf("8 instances have %d ids", len(ids))
	}
}

func testForget(b *bench) {
	b.echo(b.start(), `{"a":1}`)
	b.driver.Forget(b.spec)
	b.driver.Forget(b.spec)
	b.echo(b.start(), `{"a":2}`) // Prepare again after Forget
	if err := b.driver.Close(); err != nil {
		b.Errorf("Close: %v", err)
	}
	if err := b.driver.Close(); err != nil {
		b.Errorf("Close again: %v", err)
	}
}

func ended(inst sandbox.Instance) bool {
	select {
	case <-inst.Done():
		return true
	default:
		return false
	}
}

func awaitDone(b *bench, inst sandbox.Instance) {
	b.Helper()
	select {
	case <-inst.Done():
	case <-time.After(Patience):
		b.Fatal("Done is not closed")
	}
}
