package event_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly/engine"
	"github.com/mayfly-cloud/mayfly/event"
)

// Random sends, leases, failures, cancellations and restarts are compared with
// a plain map; the log is rewritten as often as it can be.
func TestModel(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { testModel(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

type model struct {
	*rig
	rnd    *rand.Rand
	tries  map[string]int // of unfinished items, by body
	order  map[string][]string
	leases []*event.Lease
	ids    map[string]string
	n      int
}

func testModel(t *testing.T, rnd *rand.Rand) {
	m := &model{rig: newRig(t, 2, engine.Config{Durability: engine.Fast}), rnd: rnd, tries: map[string]int{}, order: map[string][]string{}, ids: map[string]string{}}
	m.store.SetRewrite(1)
	for step := range 600 {
		switch p := rnd.IntN(100); {
		case p < 35:
			m.send()
		case p < 65:
			m.lease()
		case p < 95:
			m.answer()
		case p < 98:
			m.cancel()
		case step%3 == 0:
			m.restart()
			m.store.SetRewrite(1)
			m.leases = nil
		}
	}
	m.restart()
	m.finishAll()
}

func (m *model) lane() string { return []string{"plain", "ordered", "other"}[m.rnd.IntN(3)] }

func (m *model) send() {
	lane := m.lane()
	for range 1 + m.rnd.IntN(5) {
		m.n++
		it := &event.Item{Body: fmt.Appendf(nil, "%s %d", lane, m.n)}
		if lane == "ordered" {
			it.Key = fmt.Sprint(m.rnd.IntN(3))
			m.order[it.Key] = append(m.order[it.Key], string(it.Body))
		}
		m.put(lane, it)
		m.tries[string(it.Body)] = 0
		m.ids[string(it.Body)] = it.ID
	}
}

func (m *model) lease() {
	leases, err := m.store.Lane(m.lane()).Take(context.Background(), 1+m.rnd.IntN(4), time.Minute, "model")
	if err != nil {
		m.t.Fatal(err)
	}
	for _, le := range leases {
		m.check(le)
	}
	m.leases = append(m.leases, leases...)
}

func (m *model) check(le *event.Lease) {
	m.t.Helper()
	tries, ok := m.tries[string(le.Body)]
	if !ok {
		m.t.Fatalf("%s came again after it was finished", le.Body)
	}
	if le.Attempt != tries+1 || le.ID != m.ids[string(le.Body)] {
		m.t.Fatalf("%s came as attempt %d after %d failures, id %s", le.Body, le.Attempt, tries, le.ID)
	}
	if le.Key != "" && m.order[le.Key][0] != string(le.Body) {
		m.t.Fatalf("%s came before %s", le.Body, m.order[le.Key][0])
	}
}

func (m *model) finished(le *event.Item) {
	delete(m.tries, string(le.Body))
	if le.Key != "" {
		m.order[le.Key] = m.order[le.Key][1:]
	}
}

func (m *model) answer() {
	if len(m.leases) == 0 {
		return
	}
	i := m.rnd.IntN(len(m.leases))
	le := m.leases[i]
	m.leases = append(m.leases[:i], m.leases[i+1:]...)
	switch m.rnd.IntN(4) {
	case 0:
		if !le.Fail(time.Now().Add(time.Duration(m.rnd.IntN(3))*time.Millisecond), event.Attempt{Error: "no"}) {
			m.t.Fatal("a lease was lost")
		}
		m.tries[string(le.Body)]++
	case 1:
		le.Release(time.Time{})
	default:
		if !le.Done() {
			m.t.Fatal("a lease was lost")
		}
		m.finished(&le.Item)
	}
}

// cancel ends an item without a key, since the model of keys knows heads only.
func (m *model) cancel() {
	for body := range m.tries {
		if body[0] == 'o' && body[1] == 'r' {
			continue
		}
		ok, err := m.store.Cancel(context.Background(), m.ids[body])
		if err != nil || !ok {
			m.t.Fatal(ok, err)
		}
		delete(m.tries, body)
		for i, le := range m.leases {
			if string(le.Body) == body {
				m.leases = append(m.leases[:i], m.leases[i+1:]...)
				break
			}
		}
		return
	}
}

// finishAll takes all that is left, which must be what the model has.
func (m *model) finishAll() {
	deadline := time.Now().Add(time.Minute)
	for len(m.tries) > 0 {
		before := len(m.tries)
		for _, lane := range []string{"plain", "ordered", "other"} {
			leases, err := m.store.Lane(lane).Take(context.Background(), 10, time.Minute, "model")
			if err != nil {
				m.t.Fatal(err)
			}
			for _, le := range leases {
				m.check(le)
				le.Done()
				m.finished(&le.Item)
			}
		}
		if len(m.tries) == before {
			if time.Now().After(deadline) {
				m.t.Fatalf("%d items are lost: %v", len(m.tries), m.tries)
			}
			time.Sleep(time.Millisecond)
		}
	}
	for _, lane := range m.store.Lanes() {
		m.t.Errorf("%s holds %+v", lane.Name(), lane.Stats())
	}
}
