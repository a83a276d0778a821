package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/invoke"
)

// HopsHeader carries how many functions an event's causes went through, from a
// function's client to the call it makes.
const HopsHeader = "X-Mayfly-Hops"

type callInput struct {
	App         mayfly.AppName      `path:"app"`
	Function    mayfly.FunctionName `path:"function"`
	Qualifier   string              `query:"qualifier" doc:"An alias or a version number; default live"`
	Async       bool                `query:"async" doc:"Accept the call durably and answer 202 with its id"`
	HTTP        bool                `query:"http" doc:"The event is an HTTP request in API Gateway's payload 2.0, for functions that serve requests"`
	Traceparent string              `header:"Traceparent"`
	Hops        int                 `header:"X-Mayfly-Hops"`
	body        io.Reader
}

// Resolve takes the body as it is: it is any JSON, under any content type.
func (in *callInput) Resolve(ctx huma.Context) []error {
	in.body = ctx.BodyReader()
	return nil
}

type callOutput struct {
	Status      int
	ContentType string `header:"Content-Type"`
	RequestID   string `header:"X-Mayfly-Request-Id"`
	Error       string `header:"X-Mayfly-Error"`
	Record      string `header:"X-Mayfly-Invocation" doc:"The call's record, as JSON"`
	Body        []byte
}

func (a *API) registerCalls() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "invoke-function", Method: http.MethodPost, Path: "/v1/apps/{app}/functions/{function}/invoke",
		Summary: "Call a function", Tags: []string{"functions"},
		RequestBody: &huma.RequestBody{Description: "The event", Content: map[string]*huma.MediaType{"application/json": {}}},
		Description: "The body is the event, the reply the function's result. A function that fails answers 502 with errorType, errorMessage and stackTrace.",
	}, a.call)
}

func (a *API) call(ctx context.Context, in *callInput) (*callOutput, error) {
	who := mayfly.CallerFrom(ctx)
	if err := a.cfg.Grants.Authorize(ctx, who, in.App, "call", "function", string(in.Function)); err != nil {
		return nil, err
	}
	event, err := in.event()
	if err != nil {
		return nil, err
	}
	trace, _ := mayfly.ParseTrace(in.Traceparent, "")
	req := &invoke.Request{
		ID: mayfly.NewID(), App: in.App, Function: in.Function, Qualifier: in.Qualifier, Event: event,
		Trigger: mayfly.TriggerDirect, Trace: trace, Caller: who, HTTP: in.HTTP, Hops: in.Hops,
	}
	if who.Kind == mayfly.CallerFunction {
		req.Hops++
	}
	if in.Async {
		return a.accept(ctx, req)
	}
	return a.run(ctx, req)
}

func (in *callInput) event() ([]byte, error) {
	event, err := io.ReadAll(io.LimitReader(in.body, int64(mayfly.MaxEvent)+1))
	switch {
	case err != nil:
		return nil, mayfly.Errorf(mayfly.Invalid, "", "the event broke off: %w", err)
	case len(event) > int(mayfly.MaxEvent):
		return nil, mayfly.Errorf(mayfly.TooLarge, "", "an event may have %s; put large data into a bucket and send its key", mayfly.MaxEvent)
	case len(event) == 0:
		return []byte("{}"), nil
	case !json.Valid(event):
		return nil, mayfly.Errorf(mayfly.Invalid, "", "the body is not JSON; it is the function's event")
	}
	return event, nil
}

func (a *API) accept(ctx context.Context, req *invoke.Request) (*callOutput, error) {
	if len(req.Event) > int(mayfly.MaxAsync) {
		return nil, mayfly.Errorf(mayfly.TooLarge, "", "an asynchronous event may have %s", mayfly.MaxAsync)
	}
	id, err := a.cfg.Async.Enqueue(ctx, req)
	if err != nil {
		return nil, err
	}
	body, _ := json.Marshal(map[string]string{"id": id})
	return &callOutput{Status: http.StatusAccepted, ContentType: "application/json", RequestID: id, Body: body}, nil
}

func (a *API) run(ctx context.Context, req *invoke.Request) (*callOutput, error) {
	res, err := a.cfg.Invoker.Invoke(ctx, req)
	out := &callOutput{Status: http.StatusOK, ContentType: "application/json", RequestID: req.ID}
	var ferr *mayfly.FunctionError
	switch {
	case errors.As(err, &ferr):
		out.Error = string(mayfly.FunctionFailed)
		out.Status = mayfly.FunctionFailed.HTTPStatus()
		if ferr.Type == mayfly.ErrorTypeTimeout {
			out.Error, out.Status = string(mayfly.Timeout), mayfly.Timeout.HTTPStatus()
		}
		out.Body = ferr.Body()
	case err != nil:
		return nil, err
	case res.Body != nil:
		defer res.Body.Close()
		if out.Body, err = io.ReadAll(io.LimitReader(res.Body, int64(mayfly.MaxEvent)+1)); err != nil {
			return nil, err
		}
		if len(out.Body) > int(mayfly.MaxEvent) {
			return nil, mayfly.Errorf(mayfly.TooLarge, "", "the reply has more than %s; the gateway streams it: POST /_fn/%s/%s", mayfly.MaxEvent, req.App, req.Function)
		}
		out.ContentType = "application/octet-stream"
	default:
		out.Body = res.Payload
	}
	out.Record = record(res.Invocation)
	return out, nil
}

// record is the call's record without its input, short enough for a header.
func record(inv *mayfly.Invocation) string {
	r := *inv
	r.Event, r.Error = nil, nil
	b, _ := json.Marshal(r)
	return string(b)
}
