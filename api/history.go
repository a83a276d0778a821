package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/control"
)

// History is what an app was; *control.Control is it.
type History interface {
	Snapshot(app mayfly.AppName, id string) (*control.Snapshot, error)
	Changes(app mayfly.AppName, from, to string) (*control.Plan, error)
	Restore(ctx context.Context, app mayfly.AppName, id string) (control.Deployment, error)
}

// DeployPath names a deploy of an app; exported so that huma fills it.
type DeployPath struct {
	App    mayfly.AppName `path:"app"`
	Deploy string         `path:"deploy" maxLength:"40" doc:"A deploy's id"`
}

type changesInput struct {
	DeployPath
	Since string `query:"since" maxLength:"40" doc:"Compare with this deploy; default the one before"`
}

type (
	deploysOutput struct {
		Body struct {
			Deploys []control.Deployment `json:"deploys"`
		}
	}
	snapshotOutput   struct{ Body *control.Snapshot }
	changesOutput    struct{ Body *control.Plan }
	deploymentOutput struct{ Body control.Deployment }
)

func (a *API) registerHistory() {
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: "/v1/apps/{app}/deploys" + path, Summary: summary, Tags: []string{"deploys"}}
	}
	huma.Register(a.huma, op("list-deploys", http.MethodGet, "", "The last changes of an app, the newest first"), a.listDeploys)
	huma.Register(a.huma, op("get-deploy", http.MethodGet, "/{deploy}", "An app as a deploy left it: manifest, versions, bundles"), a.getDeploy)
	huma.Register(a.huma, op("compare-deploys", http.MethodGet, "/{deploy}/changes", "What a deploy changed, or what differs from another"), a.compareDeploys)
	huma.Register(a.huma, op("restore-deploy", http.MethodPost, "/{deploy}/restore", "Make the app what a deploy had left: all of it or nothing; data stays"), a.restoreDeploy)
}

func (a *API) listDeploys(_ context.Context, in *AppPath) (*deploysOutput, error) {
	app, err := a.cfg.Deploys.State().App(in.App)
	if err != nil {
		return nil, err
	}
	out := &deploysOutput{}
	out.Body.Deploys = app.Deploys
	return out, nil
}

func (a *API) getDeploy(_ context.Context, in *DeployPath) (*snapshotOutput, error) {
	s, err := a.cfg.Deploys.Snapshot(in.App, in.Deploy)
	return &snapshotOutput{s}, err
}

func (a *API) compareDeploys(_ context.Context, in *changesInput) (*changesOutput, error) {
	p, err := a.cfg.Deploys.Changes(in.App, in.Since, in.Deploy)
	return &changesOutput{p}, err
}

func (a *API) restoreDeploy(ctx context.Context, in *DeployPath) (*deploymentOutput, error) {
	d, err := a.cfg.Deploys.Restore(ctx, in.App, in.Deploy)
	return &deploymentOutput{d}, err
}
