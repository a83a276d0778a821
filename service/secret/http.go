package secret

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

// Path names a secret in the API; exported so that huma fills it.
type Path struct {
	App    string `path:"app" doc:"The app that the secret belongs to"`
	Secret string `path:"secret" doc:"The secret's name"`
}

type setInput struct {
	Path
	Body struct {
		Value string `json:"value" minLength:"1" maxLength:"65536"`
		Stage string `json:"stage,omitempty" enum:"current,pending" doc:"pending keeps the current value until finish; default current"`
	}
}

type revealInput struct {
	Path
	Version int    `query:"version" minimum:"0" doc:"Default: the current one"`
	Stage   string `query:"stage" enum:"current,pending"`
}

type versionOutput struct {
	Body struct {
		Version int `json:"version"`
	}
}

type valueOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Version int    `json:"version"`
		Value   string `json:"value"`
	}
}

type infoOutput struct{ Body Info }

type listOutput struct {
	Body struct {
		Secrets []Info `json:"secrets"`
	}
}

// Register adds the service's operations.
func (d *Driver) Register(api huma.API) {
	const base = "/v1/apps/{app}/secrets"
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: base + path, Summary: summary, Tags: []string{"Secrets"}, MaxBodyBytes: 512 << 10}
	}
	huma.Register(api, op("list-secrets", http.MethodGet, "", "List an app's secrets without their values"), d.list)
	huma.Register(api, op("get-secret", http.MethodGet, "/{secret}", "Describe a secret without its values"), d.describe)
	huma.Register(api, op("set-secret", http.MethodPut, "/{secret}", "Add a version"), d.set)
	huma.Register(api, op("reveal-secret", http.MethodGet, "/{secret}/value", "Reveal a value; the access is recorded"), d.reveal)
	huma.Register(api, op("finish-secret", http.MethodPost, "/{secret}/finish", "Make the pending version current"), d.finish)
	huma.Register(api, op("delete-secret", http.MethodDelete, "/{secret}", "Delete a secret with all its versions"), d.remove)
}

func (d *Driver) allow(ctx context.Context, p Path, verb string) (mayfly.AppName, error) {
	app := mayfly.AppName(p.App)
	return app, d.cfg.Authz.Authorize(ctx, mayfly.CallerFrom(ctx), app, verb, service.KindSecret, p.Secret)
}

func (d *Driver) list(ctx context.Context, in *struct {
	App string `path:"app"`
}) (*listOutput, error) {
	app, err := d.allow(ctx, Path{in.App, "*"}, service.List)
	if err != nil {
		return nil, err
	}
	out := &listOutput{}
	out.Body.Secrets = d.List(app)
	return out, nil
}

func (d *Driver) describe(ctx context.Context, in *Path) (*infoOutput, error) {
	app, err := d.allow(ctx, *in, service.List)
	if err != nil {
		return nil, err
	}
	s, _, err := d.load(app, in.Secret)
	if err != nil {
		return nil, err
	}
	return &infoOutput{s.info(in.Secret)}, nil
}

func (d *Driver) set(ctx context.Context, in *setInput) (out *versionOutput, err error) {
	app, err := d.allow(ctx, in.Path, service.Write)
	if err != nil {
		return nil, err
	}
	out = &versionOutput{}
	out.Body.Version, err = d.Set(ctx, app, in.Secret, in.Body.Value, in.Body.Stage == "pending")
	return out, err
}

func (d *Driver) reveal(ctx context.Context, in *revealInput) (out *valueOutput, err error) {
	app, err := d.allow(ctx, in.Path, service.Read)
	if err != nil {
		return nil, err
	}
	number := in.Version
	if in.Stage == "pending" {
		number = Pending
	}
	out = &valueOutput{CacheControl: "no-store"}
	out.Body.Value, out.Body.Version, err = d.Reveal(ctx, app, in.Secret, number)
	return out, err
}

func (d *Driver) finish(ctx context.Context, in *Path) (out *versionOutput, err error) {
	app, err := d.allow(ctx, *in, service.Write)
	if err != nil {
		return nil, err
	}
	out = &versionOutput{}
	out.Body.Version, err = d.Finish(ctx, app, in.Secret)
	return out, err
}

func (d *Driver) remove(ctx context.Context, in *Path) (*struct{}, error) {
	app, err := d.allow(ctx, *in, service.Delete)
	if err != nil {
		return nil, err
	}
	return nil, d.Delete(ctx, app, in.Secret)
}
