package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/control"
)

// Deploys changes what is live; *control.Control is it.
type Deploys interface {
	State() *control.State
	Plan(ctx context.Context, src *control.Source, progress func(control.Progress)) (*control.Plan, error)
	Deploy(ctx context.Context, src *control.Source, o control.Options) (*control.Result, error)
	Promote(ctx context.Context, app mayfly.AppName, fn mayfly.FunctionName, version, percent int) (mayfly.Alias, error)
	Rollback(ctx context.Context, app mayfly.AppName, fn mayfly.FunctionName, version int) (mayfly.Alias, error)
	Remove(ctx context.Context, app mayfly.AppName) error
	History
}

// DeployEvent is one line of a deploy's reply, which is newline-delimited JSON:
// its progress, and last either its result or why it failed.
type DeployEvent struct {
	Progress *control.Progress `json:"progress,omitempty"`
	Plan     *control.Plan     `json:"plan,omitempty"`
	Result   *control.Result   `json:"result,omitempty"`
	Error    *mayfly.Problem   `json:"error,omitempty"`
}

// sent is an app as control.Send writes it. huma would read it into memory, so
// that the body is taken from the context.
type sent struct {
	Message string `query:"message" doc:"Kept with the deploy"`
	Lenient bool   `query:"lenient" doc:"Deploy functions whose runtime the node lacks, with a warning"`
	Canary  int    `query:"canary" minimum:"0" maximum:"99" doc:"Percent of the calls that new versions get; 0 for all"`
	Hold    bool   `query:"hold" doc:"Make the new versions and leave all calls where they are"`
	body    io.Reader
}

func (s *sent) Resolve(ctx huma.Context) []error {
	s.body = ctx.BodyReader()
	return nil
}

func (a *API) registerDeploys() {
	body := &huma.RequestBody{
		Description: "The app as a tar, compressed by zstd or gzip: mayfly.yaml and the files that it names.", Required: true,
		Content: map[string]*huma.MediaType{"application/octet-stream": {}},
	}
	huma.Register(a.huma, huma.Operation{
		OperationID: "plan", Method: http.MethodPost, Path: "/v1/plan", Summary: "What a deploy would change", Tags: []string{"deploys"}, RequestBody: body,
		Description: "The reply is newline-delimited JSON: progress, then plan or error.",
	}, a.plan)
	huma.Register(a.huma, huma.Operation{
		OperationID: "deploy", Method: http.MethodPost, Path: "/v1/deploys", Summary: "Deploy an app: all of it or nothing", Tags: []string{"deploys"}, RequestBody: body,
		Description: "The reply is newline-delimited JSON: progress, then result or error.",
	}, a.deploy)
	a.registerApps()
	a.registerHistory()
}

func (a *API) plan(ctx context.Context, in *sent) (*huma.StreamResponse, error) {
	return a.receive(ctx, in, func(src *control.Source, say func(DeployEvent)) error {
		p, err := a.cfg.Deploys.Plan(ctx, src, progress(say))
		if err == nil {
			say(DeployEvent{Plan: p})
		}
		return err
	})
}

func (a *API) deploy(ctx context.Context, in *sent) (*huma.StreamResponse, error) {
	return a.receive(ctx, in, func(src *control.Source, say func(DeployEvent)) error {
		r, err := a.cfg.Deploys.Deploy(ctx, src, control.Options{
			Message: in.Message, Lenient: in.Lenient, Canary: in.Canary, Hold: in.Hold, Progress: progress(say),
		})
		if err == nil {
			say(DeployEvent{Result: r})
		}
		return err
	})
}

func progress(say func(DeployEvent)) func(control.Progress) {
	return func(p control.Progress) { say(DeployEvent{Progress: &p}) }
}

// receive unpacks what was sent and streams what work says of it.
func (a *API) receive(ctx context.Context, in *sent, work func(*control.Source, func(DeployEvent)) error) (*huma.StreamResponse, error) {
	if err := os.MkdirAll(a.cfg.Tmp, 0o700); err != nil {
		return nil, err
	}
	src, err := control.Receive(ctx, in.body, a.cfg.Tmp)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer src.Close()
		hc.SetHeader("Content-Type", "application/x-ndjson")
		out := hc.BodyWriter()
		enc := json.NewEncoder(out)
		say := func(ev DeployEvent) {
			_ = enc.Encode(ev) // a client that went away does not stop a deploy
			if f, ok := out.(http.Flusher); ok {
				f.Flush()
			}
		}
		if err := work(src, say); err != nil {
			p := mayfly.ProblemOf(err, true)
			say(DeployEvent{Error: &p})
		}
	}}, nil
}

// Failed is the error that a stream of DeployEvents ended with, nil for none.
func (e *DeployEvent) Failed() error {
	switch {
	case e.Error == nil:
		return nil
	case e.Error.FunctionError != nil:
		return errors.Join(&mayfly.Error{Code: e.Error.Code, Message: e.Error.Detail, Err: e.Error.FunctionError})
	}
	return &mayfly.Error{Code: e.Error.Code, Message: e.Error.Detail}
}
