package alert

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// message is what one receiver is told about one group.
type message struct {
	receiver *Receiver
	app      mayfly.AppName
	alerts   []ActiveAlert // firing ones and those that resolved
}

func (m *message) firing() bool {
	return slices.ContainsFunc(m.alerts, func(al ActiveAlert) bool { return al.State == Firing })
}

// maxSending bounds the time of one round's messages to a receiver that hangs.
const maxSending = 20 * time.Second

// tell sends what there is to tell. A message that fails is tried again in the
// next round.
func (a *Alerts) tell(ctx context.Context, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, maxSending)
	defer cancel()
	for _, m := range a.messages(now) {
		if err := a.send(ctx, m); err != nil {
			a.cfg.Log.Error("an alert cannot be told", "receiver", m.receiver.Name, "app", m.app, "error", err)
			continue
		}
		a.told(m, now)
	}
	a.forget(now)
}

// messages finds who is to be told what.
func (a *Alerts) messages(now time.Time) []message {
	a.mu.Lock()
	defer a.mu.Unlock()
	groups := map[[2]string]*message{}
	for _, key := range slices.Sorted(maps.Keys(a.active)) {
		al := a.active[key]
		for _, r := range a.settings.of(al) {
			_, told := al.Told[r.Name]
			if al.State == Pending || al.State == Resolved && !told || al.State == Firing && a.settings.silenced(al.Labels, now) {
				continue
			}
			id := [2]string{r.Name, string(al.App)}
			if groups[id] == nil {
				groups[id] = &message{receiver: r, app: al.App}
			}
			groups[id].alerts = append(groups[id].alerts, *al)
		}
	}
	var out []message
	for _, id := range slices.SortedFunc(maps.Keys(groups), func(x, y [2]string) int { return cmp.Or(cmp.Compare(x[0], y[0]), cmp.Compare(x[1], y[1])) }) {
		if a.news(groups[id], now) {
			out = append(out, *groups[id])
		}
	}
	return out
}

// of are the receivers of an alert: those that its rule names, else those for
// all. Where none of the named ones is there, the others are told rather than
// nobody.
func (s *settings) of(al *ActiveAlert) []*Receiver {
	var out []*Receiver
	named := slices.ContainsFunc(al.Notify, func(name string) bool { return s.Receivers[name] != nil })
	for _, name := range slices.Sorted(maps.Keys(s.Receivers)) {
		r := s.Receivers[name]
		if slices.Contains(al.Notify, name) || !named && !r.OnlyNamed {
			out = append(out, r)
		}
	}
	return out
}

// news takes out of a group what its receiver does not need to be told now, and
// reports whether something is left that has waited long enough for others.
func (a *Alerts) news(m *message, now time.Time) bool {
	due := false
	m.alerts = slices.DeleteFunc(m.alerts, func(al ActiveAlert) bool {
		at, told := al.Told[m.receiver.Name]
		switch {
		case al.State == Resolved:
			due = true
		case !told:
			due = due || now.Sub(al.Fired) >= a.cfg.Wait
		case now.Sub(at) >= a.cfg.Repeat:
			due = true
		default:
			return true
		}
		return false
	})
	return due
}

// told notes that a message arrived.
func (a *Alerts) told(m message, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range m.alerts {
		al := a.active[m.alerts[i].Key]
		if al == nil {
			continue
		}
		if m.alerts[i].State == Resolved {
			delete(al.Told, m.receiver.Name)
		} else {
			if al.Told == nil {
				al.Told = map[string]time.Time{}
			}
			al.Told[m.receiver.Name] = now
		}
		a.dirty = true
	}
}

// keepResolved is how long a resolved alert is listed.
const keepResolved = time.Hour

// forget drops resolved alerts that all know of, and receivers that are gone.
func (a *Alerts) forget(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, al := range a.active {
		for name := range al.Told {
			if a.settings.Receivers[name] == nil {
				delete(al.Told, name)
				a.dirty = true
			}
		}
		if al.State == Resolved && len(al.Told) == 0 && now.Sub(al.Resolved) > keepResolved {
			delete(a.active, key)
			a.dirty = true
		}
	}
}
