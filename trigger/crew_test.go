package trigger

import (
	"context"
	"testing"
	"time"
)

// TestCrew has members join before and while it runs; one leaves before it began,
// one while it works, and one begins what lasts until it must end.
func TestCrew(t *testing.T) {
	c := NewCrew(time.Millisecond)
	works := make(chan string)
	idle := func(name string) Work {
		return func(ctx, _ context.Context) { works <- name; <-ctx.Done() }
	}
	never := c.Join(func(context.Context, context.Context) { t.Error("one that left works") })
	never.Leave()
	early := c.Join(idle("early"))
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { defer close(ran); c.Run(ctx) }()
	if got := <-works; got != "early" {
		t.Error(got)
	}
	<-never.Ended()
	late := c.Join(idle("late"))
	if got := <-works; got != "late" {
		t.Error(got)
	}
	early.Leave()
	early.Leave()
	<-early.Ended()
	busy := c.Join(func(_, working context.Context) { works <- "busy"; <-working.Done() })
	<-works
	select {
	case <-late.Ended():
		t.Error("one ended that did not leave")
	default:
	}
	cancel()
	<-late.Ended()
	<-busy.Ended()
	<-ran
}
