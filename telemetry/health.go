package telemetry

import "time"

// StoreHealth is how the store fares. RowCounts are since it was opened.
type StoreHealth struct {
	Shed      RowCounts `json:"shed"`       // rows given up for want of time or of a working disk
	Sampled   int64     `json:"sampled"`    // spans that the sampler let go
	SpanShare float64   `json:"span_share"` // of ordinary traces that are kept now
	Damaged   int64     `json:"damaged"`    // blocks that could not be read
	Disk      RowCounts `json:"disk_bytes"`
	Failure   string    `json:"failure,omitempty"` // of the last write; empty where it went well

	Exports []ExportHealth `json:"exports,omitempty"`
}

// ExportHealth is how the sending of telemetry to another tool fares. Counts are
// of rows and series since the start.
type ExportHealth struct {
	To        string    `json:"to"` // otlp or remote-write
	Endpoint  string    `json:"endpoint"`
	Sent      int64     `json:"sent"`
	Dropped   int64     `json:"dropped"`              // did not fit, or were refused
	Waiting   int       `json:"waiting"`              // of remote-write: requests
	LastError string    `json:"last_error,omitempty"` // "" where the last send went well
	LastSent  time.Time `json:"last_sent,omitzero"`
}

// RowCounts is a number for each kind of row.
type RowCounts struct {
	Lines       int64 `json:"lines"`
	Spans       int64 `json:"spans"`
	Invocations int64 `json:"invocations"`
}

// Health is the store's state now.
func (s *Store) Health() StoreHealth {
	h := StoreHealth{
		Shed:    s.shed(),
		Sampled: s.sampler.droppedTotal.Load(), SpanShare: s.sampler.shareNow(),
		Damaged: s.lines.broken.Load() + s.spans.broken.Load() + s.calls.broken.Load(),
		Disk:    RowCounts{Lines: s.lines.size(), Spans: s.spans.size(), Invocations: s.calls.size()},
	}
	for _, f := range []string{s.lines.lastFailure(), s.spans.lastFailure(), s.calls.lastFailure()} {
		if f != "" {
			h.Failure = f
		}
	}
	for _, export := range s.exports {
		h.Exports = append(h.Exports, export())
	}
	return h
}

func (s *Store) shed() RowCounts {
	return RowCounts{
		Lines:       s.lineQueue.shed.Load() + s.lines.shed.Load(),
		Spans:       s.spanQueue.shed.Load() + s.spans.shed.Load(),
		Invocations: s.callQueue.shed.Load() + s.calls.shed.Load(),
	}
}
