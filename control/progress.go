package control

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/artifact"
)

// Stage is a step of a deploy.
type Stage string

const (
	StagePacking  Stage = "packing"  // a function's files are read
	StageBuilding Stage = "building" // its build command runs; Text is a line that it printed
	StagePacked   Stage = "packed"
	StageStarting Stage = "starting" // a new version starts for the first time
	StageStarted  Stage = "started"
	StageSwitched Stage = "switched" // the app is live
)

// Progress is one step of a deploy, for people.
type Progress struct {
	Stage    Stage               `json:"stage"`
	Function mayfly.FunctionName `json:"function,omitempty"`
	Version  int                 `json:"version,omitempty"`
	Text     string              `json:"text,omitempty"`
}

// report calls a progress function from several goroutines, one at a time.
type report struct {
	mu sync.Mutex
	fn func(Progress)
}

func newReport(fn func(Progress)) *report { return &report{fn: fn} }

func (r *report) say(p Progress) {
	if r.fn == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fn(p)
}

// buildOutput reports whole lines of what a build prints.
type buildOutput struct {
	report   *report
	function mayfly.FunctionName
	line     []byte
}

func (b *buildOutput) Write(p []byte) (int, error) {
	b.line = append(b.line, p...)
	for {
		i := bytes.IndexByte(b.line, '\n')
		if i < 0 {
			if len(b.line) < 4096 {
				return len(p), nil
			}
			i = len(b.line) - 1
		}
		b.report.say(Progress{Stage: StageBuilding, Function: b.function, Text: string(bytes.TrimRight(b.line[:i+1], "\r\n"))})
		b.line = b.line[i+1:]
	}
}

// packer packs the functions of an app.
type packer struct {
	store    *artifact.Store
	images   *images // nil: there are none
	parallel int
	report   *report
}

// all packs every function, several at once, and returns what failed by
// function.
func (p *packer) all(ctx context.Context, src *Source, m *mayfly.Manifest) (map[mayfly.FunctionName]artifact.Bundle, map[mayfly.FunctionName]error) {
	var mu sync.Mutex
	bundles, failed := map[mayfly.FunctionName]artifact.Bundle{}, map[mayfly.FunctionName]error{}
	var g errgroup.Group
	g.SetLimit(p.parallel)
	for name, fn := range m.Functions {
		g.Go(func() error {
			b, err := p.one(ctx, src, name, fn)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[name] = mayfly.Errorf(mayfly.CodeOf(err), "function "+string(name), "%w", err)
			} else {
				bundles[name] = b
			}
			return nil
		})
	}
	_ = g.Wait()
	return bundles, failed
}

func (p *packer) one(ctx context.Context, src *Source, name mayfly.FunctionName, fn *mayfly.Function) (artifact.Bundle, error) {
	p.report.say(Progress{Stage: StagePacking, Function: name})
	b, err := src.bundle(ctx, p.store, p.images, name, fn, artifact.Options{
		Output:  &buildOutput{report: p.report, function: name},
		Started: func() { p.report.say(Progress{Stage: StageBuilding, Function: name, Text: fn.Build}) },
	})
	if err == nil {
		p.report.say(Progress{Stage: StagePacked, Function: name})
	}
	return b, err
}

// allOf is one error for the failures of several functions, nil for none.
func allOf(ctx context.Context, failed map[mayfly.FunctionName]error) error {
	if len(failed) > 0 && ctx.Err() != nil {
		return ctx.Err()
	}
	return together(slices.Collect(maps.Values(failed)))
}

// together joins failures of several functions into one error that says each;
// its code is theirs where they agree.
func together(failed []error) error {
	switch len(failed) {
	case 0:
		return nil
	case 1:
		return failed[0]
	}
	code := mayfly.CodeOf(failed[0])
	for _, err := range failed[1:] {
		if mayfly.CodeOf(err) != code {
			code = mayfly.Invalid
		}
	}
	all := errors.Join(sortErrors(failed)...)
	return &mayfly.Error{Code: code, Message: all.Error(), Err: all}
}
