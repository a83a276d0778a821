package source

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// Driver is a trigger's that takes messages from servers outside.
type Driver interface {
	Links() []trigger.LinkState
}

// Sources are the links of all drivers.
type Sources struct {
	drivers   []Driver
	authorize mayfly.Authorizer // nil: administrators only
}

// New makes Sources of drivers, in the order in which they are listed.
func New(drivers []Driver, authorize mayfly.Authorizer) *Sources {
	return &Sources{drivers, authorize}
}

// Links are how the links of all apps fare.
func (s *Sources) Links() []trigger.LinkState {
	var out []trigger.LinkState
	for _, d := range s.drivers {
		out = append(out, d.Links()...)
	}
	return out
}

type listInput struct {
	App mayfly.AppName `path:"app"`
}

type listOutput struct {
	Body struct {
		Sources []trigger.LinkState `json:"sources"`
	}
}

// Register adds the operation that lists an app's sources.
func (s *Sources) Register(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "list-sources", Method: http.MethodGet, Path: "/v1/apps/{app}/sources",
		Summary: "How the servers outside fare that functions take messages from", Tags: []string{"Events"},
	}, s.list)
}

func (s *Sources) list(ctx context.Context, in *listInput) (*listOutput, error) {
	if err := mayfly.Authorize(ctx, s.authorize, in.App, "call", "function", "*"); err != nil {
		return nil, err
	}
	out := &listOutput{}
	out.Body.Sources = []trigger.LinkState{}
	for _, l := range s.Links() {
		if l.App == in.App {
			out.Body.Sources = append(out.Body.Sources, l)
		}
	}
	return out, nil
}
