package stream

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
)

// Info describes a function that consumes a topic as a stream.
type Info struct {
	Function   mayfly.FunctionName `json:"function"`
	Name       string              `json:"name" doc:"Of the trigger; its checkpoints have it"`
	Topic      string              `json:"topic"`
	Batch      int                 `json:"batch"`
	Partitions []PartitionInfo     `json:"partitions"`
}

// PartitionInfo says how far a partition is.
type PartitionInfo struct {
	Partition int        `json:"partition"`
	Position  string     `json:"position" doc:"All events before it are dealt with"`
	Behind    string     `json:"behind,omitempty" doc:"Since when the first event that is not dealt with waits; absent: none does"`
	Failing   int        `json:"failing,omitempty" doc:"Attempts of the batch at hand that failed"`
	Error     string     `json:"error,omitempty" doc:"Of the last of them"`
	Window    *time.Time `json:"window,omitempty" doc:"When the open tumbling window began"`
}

// shown is what others may see of a partition.
type shown struct {
	at      event.Position
	first   time.Time // when the first event at hand was published; zero: none is
	failing int
	problem string
	window  *tumbling
}

// show lets others see where the partition is.
func (p *partition) show(change func(s *shown)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.shown)
	p.shown.at, p.shown.window = p.at, p.window
}

func (p *partition) info(now time.Time) PartitionInfo {
	p.mu.Lock()
	s := p.shown
	p.mu.Unlock()
	out := PartitionInfo{Partition: p.index, Position: s.at.String(), Failing: s.failing, Error: s.problem}
	if !s.first.IsZero() {
		out.Behind = now.Sub(s.first).Round(time.Millisecond).String()
	}
	if s.window != nil {
		out.Window = &s.window.Start
	}
	return out
}

// List describes an app's streams.
func (d *Driver) List(app mayfly.AppName) []Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	out := []Info{}
	for _, c := range d.consumers {
		if c.binding.App != app {
			continue
		}
		info := Info{Function: c.binding.Function, Name: c.binding.Key(), Topic: c.binding.Trigger.Stream, Batch: max(1, c.binding.Trigger.Batch), Partitions: []PartitionInfo{}}
		for _, p := range c.all {
			info.Partitions = append(info.Partitions, p.info(now))
		}
		out = append(out, info)
	}
	slices.SortFunc(out, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return out
}

type listInput struct {
	App mayfly.AppName `path:"app"`
}

type listOutput struct {
	Body struct {
		Streams []Info `json:"streams"`
	}
}

// Register adds the operation that lists streams.
func (d *Driver) Register(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "list-streams", Method: http.MethodGet, Path: "/v1/apps/{app}/streams", Summary: "List the functions that consume topics as streams, and how far each partition is", Tags: []string{"Topics"},
	}, func(ctx context.Context, in *listInput) (*listOutput, error) {
		if err := mayfly.Authorize(ctx, d.cfg.Authorize, in.App, "read", "topic", "*"); err != nil {
			return nil, err
		}
		out := &listOutput{}
		out.Body.Streams = d.List(in.App)
		return out, nil
	})
}
