package once

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger/triggertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var key = Key{"app", "fn", "order 42/x"}

func newStore(t *testing.T) *Store {
	t.Helper()
	return New(triggertest.New(t, "", triggertest.Deploy()).Bucket("once"))
}

func TestOnce(t *testing.T) {
	s := newStore(t)
	ctx := context.Background()
	first, err := s.Begin(ctx, key, time.Minute, time.Hour)
	if err != nil || first.State != Fresh {
		t.Fatal(first, err)
	}
	if second, err := s.Begin(ctx, key, time.Minute, time.Hour); err != nil || second.State != Running || second.Token != "" {
		t.Error(second, err)
	}
	if other, err := s.Begin(ctx, Key{"app", "other", key.Key}, time.Minute, time.Hour); err != nil || other.State != Fresh {
		t.Error("another function's key:", other, err)
	}
	if err := s.Complete(ctx, key, "x", nil); mayfly.CodeOf(err) != mayfly.Conflict {
		t.Error(err)
	}
	if err := s.Complete(ctx, key, first.Token, json.RawMessage(`{"ok":1}`)); err != nil {
		t.Fatal(err)
	}
	if again, err := s.Begin(ctx, key, time.Minute, time.Hour); err != nil || again.State != Done || string(again.Result) != `{"ok":1}` {
		t.Error(again, err)
	}
	if err := s.Abandon(ctx, key, first.Token); mayfly.CodeOf(err) != mayfly.Conflict {
		t.Error(err)
	}
}

func TestAbandonAndLapse(t *testing.T) {
	s := newStore(t)
	ctx := context.Background()
	first, err := s.Begin(ctx, key, time.Minute, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Abandon(ctx, key, first.Token); err != nil {
		t.Fatal(err)
	}
	if err := s.Complete(ctx, key, first.Token, nil); mayfly.CodeOf(err) != mayfly.NotFound {
		t.Error(err)
	}
	short, err := s.Begin(ctx, key, time.Millisecond, time.Hour)
	if err != nil || short.State != Fresh {
		t.Fatal(short, err)
	}
	triggertest.Until(t, "the lease ends", func() bool {
		next, err := s.Begin(ctx, key, time.Minute, time.Hour)
		return err == nil && next.State == Fresh
	})
	if err := s.Complete(ctx, key, short.Token, nil); mayfly.CodeOf(err) != mayfly.Conflict {
		t.Error("a lease that ended completes:", err)
	}
}

// Of many calls at once one begins.
func TestRace(t *testing.T) {
	s := newStore(t)
	var fresh atomic.Int32
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			answer, err := s.Begin(context.Background(), key, time.Minute, time.Hour)
			if err != nil {
				t.Error(err)
			} else if answer.State == Fresh {
				fresh.Add(1)
			}
		})
	}
	wg.Wait()
	if fresh.Load() != 1 {
		t.Errorf("%d began", fresh.Load())
	}
}

func TestHTTP(t *testing.T) {
	s := newStore(t)
	do := triggertest.Serve(t, mayfly.Caller{Kind: mayfly.CallerFunction, App: "app", Function: "fn"}, s.Register)
	const path = "/v1/apps/app/idempotency/order%2F42"
	if status, body := do("POST", "/v1/apps/app/idempotency/without-a-body", ""); status != 200 || !strings.Contains(body, `"new"`) {
		t.Error(status, body)
	}
	status, body := do("POST", path, `{"lease":"10s","ttl":"1h"}`)
	var answer Answer
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != 200 || answer.State != Fresh {
		t.Fatal(status, body, err)
	}
	if status, body := do("PUT", path, `{"token":"`+answer.Token+`","result":[1]}`); status != 204 {
		t.Error(status, body)
	}
	if status, body := do("POST", path, `{}`); status != 200 || !strings.Contains(body, `"result":[1]`) {
		t.Error(status, body)
	}
	for _, c := range []struct {
		path, body string
		want       int
	}{
		{"/v1/apps/app/idempotency/k?function=other", `{}`, 403}, {"/v1/apps/other/idempotency/k", `{}`, 403},
		{"/v1/apps/app/idempotency/k", `{"lease":"1ms"}`, 400}, {"/v1/apps/app/idempotency/k", `{"ttl":"9000d"}`, 400},
	} {
		if status, body := do("POST", c.path, c.body); status != c.want {
			t.Errorf("%s %s: %d %s", c.path, c.body, status, body)
		}
	}
	if status, body := do("DELETE", "/v1/apps/app/idempotency/k?token=x", ""); status != 404 {
		t.Error(status, body)
	}
	admin := triggertest.Serve(t, mayfly.Caller{Kind: mayfly.CallerAdmin}, s.Register)
	if status, body := admin("POST", path, `{}`); status != 400 {
		t.Error(status, body)
	}
	if status, body := admin("POST", path+"?function=fn", `{}`); status != 200 || !strings.Contains(body, "done") {
		t.Error(status, body)
	}
}
