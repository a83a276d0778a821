package meter

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// budgets compares what apps cost this month with what they may. What is spent
// is known to within a commit, a quarter of a second.
type budgets struct {
	mu     sync.Mutex
	limits map[mayfly.AppName]*mayfly.Budget // guarded by mu
	month  time.Time                         // guarded by mu; the month of used
	used   map[mayfly.AppName]UsageTotals    // guarded by mu; of this month
	stored map[mayfly.AppName]Stored         // guarded by mu; in this month
	ledger *Ledger

	stopped atomic.Pointer[map[mayfly.AppName]string] // why an app may not go on
}

// BudgetState is how an app stands.
type BudgetState struct {
	App      mayfly.AppName `json:"app"`
	Amount   float64        `json:"amount"`
	Spent    float64        `json:"spent"`
	Share    float64        `json:"share"` // spent of amount
	Currency string         `json:"currency"`
	Prices   string         `json:"prices"`
	Action   string         `json:"action"`
	AlertAt  []float64      `json:"alert_at"`
	Stopped  bool           `json:"stopped"`
	Resets   time.Time      `json:"resets"`
}

// load begins with what the ledger holds of this month.
func (b *budgets) load(l *Ledger) error {
	b.limits, b.ledger = map[mayfly.AppName]*mayfly.Budget{}, l
	b.stopped.Store(&map[mayfly.AppName]string{})
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.recount(monthOf(l.cfg.Now()))
}

// recount begins with what the ledger holds of a month. The lock is held.
func (b *budgets) recount(month time.Time) error {
	used, err := b.ledger.since(month)
	if err != nil {
		return err
	}
	stored, err := b.ledger.storedSince(month)
	if err != nil {
		return err
	}
	b.month, b.used, b.stored = month, used, stored
	return nil
}

// since is what each app used from a time on.
func (l *Ledger) since(t time.Time) (map[mayfly.AppName]UsageTotals, error) {
	rows, err := l.sum(context.Background(), UsageQuery{Since: t, Until: l.cfg.Now().Add(24 * time.Hour), By: []string{"app"}})
	used := map[mayfly.AppName]UsageTotals{}
	for _, r := range rows {
		used[r.App] = r.Usage
	}
	return used, err
}

func monthOf(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

// look turns to the current month.
func (b *budgets) look() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn()
}

// spend counts usage of one second.
func (b *budgets) spend(app mayfly.AppName, second uint32, u UsageTotals) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if int64(second) < b.month.Unix() {
		return // the end of the month before
	}
	b.used[app] = b.used[app].Add(u)
	b.judge()
}

// store counts what a resource held for a time, which may begin in the month
// before. The next call of rejudge judges it.
func (b *budgets) store(h holder, since, until, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	since = max(since, b.month.UnixMilli())
	if until <= since {
		return
	}
	if b.stored[h.app] == nil {
		b.stored[h.app] = Stored{}
	}
	length := b.month.AddDate(0, 1, 0).Sub(b.month).Milliseconds()
	b.stored[h.app][h.kind] += float64(bytes) / (1 << 30) * float64(until-since) / float64(length)
}

func (b *budgets) rejudge() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.judge()
}

// turn begins a new month, or, where the machine's clock was wrong and went
// back, goes on with the one before. The lock is held.
func (b *budgets) turn() {
	switch m := monthOf(b.ledger.cfg.Now()); {
	case m.After(b.month):
		b.month, b.used, b.stored = m, map[mayfly.AppName]UsageTotals{}, map[mayfly.AppName]Stored{}
		b.judge()
	case m.Before(b.month) && b.recount(m) == nil: // else the next one tries again
		b.judge()
	}
}

// judge finds the apps that are to stop. The lock is held.
func (b *budgets) judge() {
	stopped := map[mayfly.AppName]string{}
	for app, limit := range b.limits {
		s := b.state(app, limit)
		if s.Stopped {
			stopped[app] = fmt.Sprintf("app %s has spent its budget of %.2f %s; it goes on at %s, or when the budget is raised", app, s.Amount, s.Currency, s.Resets.Format(time.RFC3339))
		}
	}
	b.stopped.Store(&stopped)
}

// state is how an app stands. The lock is held.
func (b *budgets) state(app mayfly.AppName, limit *mayfly.Budget) BudgetState {
	s := BudgetState{App: app, Amount: limit.Amount, Action: cmp.Or(limit.Action, "alert"), AlertAt: limit.AlertAt, Resets: b.month.AddDate(0, 1, 0)}
	if len(s.AlertAt) == 0 {
		s.AlertAt = []float64{0.5, 0.8, 1}
	}
	sheet, err := b.ledger.sheet(limit.Prices)
	if err != nil {
		return s // CheckBudget refused it at the plan; one that vanished since stops nobody
	}
	s.Prices, s.Currency = sheet.Name, sheet.Currency
	s.Spent = sheet.Cost(b.used[app], b.stored[app], false).Total
	if limit.Amount > 0 {
		s.Share = s.Spent / limit.Amount
	}
	s.Stopped = s.Action == "stop" && s.Spent >= limit.Amount
	return s
}

// CheckBudget reports what is wrong with a manifest's budget.
func (l *Ledger) CheckBudget(m *mayfly.Manifest) error {
	if m.Budget == nil {
		return nil
	}
	if m.Budget.Amount <= 0 {
		return mayfly.Errorf(mayfly.Invalid, "budget.amount", "must be more than 0")
	}
	if a := m.Budget.Action; a != "" && a != "alert" && a != "stop" {
		return mayfly.Errorf(mayfly.Invalid, "budget.action", "%q is not alert or stop", a)
	}
	for _, at := range m.Budget.AlertAt {
		if at <= 0 {
			return mayfly.Errorf(mayfly.Invalid, "budget.alert_at", "shares of the amount are more than 0, such as 0.8")
		}
	}
	_, err := l.sheet(m.Budget.Prices)
	return err
}

// Apply takes the budgets of all deployed apps. It is idempotent.
func (l *Ledger) Apply(_ context.Context, apps []*mayfly.Manifest) error {
	limits := map[mayfly.AppName]*mayfly.Budget{}
	for _, m := range apps {
		if m.Budget != nil {
			limits[m.App] = m.Budget
		}
	}
	b := &l.budgets
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn()
	b.limits = limits
	b.judge()
	return nil
}

// Allow returns a Quota error where the app's budget is spent and its action is
// to stop. It costs one map look-up.
func (l *Ledger) Allow(app mayfly.AppName) error {
	why, stopped := (*l.budgets.stopped.Load())[app]
	if !stopped {
		return nil
	}
	return l.budgets.refuse(app, why)
}

// refuse looks again before it says no: a new month may have begun without a
// call that would have told.
func (b *budgets) refuse(app mayfly.AppName, why string) error {
	b.look()
	if _, still := (*b.stopped.Load())[app]; !still {
		return nil
	}
	return mayfly.Errorf(mayfly.Quota, "", "%s", why)
}

// Budgets returns how the apps with a budget stand.
func (l *Ledger) Budgets() ([]BudgetState, error) {
	if err := l.commit(); err != nil {
		return nil, err
	}
	return l.Spending(), nil
}

// Spending is Budgets without what came since the last commit, a quarter of a
// second. It waits for no disk.
func (l *Ledger) Spending() []BudgetState {
	b := &l.budgets
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn()
	out := make([]BudgetState, 0, len(b.limits))
	for app, limit := range b.limits {
		out = append(out, b.state(app, limit))
	}
	slices.SortFunc(out, func(x, y BudgetState) int { return cmp.Compare(x.App, y.App) })
	return out
}
