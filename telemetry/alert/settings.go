package alert

import (
	"context"
	"encoding/json"
	"path"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// settings are what people set while the node runs.
type settings struct {
	Receivers map[string]*Receiver `json:"receivers,omitempty"`
	Silences  map[string]*Silence  `json:"silences,omitempty"`
}

// Silence keeps alerts whose labels match from being told.
type Silence struct {
	ID      string            `json:"id,omitempty"`
	Match   map[string]string `json:"match" doc:"Labels, with * for any text: alertname, app, function, queue, severity"`
	Until   time.Time         `json:"until"`
	Comment string            `json:"comment,omitempty"`
	By      string            `json:"by,omitempty"`
}

func (s *settings) silenced(labels map[string]string, now time.Time) bool {
	for _, q := range s.Silences {
		if now.Before(q.Until) && q.matches(labels) {
			return true
		}
	}
	return false
}

func (q *Silence) matches(labels map[string]string) bool {
	for k, pattern := range q.Match {
		if ok, err := path.Match(pattern, labels[k]); !ok || err != nil {
			return false
		}
	}
	return true
}

func (q *Silence) validate(now time.Time) error {
	const op = "silence alerts"
	if len(q.Match) == 0 {
		return mayfly.Errorf(mayfly.Invalid, op, "match is empty: it would silence everything; to do that, match alertname with *")
	}
	for k, pattern := range q.Match {
		if _, err := path.Match(pattern, ""); err != nil {
			return mayfly.Errorf(mayfly.Invalid, op, "match.%s: %q is not a pattern", k, pattern)
		}
	}
	if !q.Until.After(now) {
		return mayfly.Errorf(mayfly.Invalid, op, "until %s is in the past", q.Until.Format(time.RFC3339))
	}
	return nil
}

// loadSettings reads what other nodes, or a start before, have saved.
func (a *Alerts) loadSettings(ctx context.Context) {
	b, err := a.cfg.Settings.Load(ctx)
	var s settings
	if err == nil && len(b) > 0 {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		if ctx.Err() == nil {
			a.cfg.Log.Error("the settings of alerts cannot be read; those before are used", "error", err)
		}
		return
	}
	a.mu.Lock()
	a.settings = s
	a.mu.Unlock()
}

// change edits the settings and saves them.
func (a *Alerts) change(ctx context.Context, edit func(*settings) error) error {
	a.set.Lock()
	defer a.set.Unlock()
	b, err := a.cfg.Settings.Load(ctx)
	if err != nil {
		return err
	}
	var s settings
	if len(b) > 0 {
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
	}
	if s.Receivers == nil {
		s.Receivers = map[string]*Receiver{}
	}
	if s.Silences == nil {
		s.Silences = map[string]*Silence{}
	}
	if err := edit(&s); err != nil {
		return err
	}
	for id, q := range s.Silences {
		if time.Since(q.Until) > 24*time.Hour {
			delete(s.Silences, id)
		}
	}
	if b, err = json.Marshal(s); err != nil {
		return err
	}
	if err := a.cfg.Settings.Save(ctx, b); err != nil {
		return err
	}
	a.mu.Lock()
	a.settings = s
	a.mu.Unlock()
	return nil
}

// SetReceiver adds or replaces a receiver.
func (a *Alerts) SetReceiver(ctx context.Context, r Receiver) error {
	return a.change(ctx, func(s *settings) error {
		if old := s.Receivers[r.Name]; old != nil {
			r.keepSecrets(old)
		}
		if err := r.validate(); err != nil {
			return err
		}
		s.Receivers[r.Name] = &r
		return nil
	})
}

// RemoveReceiver removes a receiver; an unknown one is a NotFound error.
func (a *Alerts) RemoveReceiver(ctx context.Context, name string) error {
	return a.change(ctx, func(s *settings) error {
		if s.Receivers[name] == nil {
			return unknownReceiver(name)
		}
		delete(s.Receivers, name)
		return nil
	})
}

func unknownReceiver(name string) error {
	return mayfly.Errorf(mayfly.NotFound, "find receiver", "there is no receiver %q", name)
}

// AddSilence adds a silence and returns its id.
func (a *Alerts) AddSilence(ctx context.Context, q Silence) (string, error) {
	if err := q.validate(time.Now()); err != nil {
		return "", err
	}
	q.ID = mayfly.NewID()[:8]
	return q.ID, a.change(ctx, func(s *settings) error {
		s.Silences[q.ID] = &q
		return nil
	})
}

// RemoveSilence ends a silence; an unknown one is a NotFound error.
func (a *Alerts) RemoveSilence(ctx context.Context, id string) error {
	return a.change(ctx, func(s *settings) error {
		if s.Silences[id] == nil {
			return mayfly.Errorf(mayfly.NotFound, "remove silence", "there is no silence %q", id)
		}
		delete(s.Silences, id)
		return nil
	})
}

// receivers returns the receivers, by name.
func (a *Alerts) receivers() map[string]*Receiver {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.settings.Receivers // replaced as a whole, never changed
}
