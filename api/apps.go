package api

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/control"
	"github.com/mayfly-cloud/mayfly/telemetry"
)

// AppSummary is one app in a list.
type AppSummary struct {
	Name      mayfly.AppName      `json:"name"`
	Functions int                 `json:"functions"`
	Resources map[string]int      `json:"resources,omitempty"` // how many it declares, by kind; those it has none of are left out
	Deployed  *control.Deployment `json:"deployed,omitempty"`  // the last change
}

// FunctionInfo is a function as it is live.
type FunctionInfo struct {
	App    mayfly.AppName      `json:"app"`
	Name   mayfly.FunctionName `json:"name"`
	Alias  mayfly.Alias        `json:"live"`
	Digest string              `json:"digest"`
	Size   mayfly.Bytes        `json:"size"`
	Spec   mayfly.Function     `json:"spec"`

	// Stats are how it fared in the last 15 minutes: in lists, where asked for, of
	// functions that were called.
	Stats *telemetry.FunctionSummary `json:"stats,omitempty"`
}

// AppPath and FunctionPath are exported since huma fills embedded fields only then.
type AppPath struct {
	App mayfly.AppName `path:"app"`
}

type FunctionPath struct {
	App      mayfly.AppName      `path:"app"`
	Function mayfly.FunctionName `path:"function"`
}

type turnInput struct {
	FunctionPath
	Body struct {
		Version int `json:"version,omitempty" minimum:"0" doc:"A version number; 0 for the newest (promote) or the one before (rollback)"`
		Weight  int `json:"weight,omitempty" minimum:"0" maximum:"100" doc:"Percent of the calls that the version gets; 0 or 100 for all"`
	}
}

type (
	appsOutput struct {
		Body struct {
			Apps []AppSummary `json:"apps"`
		}
	}
	appOutput          struct{ Body *control.App }
	functionOutput     struct{ Body FunctionInfo }
	appFunctionsOutput struct {
		Body struct {
			Functions []FunctionInfo `json:"functions"`
		}
	}
	versionsOutput struct {
		Body struct {
			Versions []control.VersionInfo `json:"versions"`
		}
	}
	aliasOutput struct{ Body mayfly.Alias }
)

func (a *API) registerApps() {
	op := func(id, method, path, summary, tag string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{tag}}
	}
	huma.Register(a.huma, op("list-apps", http.MethodGet, "/v1/apps", "The apps of this node", "apps"), a.listApps)
	huma.Register(a.huma, op("get-app", http.MethodGet, "/v1/apps/{app}", "An app: its manifest, aliases and deploys", "apps"), a.getApp)
	huma.Register(a.huma, op("remove-app", http.MethodDelete, "/v1/apps/{app}", "Remove an app; the data of its services stays", "apps"), a.removeApp)
	huma.Register(a.huma, op("list-functions", http.MethodGet, "/v1/functions", "The functions of all apps, by page where limit is given", "functions"), a.listFunctions)
	huma.Register(a.huma, op("list-app-functions", http.MethodGet, "/v1/apps/{app}/functions", "The functions of an app", "functions"), a.listAppFunctions)
	huma.Register(a.huma, op("get-function", http.MethodGet, "/v1/apps/{app}/functions/{function}", "A function as it is live", "functions"), a.getFunction)
	huma.Register(a.huma, op("list-versions", http.MethodGet, "/v1/apps/{app}/functions/{function}/versions", "A function's versions, the newest first", "functions"), a.listVersions)
	huma.Register(a.huma, op("promote", http.MethodPost, "/v1/apps/{app}/functions/{function}/promote", "Send all or some of the calls to a version", "functions"), a.promote)
	huma.Register(a.huma, op("rollback", http.MethodPost, "/v1/apps/{app}/functions/{function}/rollback", "Send all calls to an earlier version", "functions"), a.rollback)
}

