package service

import (
	"strings"
	"sync"
	"testing"

	"github.com/mayfly-cloud/mayfly"
)

func apply(t *testing.T, q *Quotas, apps ...*mayfly.Manifest) {
	t.Helper()
	if err := q.Apply(t.Context(), apps); err != nil {
		t.Fatal(err)
	}
}

func shop(quota mayfly.Bytes) *mayfly.Manifest {
	return &mayfly.Manifest{App: "shop", Quota: quota, Buckets: map[string]*mayfly.Bucket{"a": nil}, KV: map[string]*mayfly.KV{"k": nil}, Databases: map[string]*mayfly.Database{"d": nil}}
}

func TestQuotasBoundTheSum(t *testing.T) {
	q := NewQuotas()
	apply(t, q, shop(1000), &mayfly.Manifest{App: "free"})
	q.Set("shop", KindBucket, "a", 600)
	q.Set("shop", KindDatabase, "d", 300)
	if room, bounded := q.Room("shop"); room != 100 || !bounded {
		t.Errorf("room: %d %v", room, bounded)
	}
	if err := q.Reserve("shop", KindKV, "k", 100); err != nil {
		t.Error(err)
	}
	err := q.Reserve("shop", KindKV, "k", 1)
	if mayfly.CodeOf(err) != mayfly.Quota {
		t.Fatalf("one more than the quota: %v", err)
	}
	for _, part := range []string{"app shop", "bucket/a 600B, database/d 300B, kv/k 100B", "quota of 1000B", "raise quota:"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if err := q.Reserve("shop", KindBucket, "a", -50); err != nil || q.Full("shop", 50) != nil || q.Full("shop", 51) == nil {
		t.Errorf("after a delete: %v", err)
	}
	q.Add("shop", KindBucket, "a", 500) // what happened counts, also beyond the quota
	if q.Reserve("shop", KindBucket, "a", 1) == nil || q.Reserve("shop", KindBucket, "a", -1) != nil {
		t.Error("beyond the quota something grows, or nothing shrinks")
	}
	if err := q.Reserve("free", KindKV, "k", 1<<50); err != nil || q.Bounds("free") || !q.Bounds("shop") {
		t.Errorf("an app without a quota: %v", err)
	}
}

func TestQuotasFollowManifests(t *testing.T) {
	q := NewQuotas()
	apply(t, q, shop(1000))
	q.Set("shop", KindBucket, "a", 600)
	q.Set("shop", KindKV, "k", 300)
	less := shop(2000)
	less.KV = nil
	apply(t, q, less)
	if room, _ := q.Room("shop"); room != 1400 {
		t.Errorf("room without the store: %d", room)
	}
	apply(t, q, shop(0))
	if q.Bounds("shop") || q.Reserve("shop", KindBucket, "a", 1<<50) != nil {
		t.Error("a quota that is gone bounds")
	}
	var none *Quotas
	none.Set("shop", KindBucket, "a", 1)
	if _, bounded := none.Room("shop"); bounded || none.Reserve("shop", KindBucket, "a", 1) != nil || none.Full("shop", 1) != nil || none.Bounds("shop") {
		t.Error("no quotas bound")
	}
}

func TestQuotasHoldUnderContention(t *testing.T) {
	q := NewQuotas()
	apply(t, q, shop(1000))
	var done sync.WaitGroup
	for range 8 {
		done.Go(func() {
			for range 1000 {
				_ = q.Reserve("shop", KindBucket, "a", 3)
			}
		})
	}
	done.Wait()
	if room, _ := q.Room("shop"); room != 1 {
		t.Errorf("room: %d", room)
	}
}
