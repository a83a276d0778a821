package identity

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
)

type auditInput struct {
	App      string    `query:"app" doc:"Whose resources"`
	Function string    `query:"function" doc:"Who asked"`
	Kind     string    `query:"kind" doc:"bucket, kv, database, secret, queue, topic, function, …"`
	Name     string    `query:"name" doc:"The resource"`
	Refused  bool      `query:"refused" doc:"Only what was refused"`
	Since    time.Time `query:"since" doc:"RFC 3339"`
	Limit    int       `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

type auditOutput struct {
	Body struct {
		Decisions []Entry `json:"decisions"`
	}
}

// Register adds the trail's operation.
func (t *Trail) Register(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "list-decisions", Method: http.MethodGet, Path: "/v1/audit", Tags: []string{"Audit"},
		Summary: "Who was allowed and who was refused what, newest first; equal decisions are counted",
	}, func(ctx context.Context, in *auditInput) (*auditOutput, error) {
		if err := mayfly.Authorize(ctx, nil, "", "read", "audit", "*"); err != nil {
			return nil, err
		}
		out := &auditOutput{}
		var err error
		out.Body.Decisions, err = t.Query(Wanted{App: in.App, Function: in.Function, Kind: in.Kind, Name: in.Name, Refused: in.Refused, Since: in.Since, Limit: in.Limit})
		return out, err
	})
}
