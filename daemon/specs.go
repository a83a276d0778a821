package daemon

import (
	"context"
	"maps"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/sandbox"
	"github.com/mayfly-cloud/mayfly/service"
)

// bundles finds a version's files on this machine.
type bundles interface {
	Dir(digest string) (string, error)
}

// secrets resolves the names in a function's `secrets:`.
type secrets interface {
	Resolve(ctx context.Context, app mayfly.AppName, names []string) (env map[string]string, files map[string][]byte, err error)
}

// specs turns versions into what their sandboxes need. It is pool.Specs.
type specs struct {
	bundles  bundles
	secrets  secrets
	environs []service.Environment
	manifest func(mayfly.AppName) *mayfly.Manifest // the live one; nil where the app is not deployed yet
}

// Spec is asked at each start, so that new instances see rotated secrets.
func (s *specs) Spec(ctx context.Context, v *mayfly.Version) (*sandbox.Spec, error) {
	f := &v.Spec
	spec := &sandbox.Spec{
		App: v.App, Function: v.Function, Version: v.Number, Digest: v.Digest,
		Runtime: f.Runtime, Handler: f.Handler, Env: map[string]string{},
		Memory: f.Memory, Timeout: f.Timeout.D(), PerInstance: f.Concurrency.WithDefaults().PerInstance,
		Egress: f.Egress, Template: f.Template != "off", Isolation: f.Isolation, Require: f.Require,
	}
	var err error
	if spec.Dir, err = s.bundles.Dir(v.Digest); err != nil {
		return nil, err
	}
	if m := s.manifest(v.App); m != nil {
		for _, e := range s.environs {
			maps.Copy(spec.Env, e.Environ(m, v.Function))
		}
	}
	maps.Copy(spec.Env, f.Env)
	if len(f.Secrets) == 0 {
		return spec, nil
	}
	env, files, err := s.secrets.Resolve(ctx, v.App, f.Secrets)
	if err != nil {
		return nil, err
	}
	maps.Copy(spec.Env, env)
	spec.Files = files
	return spec, nil
}

// redacted hides secrets in what functions print before it is kept.
type redacted struct {
	sink   sandbox.Output
	redact func(string) string
}

func (r redacted) Log(line mayfly.LogLine) {
	line.Text = r.redact(line.Text)
	r.sink.Log(line)
}
