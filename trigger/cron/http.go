package cron

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
)

type listInput struct {
	App mayfly.AppName `path:"app"`
}

type listOutput struct {
	Body struct {
		Schedules []Info `json:"schedules"`
	}
}

type runInput struct {
	App  mayfly.AppName `path:"app"`
	Body struct {
		Function mayfly.FunctionName `json:"function"`
		Name     string              `json:"name,omitempty" doc:"Of the trigger, or its schedule; needed where the function has several"`
	}
}

type runOutput struct {
	Body struct {
		ID string `json:"id" doc:"Of the asynchronous call"`
	}
}

// Register adds the operations on schedules.
func (d *Driver) Register(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "list-schedules", Method: http.MethodGet, Path: "/v1/apps/{app}/schedules", Summary: "List an app's schedules with their next firings", Tags: []string{"Events"},
	}, d.httpList)
	huma.Register(api, huma.Operation{
		OperationID: "run-schedule", Method: http.MethodPost, Path: "/v1/apps/{app}/schedules/run", Summary: "Fire a schedule now", Tags: []string{"Events"}, DefaultStatus: http.StatusAccepted,
	}, d.httpRun)
}

func (d *Driver) may(ctx context.Context, app mayfly.AppName, verb, fn string) error {
	return mayfly.Authorize(ctx, d.cfg.Authorize, app, verb, "function", fn)
}

func (d *Driver) httpList(ctx context.Context, in *listInput) (*listOutput, error) {
	if err := d.may(ctx, in.App, "read", "*"); err != nil {
		return nil, err
	}
	list, err := d.List(ctx, in.App)
	out := &listOutput{}
	out.Body.Schedules = list
	return out, err
}

func (d *Driver) httpRun(ctx context.Context, in *runInput) (*runOutput, error) {
	if err := d.may(ctx, in.App, "call", string(in.Body.Function)); err != nil {
		return nil, err
	}
	id, err := d.RunNow(ctx, in.App, in.Body.Function, in.Body.Name)
	out := &runOutput{}
	out.Body.ID = id
	return out, err
}
