package prom

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// group is a metric as a reader of the text knows it. Histograms and sums that
// functions report are counters here, of their buckets, their sum and their
// number; they are one metric there.
type group struct {
	name, help string
	kind       kind
	families   []*family // in the order in which they are written
}

const (
	summary kind = "summary" // a sum and a number

	bucketSuffix, countSuffix, sumSuffix = "_bucket", "_count", "_sum"
)

// groups are the metrics by name. The lock is held.
func (m *Metrics) groups() []group {
	var out []group
	for _, name := range sortedKeys(m.families) {
		f := m.families[name]
		base, whole := m.base(name)
		switch {
		case !whole:
			out = append(out, group{f.name, f.help, f.kind, []*family{f}})
		case strings.HasSuffix(name, countSuffix): // told once
			g := group{name: base, help: f.help, kind: summary, families: []*family{m.families[base+sumSuffix], f}}
			if buckets := m.families[base+bucketSuffix]; buckets != nil {
				g.kind, g.families = exphist, append([]*family{buckets}, g.families...)
			}
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b group) int { return cmp.Compare(a.name, b.name) })
	return out
}

// base is the name of the metric that a family is a part of, where all of its
// parts are there.
func (m *Metrics) base(name string) (base string, whole bool) {
	for _, suffix := range []string{bucketSuffix, countSuffix, sumSuffix} {
		if b, ok := strings.CutSuffix(name, suffix); ok {
			base = b
		}
	}
	if base == "" || m.families[base] != nil {
		return "", false
	}
	for _, suffix := range []string{countSuffix, sumSuffix} {
		if f := m.families[base+suffix]; f == nil || f.kind != counter {
			return "", false
		}
	}
	return base, true
}

// ordered are a family's series: buckets of one histogram by their bounds.
func (f *family) ordered() []*series {
	out := make([]*series, 0, len(f.series))
	for _, key := range sortedKeys(f.series) {
		out = append(out, f.series[key])
	}
	if !strings.HasSuffix(f.name, bucketSuffix) {
		return out
	}
	bound := func(s *series) float64 {
		le, err := strconv.ParseFloat(s.labels.Get("le"), 64)
		if err != nil {
			return 0
		}
		return le
	}
	histogram := make(map[*series]string, len(out))
	for _, s := range out {
		histogram[s] = s.labels.MatchLabels(false, "le").String()
	}
	slices.SortStableFunc(out, func(a, b *series) int {
		return cmp.Or(cmp.Compare(histogram[a], histogram[b]), cmp.Compare(bound(a), bound(b)))
	})
	return out
}
