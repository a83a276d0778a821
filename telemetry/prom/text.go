package prom

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/mayfly-cloud/mayfly"
)

// The classic buckets of the text: powers of two, in seconds, from 1 ms to 17
// minutes. Native buckets end at them too, so that the counts are exact.
const (
	firstBucket = -10
	lastBucket  = 10
)

// ServeHTTP answers GET /metrics in Prometheus's text format 0.0.4.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := mayfly.Authorize(r.Context(), m.cfg.Authorizer, "", "read", "telemetry", "metrics"); err != nil {
		writeError(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	m.WriteText(w)
}

// WriteText writes all series.
func (m *Metrics) WriteText(to io.Writer) {
	w := bufio.NewWriterSize(to, 32<<10)
	defer w.Flush()
	// The lock is not held while a slow reader reads: the text is made first.
	var text strings.Builder
	m.mu.Lock()
	m.collect(m.cfg.Now())
	for _, g := range m.groups() {
		g.write(&text)
	}
	m.mu.Unlock()
	_, _ = w.WriteString(text.String()) // a reader that is gone needs no text
}

func (g *group) write(w *strings.Builder) {
	w.WriteString("# HELP " + g.name + " " + escape(g.help, false) + "\n# TYPE " + g.name + " " + string(g.kind) + "\n")
	for _, f := range g.families {
		f.write(w)
	}
}

func (f *family) write(w *strings.Builder) {
	for _, s := range f.ordered() {
		if s.hist == nil {
			writeSample(w, f.name, s.labels, "", s.value)
			continue
		}
		for exp := firstBucket; exp <= lastBucket; exp++ {
			le := strconv.FormatFloat(pow2(exp), 'g', -1, 64)
			writeSample(w, f.name+"_bucket", s.labels, le, float64(s.hist.below(exp)))
		}
		writeSample(w, f.name+"_bucket", s.labels, "+Inf", float64(s.hist.count))
		writeSample(w, f.name+"_sum", s.labels, "", s.hist.sum)
		writeSample(w, f.name+"_count", s.labels, "", float64(s.hist.count))
	}
}

func pow2(exp int) float64 {
	if exp < 0 {
		return 1 / float64(int(1)<<-exp)
	}
	return float64(int(1) << exp)
}

func writeSample(w *strings.Builder, name string, ls labels.Labels, le string, v float64) {
	w.WriteString(name)
	sep := byte('{')
	ls.Range(func(l labels.Label) {
		if l.Name == model.MetricNameLabel {
			return
		}
		w.WriteByte(sep)
		w.WriteString(l.Name + `="` + escape(l.Value, true) + `"`)
		sep = ','
	})
	if le != "" {
		w.WriteByte(sep)
		w.WriteString(`le="` + le + `"`)
		sep = ','
	}
	if sep == ',' {
		w.WriteByte('}')
	}
	w.WriteString(" " + strconv.FormatFloat(v, 'g', -1, 64) + "\n")
}

func escape(s string, quotes bool) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), "\n", `\n`)
	if quotes {
		s = strings.ReplaceAll(s, `"`, `\"`)
	}
	return s
}
