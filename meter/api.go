package meter

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
)

// mayRead asks the authorizer for the verb "read" on "usage".
func (l *Ledger) mayRead(ctx context.Context, app mayfly.AppName, what string) error {
	return mayfly.Authorize(ctx, l.cfg.Authorizer, app, "read", "usage", what)
}

// Register adds the operations that read the ledger.
func (l *Ledger) Register(api huma.API) {
	get := func(id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Summary: summary, Tags: []string{"usage"}}
	}
	huma.Register(api, get("get-usage", "/v1/usage", "What functions used, exactly, and what apps' resources held"), l.getUsage)
	huma.Register(api, get("get-cost", "/v1/cost", "What functions and storage cost, and what the month may come to"), l.getCost)
	huma.Register(api, get("get-call-cost", "/v1/cost/calls/{id}", "What one call or trace costs under each price sheet"), l.getCallCost)
	huma.Register(api, get("list-prices", "/v1/prices", "The price sheets"), l.getPrices)
	huma.Register(api, get("list-budgets", "/v1/budgets", "How apps stand against their budgets"), l.getBudgets)
}

// UsageInput is the query of the operations on usage. It is exported because
// huma reads embedded structs only then.
type UsageInput struct {
	App      mayfly.AppName      `query:"app" maxLength:"63"`
	Function mayfly.FunctionName `query:"function" maxLength:"63"`
	Since    string              `query:"since" maxLength:"40" doc:"RFC 3339, or how long ago (24h, 7d); default the begin of the month (UTC)"`
	Until    string              `query:"until" maxLength:"40" doc:"RFC 3339, or how long ago; default now"`
	By       []string            `query:"by" maxItems:"5" doc:"app, function, version, resource, second, minute, hour, day, tag:NAME; default app and function"`
}

func (in *UsageInput) query(now time.Time) (q UsageQuery, err error) {
	q = UsageQuery{App: in.App, Function: in.Function, By: in.By}
	if q.Since, err = mayfly.ParseTime(in.Since, now); err == nil {
		q.Until, err = mayfly.ParseTime(in.Until, now)
	}
	return q, err
}

type usageReply struct {
	Body struct {
		Rows    []UsageRow   `json:"rows"`
		Storage []StorageRow `json:"storage"` // of apps; by second and minute there is none
	}
}

func (l *Ledger) getUsage(ctx context.Context, in *UsageInput) (*usageReply, error) {
	if err := l.mayRead(ctx, in.App, "usage"); err != nil {
		return nil, err
	}
	q, err := in.query(l.cfg.Now())
	if err != nil {
		return nil, err
	}
	out := new(usageReply)
	if out.Body.Rows, err = l.Usage(ctx, q); err == nil {
		out.Body.Storage, err = l.Stored(ctx, q)
	}
	if out.Body.Storage == nil {
		out.Body.Storage = []StorageRow{}
	}
	return out, err
}

type costInput struct {
	UsageInput
	Prices string `query:"prices" maxLength:"63" doc:"A price sheet; default the node's"`
	Free   bool   `query:"free" doc:"Take the free part of a month off the totals"`
}

// CostRow is a row of usage with its price.
type CostRow struct {
	UsageRow
	Cost CostTotals `json:"cost"`
}

// StorageCost is a row of storage with its price.
type StorageCost struct {
	StorageRow
	Cost float64 `json:"cost"`
}

type costReply struct {
	Body struct {
		Prices   string        `json:"prices"`
		Currency string        `json:"currency"`
		Rows     []CostRow     `json:"rows"`
		Storage  []StorageCost `json:"storage"` // of apps; by second and minute there is none
		Total    CostTotals    `json:"total"`   // of both
		// Of the current month (UTC), whatever the query's times:
		MonthToDate CostTotals `json:"month_to_date"`
		Forecast    CostTotals `json:"forecast"`
		FromDays    float64    `json:"forecast_from_days"`
	}
}

func (l *Ledger) getCost(ctx context.Context, in *costInput) (*costReply, error) {
	if err := l.mayRead(ctx, in.App, "cost"); err != nil {
		return nil, err
	}
	q, err := in.query(l.cfg.Now())
	if err != nil {
		return nil, err
	}
	sheet, err := l.sheet(in.Prices)
	if err != nil {
		return nil, err
	}
	rows, err := l.Usage(ctx, q)
	if err != nil {
		return nil, err
	}
	stored, err := l.Stored(ctx, q)
	if err != nil {
		return nil, err
	}
	month, err := l.Forecast(ctx, in.App, l.cfg.Now())
	if err != nil {
		return nil, err
	}
	out := new(costReply)
	b := &out.Body
	b.Prices, b.Currency, b.Rows, b.Storage = sheet.Name, sheet.Currency, make([]CostRow, len(rows)), make([]StorageCost, len(stored))
	var all UsageTotals
	for i, r := range rows {
		b.Rows[i] = CostRow{r, sheet.Cost(r.Usage, nil, false)}
		all = all.Add(r.Usage)
	}
	for i, r := range stored {
		b.Storage[i] = StorageCost{r, r.GiBMonths * sheet.PerGiBMonth[r.Kind]}
	}
	b.Total, b.FromDays = sheet.Cost(all, storedOf(stored), in.Free), month.Days
	b.MonthToDate, b.Forecast = sheet.Cost(month.SoFar, month.StoredSoFar, in.Free), sheet.Cost(month.Month, month.StoredMonth, in.Free)
	return out, nil
}

type callCostReply struct {
	Body struct {
		Usage UsageTotals           `json:"usage"`
		Calls int                   `json:"calls"`
		Costs map[string]CostTotals `json:"costs"` // by price sheet
	}
}

func (l *Ledger) getCallCost(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"200"`
}) (*callCostReply, error) {
	if l.cfg.Calls == nil {
		return nil, mayfly.Errorf(mayfly.Unavailable, "price a call", "this node keeps no records of calls")
	}
	calls, err := l.cfg.Calls(ctx, in.ID)
	if err != nil {
		if denied := l.mayRead(ctx, "", "cost"); denied != nil {
			return nil, denied // whether there is a record is not theirs to know
		}
		return nil, err
	}
	out := new(callCostReply)
	for _, inv := range calls {
		if err := l.mayRead(ctx, inv.App, "cost"); err != nil {
			return nil, err
		}
		out.Body.Usage = out.Body.Usage.Add(UsageOf(inv))
	}
	out.Body.Calls, out.Body.Costs = len(calls), map[string]CostTotals{}
	for name, s := range l.sheets {
		out.Body.Costs[name] = s.Cost(out.Body.Usage, nil, false)
	}
	return out, nil
}

type pricesReply struct {
	Body struct {
		Default string        `json:"default"`
		Sheets  []*PriceSheet `json:"sheets"`
	}
}

func (l *Ledger) getPrices(ctx context.Context, _ *struct{}) (*pricesReply, error) {
	if err := l.mayRead(ctx, "", "prices"); err != nil {
		return nil, err
	}
	out := new(pricesReply)
	out.Body.Default, out.Body.Sheets = l.cfg.Prices, l.Sheets()
	return out, nil
}

type budgetsReply struct {
	Body struct {
		Budgets []BudgetState `json:"budgets"`
	}
}

func (l *Ledger) getBudgets(ctx context.Context, _ *struct{}) (*budgetsReply, error) {
	if err := l.mayRead(ctx, "", "budgets"); err != nil {
		return nil, err
	}
	out := new(budgetsReply)
	var err error
	out.Body.Budgets, err = l.Budgets()
	return out, err
}
