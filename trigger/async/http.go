package async

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
)

// CallPath names an asynchronous call; exported so that huma fills it.
type CallPath struct {
	App mayfly.AppName `path:"app" doc:"The function's app"`
	ID  string         `path:"id" doc:"What the call's acceptance answered"`
}

type statusOutput struct{ Body *Status }

// Register adds the operations on asynchronous calls.
func (c *Calls) Register(api huma.API) {
	const path = "/v1/apps/{app}/calls/{id}"
	huma.Register(api, huma.Operation{
		OperationID: "get-call", Method: http.MethodGet, Path: path, Summary: "Say what became of an asynchronous call", Tags: []string{"Events"},
	}, c.get)
	huma.Register(api, huma.Operation{
		OperationID: "cancel-call", Method: http.MethodDelete, Path: path, Summary: "Cancel an asynchronous call that waits or runs", Tags: []string{"Events"}, DefaultStatus: http.StatusNoContent,
	}, c.cancel)
}

// find returns a call of the app whose function the caller may call.
func (c *Calls) find(ctx context.Context, in *CallPath) (*Status, error) {
	status, err := c.Status(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if status.App != "" && status.App != in.App {
		return nil, mayfly.Errorf(mayfly.NotFound, "read call", "the app %s has no asynchronous call %s", in.App, in.ID)
	}
	return status, mayfly.Authorize(ctx, c.cfg.Authorize, in.App, "call", "function", string(status.Function))
}

func (c *Calls) get(ctx context.Context, in *CallPath) (*statusOutput, error) {
	status, err := c.find(ctx, in)
	if err != nil {
		return nil, err
	}
	return &statusOutput{status}, nil
}

func (c *Calls) cancel(ctx context.Context, in *CallPath) (*struct{}, error) {
	if _, err := c.find(ctx, in); err != nil {
		return nil, err
	}
	return nil, c.Cancel(ctx, in.ID)
}
