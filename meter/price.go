package meter

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

//go:embed prices.json
var builtin []byte

// PriceSheet is how a provider charges. Prices are in the sheet's currency.
type PriceSheet struct {
	Name     string `json:"name"`
	Title    string `json:"title"`
	Currency string `json:"currency"`
	Source   string `json:"source,omitempty"`

	PerMillionRequests float64 `json:"per_million_requests,omitempty"`
	PerGiBSecond       float64 `json:"per_gib_second,omitempty"`
	PerVCPUSecond      float64 `json:"per_vcpu_second,omitempty"`
	VCPUPerCall        float64 `json:"vcpu_per_call,omitempty"`      // what is charged for each call's time
	PerMillionCPUms    float64 `json:"per_million_cpu_ms,omitempty"` // of CPU time that was used
	PerGiBEgress       float64 `json:"per_gib_egress,omitempty"`     // of replies and of what code sent
	RoundMillis        int     `json:"round_ms,omitempty"`           // each call's time is rounded up to this: 1 (default) or 100
	PerNodeHour        float64 `json:"per_node_hour,omitempty"`      // of a node with …
	NodeGiB            float64 `json:"node_gib,omitempty"`           // … this memory, charged by memory time
	Free               Free    `json:"free,omitzero"`

	// PerGiBMonth is the price of storage by kind: bucket, kv, database. A kind
	// that is not there costs nothing.
	PerGiBMonth map[string]float64 `json:"per_gib_month,omitempty"`
}

// Free is what a month holds before anything is charged.
type Free struct {
	Requests    float64 `json:"requests,omitempty"`
	GiBSeconds  float64 `json:"gib_seconds,omitempty"`
	VCPUSeconds float64 `json:"vcpu_seconds,omitempty"`
	CPUms       float64 `json:"cpu_ms,omitempty"`
	GiBEgress   float64 `json:"gib_egress,omitempty"`

	GiBMonths map[string]float64 `json:"gib_months,omitempty"` // of storage, by kind
}

// CostTotals is what usage costs, by what is charged.
type CostTotals struct {
	Requests float64 `json:"requests"`
	Memory   float64 `json:"memory"`
	CPU      float64 `json:"cpu"`
	Egress   float64 `json:"egress"`
	Storage  float64 `json:"storage"`
	Total    float64 `json:"total"`
}

// loadSheets reads the built-in sheets and those in more, which may replace
// them. It returns an Invalid error for a sheet that makes no sense.
func loadSheets(more []byte) (map[string]*PriceSheet, error) {
	sheets := map[string]*PriceSheet{}
	for _, data := range [][]byte{builtin, more} {
		if len(data) == 0 {
			continue
		}
		var list []*PriceSheet
		if err := json.Unmarshal(data, &list); err != nil {
			return nil, mayfly.Errorf(mayfly.Invalid, "read price sheets", "%w", err)
		}
		for _, s := range list {
			if err := s.validate(); err != nil {
				return nil, err
			}
			sheets[s.Name] = s
		}
	}
	return sheets, nil
}

func (s *PriceSheet) validate() error {
	bad := func(what string) error {
		return mayfly.Errorf(mayfly.Invalid, "read price sheets", "sheet %q: %s", s.Name, what)
	}
	switch {
	case !mayfly.ValidName(s.Name):
		return bad("the name must be lower case letters, digits and dashes")
	case s.RoundMillis != 0 && s.RoundMillis != 1 && s.RoundMillis != 100:
		return bad("round_ms is 1 or 100")
	case s.PerNodeHour > 0 && s.NodeGiB <= 0:
		return bad("per_node_hour needs node_gib")
	}
	for _, v := range []float64{s.PerMillionRequests, s.PerGiBSecond, s.PerVCPUSecond, s.VCPUPerCall, s.PerMillionCPUms, s.PerGiBEgress, s.PerNodeHour, s.NodeGiB} {
		if v < 0 {
			return bad("a price is negative")
		}
	}
	for _, byKind := range []map[string]float64{s.PerGiBMonth, s.Free.GiBMonths} {
		for kind, v := range byKind {
			if !slices.Contains(Kinds, kind) {
				return bad(fmt.Sprintf("storage of kind %q is unknown; there are %s", kind, strings.Join(Kinds, ", ")))
			}
			if v < 0 {
				return bad("a price is negative")
			}
		}
	}
	return nil
}

// Sheets returns the known price sheets by name.
func (l *Ledger) Sheets() []*PriceSheet {
	return slices.SortedFunc(maps.Values(l.sheets), func(a, b *PriceSheet) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
}

// sheet finds a sheet; "" is the configured one.
func (l *Ledger) sheet(name string) (*PriceSheet, error) {
	if name == "" {
		name = l.cfg.Prices
	}
	if s := l.sheets[name]; s != nil {
		return s, nil
	}
	return nil, mayfly.Errorf(mayfly.NotFound, "find price sheet", "there is no price sheet %q; there are %v", name, slices.Sorted(maps.Keys(l.sheets)))
}

// Stored is storage by kind, in GiB-months: one is a GiB for the whole of a
// calendar month (UTC).
type Stored map[string]float64

// Cost prices usage. With free, the month's free part is taken off, as if u and
// stored were all of the month's usage.
func (s *PriceSheet) Cost(u UsageTotals, stored Stored, free bool) CostTotals {
	var off Free
	if free {
		off = s.Free
	}
	millis, kibms := u.Millis, u.KiBms
	if s.RoundMillis == 100 {
		millis, kibms = u.Millis1c, u.KiBms1c
	}
	gibSeconds := float64(kibms) / (1 << 20) / 1000
	perGiBSecond := s.PerGiBSecond
	if s.PerNodeHour > 0 {
		perGiBSecond += s.PerNodeHour / 3600 / s.NodeGiB
	}
	c := CostTotals{
		Requests: charged(float64(u.Requests), off.Requests) / 1e6 * s.PerMillionRequests,
		Memory:   charged(gibSeconds, off.GiBSeconds) * perGiBSecond,
		CPU: charged(float64(millis)/1000*s.VCPUPerCall, off.VCPUSeconds)*s.PerVCPUSecond +
			charged(float64(u.CPU)/1e6, off.CPUms)/1e6*s.PerMillionCPUms,
		Egress: charged(float64(u.BytesOut+u.Egress)/(1<<30), off.GiBEgress) * s.PerGiBEgress,
	}
	for _, kind := range Kinds {
		c.Storage += charged(stored[kind], off.GiBMonths[kind]) * s.PerGiBMonth[kind]
	}
	c.Total = c.Requests + c.Memory + c.CPU + c.Egress + c.Storage
	return c
}

func charged(n, free float64) float64 { return max(0, n-free) }