func (a *API) listApps(context.Context, *struct{}) (*appsOutput, error) {
	out := &appsOutput{}
	out.Body.Apps = []AppSummary{}
	for _, app := range a.cfg.Deploys.State().Apps() {
		s := AppSummary{Name: app.Name, Functions: len(app.Live), Resources: resources(app.Manifest)}
		if len(app.Deploys) > 0 {
			s.Deployed = &app.Deploys[0]
		}
		out.Body.Apps = append(out.Body.Apps, s)
	}
	return out, nil
}

// resources count what a manifest declares.
func resources(m *mayfly.Manifest) map[string]int {
	n := map[string]int{
		"queue": len(m.Queues), "topic": len(m.Topics), "kv": len(m.KV), "bucket": len(m.Buckets),
		"database": len(m.Databases), "webhook": len(m.Webhooks), "alert": len(m.Alerts),
	}
	for _, fn := range m.Functions {
		for i := range fn.On {
			switch kind, _ := fn.On[i].Kind(); kind {
			case mayfly.TriggerSchedule:
				n["schedule"]++
			case mayfly.TriggerNATS, mayfly.TriggerMQTT, mayfly.TriggerKafka, mayfly.TriggerAMQP, mayfly.TriggerPostgres:
				n["source"]++
			}
		}
	}
	maps.DeleteFunc(n, func(_ string, count int) bool { return count == 0 })
	return n
}

func (a *API) getApp(_ context.Context, in *AppPath) (*appOutput, error) {
	app, err := a.cfg.Deploys.State().App(in.App)
	return &appOutput{app}, err
}

func (a *API) removeApp(ctx context.Context, in *AppPath) (*struct{}, error) {
	return nil, a.cfg.Deploys.Remove(ctx, in.App)
}

func (a *API) listAppFunctions(_ context.Context, in *AppPath) (*appFunctionsOutput, error) {
	s := a.cfg.Deploys.State()
	app, err := s.App(in.App)
	if err != nil {
		return nil, err
	}
	out := &appFunctionsOutput{}
	out.Body.Functions, err = functionInfos(s, app)
	return out, err
}

func functionInfos(s *control.State, app *control.App) (infos []FunctionInfo, err error) {
	for _, fn := range slices.Sorted(maps.Keys(app.Live)) {
		info, err := functionInfo(s, app, fn)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

func (a *API) getFunction(_ context.Context, in *FunctionPath) (*functionOutput, error) {
	s := a.cfg.Deploys.State()
	app, err := s.App(in.App)
	if err != nil {
		return nil, err
	}
	info, err := functionInfo(s, app, in.Function)
	return &functionOutput{info}, err
}

func functionInfo(s *control.State, app *control.App, fn mayfly.FunctionName) (FunctionInfo, error) {
	v, err := s.Version(app.Name, fn, "", 100) // the alias's own version, not its canary
	if err != nil {
		return FunctionInfo{}, err
	}
	info := FunctionInfo{App: app.Name, Name: fn, Alias: app.Live[fn], Digest: v.Digest, Size: v.Size, Spec: v.Spec}
	if f := app.Manifest.Functions[fn]; f != nil {
		info.Spec.On = f.On // a version does not say what calls it
	}
	return info, nil
}

func (a *API) listVersions(_ context.Context, in *FunctionPath) (*versionsOutput, error) {
	out := &versionsOutput{}
	var err error
	out.Body.Versions, err = a.cfg.Deploys.State().Versions(in.App, in.Function)
	return out, err
}

func (a *API) promote(ctx context.Context, in *turnInput) (*aliasOutput, error) {
	alias, err := a.cfg.Deploys.Promote(ctx, in.App, in.Function, in.Body.Version, in.Body.Weight)
	return &aliasOutput{alias}, err
}

func (a *API) rollback(ctx context.Context, in *turnInput) (*aliasOutput, error) {
	alias, err := a.cfg.Deploys.Rollback(ctx, in.App, in.Function, in.Body.Version)
	return &aliasOutput{alias}, err
}
